"""A registry of the distribution protocol v2 in memory, on loopback, that can be told to misbehave. Nothing here imports trioker."""

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from oci import INDEX, OciImage, digest_of

Fault = Callable[["Exchange"], bool]
"""Looks at a request; answers it, or goes silent, and says True if it did."""


class Registry:
    """What a registry holds, what it was asked, and how it misbehaves."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.homes: dict[str, set[str]] = {}
        """The repositories that a blob is in."""
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.uploads: dict[str, bytes] = {}
        self.asked: list[str] = []
        """Every request: ``GET /v2/...``."""
        self.faults: list[Fault] = []
        self.url = ""
        self.host = ""

    def put(self, repository: str, tag: str, image: OciImage) -> None:
        """Have an image."""
        for digest, blob in image.blobs.items():
            self.blobs[digest] = blob
            self.homes.setdefault(digest, set()).add(repository)
        self.put_manifest(repository, tag, image.manifest, image.media_type)

    def put_manifest(self, repository: str, reference: str, raw: bytes, media_type: str = INDEX) -> None:
        """Have a manifest or an index under a tag and its digest."""
        self.manifests[repository, reference] = self.manifests[repository, digest_of(raw)] = media_type, raw

    def count(self, pattern: str) -> int:
        """How many requests look so."""
        return sum(bool(re.search(pattern, each)) for each in self.asked)


class Exchange(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are written apart, and would be 40 ms apart
    registry: Registry

    def log_message(self, *_: object) -> None:
        """Tests look at ``Registry.asked``."""

    def handle_one_request(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle_one_request()

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A whole answer; names of headers with "_" for "-"."""
        self.send_response(status)
        headers.setdefault("Content_Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str, message: str = "", **headers: str) -> None:
        body = json.dumps({"errors": [{"code": code, "message": message or code.lower().replace("_", " ")}]}).encode()
        self.answer(status, body, Content_Type="application/json", **headers)

    def hang_up(self) -> None:
        """Not another byte, also none of what is buffered."""
        self.close_connection = True
        self.connection.close()

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            return b"".join(iter(self._read_chunk, b""))
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _read_chunk(self) -> bytes:
        data = self.rfile.read(int(self.rfile.readline(), 16))
        self.rfile.readline()
        return data

    def _handle(self) -> None:
        self.registry.asked.append(f"{self.command} {self.path}")
        if any(fault(self) for fault in list(self.registry.faults)):
            return
        parts = urlsplit(self.path)
        for pattern, handler in _ROUTES:
            if match := re.fullmatch(pattern, parts.path):
                handler(self, *match.groups(), {key: values[0] for key, values in parse_qs(parts.query).items()})
                return
        self.answer(404)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815 - http.server's names


def _ping(exchange: Exchange, _: Any) -> None:
    exchange.answer(200, b"{}", Content_Type="application/json", Docker_Distribution_Api_Version="registry/2.0")


def _tags(exchange: Exchange, repository: str, _: Any) -> None:
    found = [reference for name, reference in exchange.registry.manifests if name == repository]
    tags = sorted(each for each in found if not each.startswith("sha256:"))
    if not found:
        exchange.refuse(404, "NAME_UNKNOWN", "repository name not known to registry")
        return
    body = json.dumps({"name": repository, "tags": tags}).encode()
    exchange.answer(200, body, Content_Type="application/json")


def _manifest(exchange: Exchange, repository: str, reference: str, _: Any) -> None:
    registry = exchange.registry
    if exchange.command == "PUT":
        raw = exchange.read_body()
        registry.put_manifest(repository, reference, raw, exchange.headers["Content-Type"])
        exchange.answer(201, Docker_Content_Digest=digest_of(raw))
        return
    if (repository, reference) not in registry.manifests:
        exchange.refuse(404, "MANIFEST_UNKNOWN")
        return
    media_type, raw = registry.manifests[repository, reference]
    exchange.answer(200, raw, Content_Type=media_type, Docker_Content_Digest=digest_of(raw))


def _blob(exchange: Exchange, repository: str, digest: str, _: Any) -> None:
    registry = exchange.registry
    if repository not in registry.homes.get(digest, ()):
        exchange.refuse(404, "BLOB_UNKNOWN")
        return
    data = registry.blobs[digest]
    wanted = re.fullmatch(r"bytes=(\d+)-", exchange.headers.get("Range", ""))
    if not wanted:
        exchange.answer(200, data, Content_Type="application/octet-stream")
        return
    start = int(wanted[1])
    exchange.answer(206, data[start:], Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}")


def _begin(exchange: Exchange, repository: str, query: dict[str, str]) -> None:
    exchange.read_body()
    registry, mounted = exchange.registry, query.get("mount", "")
    if mounted and query.get("from") in registry.homes.get(mounted, ()):
        registry.homes[mounted].add(repository)
        exchange.answer(201, Location=f"/v2/{repository}/blobs/{mounted}")
        return
    name = f"/v2/{repository}/blobs/uploads/{len(registry.uploads)}"
    registry.uploads[name] = b""
    exchange.answer(202, Location=name, Range="0-0")


def _upload(exchange: Exchange, repository: str, query: dict[str, str]) -> None:
    registry, name = exchange.registry, urlsplit(exchange.path).path
    if name not in registry.uploads:
        exchange.refuse(404, "BLOB_UPLOAD_UNKNOWN")
        return
    if exchange.command == "DELETE":
        del registry.uploads[name]
        exchange.answer(204)
        return
    registry.uploads[name] += exchange.read_body()
    data = registry.uploads[name]
    if exchange.command != "PUT":
        exchange.answer(204 if exchange.command == "GET" else 202, Location=name, Range=f"0-{max(len(data) - 1, 0)}")
        return
    digest = query["digest"]
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
        exchange.refuse(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        return
    registry.blobs[digest] = data
    registry.homes.setdefault(digest, set()).add(repository)
    exchange.answer(201, Location=f"/v2/{repository}/blobs/{digest}")


_ROUTES: list[tuple[str, Callable[..., None]]] = [
    (r"/v2/", _ping),
    (r"/v2/(.+)/tags/list", _tags),
    (r"/v2/(.+)/manifests/([^/]+)", _manifest),
    (r"/v2/(.+)/blobs/uploads/", _begin),
    (r"/v2/(.+)/blobs/uploads/[0-9]+", _upload),
    (r"/v2/(.+)/blobs/(sha256:[0-9a-f]+)", _blob),
]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """A client that hung up is no news."""


@contextlib.contextmanager
def serving(registry: Registry) -> Iterator[Registry]:
    """The registry on a port of loopback's, for the length of a with-block."""
    server = _Server(("127.0.0.1", 0), type("Bound", (Exchange,), {"registry": registry}))
    registry.host = f"127.0.0.1:{server.server_port}"
    registry.url = f"http://{registry.host}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# -- faults ---------------------------------------------------------------------------------------------------------------


def cut_blobs(after: int, times: int = 1) -> Fault:
    """Break the connection behind so many bytes of a blob, that often."""
    left = [times]

    def fault(exchange: Exchange) -> bool:
        match = re.fullmatch(r"/v2/.+/blobs/(sha256:\w+)", exchange.path)
        if exchange.command != "GET" or not match or not left[0]:
            return False
        data = exchange.registry.blobs[match[1]]
        wanted = re.fullmatch(r"bytes=(\d+)-", exchange.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        if len(data) - start <= after:
            return False
        left[0] -= 1
        exchange.send_response(206 if start else 200)
        exchange.send_header("Content-Length", str(len(data) - start))
        if start:
            exchange.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        exchange.end_headers()
        exchange.wfile.write(data[start : start + after])
        exchange.close_connection = True
        return True

    return fault


def on(pattern: str, reply: Callable[[Exchange], None], times: int = 10**9) -> Fault:
    """Reply so to requests like ``GET /v2/.../manifests/``, that often."""
    left = [times]

    def fault(exchange: Exchange) -> bool:
        if not left[0] or not re.search(pattern, f"{exchange.command} {exchange.path}"):
            return False
        left[0] -= 1
        reply(exchange)
        return True

    return fault


def html(exchange: Exchange) -> None:
    """A captive portal."""
    exchange.answer(200, b"<html>Welcome to our hotel!</html>", Content_Type="text/html")


def too_many(exchange: Exchange) -> None:
    exchange.refuse(429, "TOOMANYREQUESTS", "slow down, please", Retry_After="0")


def endless_redirect(exchange: Exchange) -> None:
    exchange.answer(307, Location=f"{exchange.path}x")


def endless_head(exchange: Exchange) -> None:
    """Headers for ever."""
    with contextlib.suppress(OSError):
        exchange.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            exchange.wfile.write(b"X-More: " + b"m" * 65000 + b"\r\n")
