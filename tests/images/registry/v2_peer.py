"""The other side of a v2 session: a registry in memory, behind a client that needs no network, or behind a socket."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit

import attrs
import h11
import trio

from trioker.http.client import Answer, Client, FetchError, Upload
from trioker.images.registry.names import Endpoint
from trioker.images.registry.tokens import Tokens
from trioker.images.registry.v2 import Session

HOST = "registry.example"
BASE = f"https://{HOST}"


def digest_of(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"


@attrs.frozen
class Asked:
    method: str
    url: str
    headers: dict
    body: bytes = b""

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def query(self) -> dict:
        return parse_qs(urlsplit(self.url).query)

    @property
    def authorization(self) -> str:
        return self.headers.get("authorization", "")


class Lost(Exception):
    """The connection breaks before an answer."""


def reply(status: int, body: bytes | dict = b"", **headers: str) -> tuple[int, dict, bytes]:
    if isinstance(body, dict):
        headers.setdefault("content_type", "application/json")
        body = json.dumps(body).encode()
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, body


def complaint(status: int, code: str, message: str, **headers: str) -> tuple[int, dict, bytes]:
    return reply(status, {"errors": [{"code": code, "message": message}]}, **headers)


class Registry:
    """Speaks v2; a test changes what it answers by ``twists``: functions that see a request first."""

    def __init__(self) -> None:
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.twists: list[Callable[[Asked], tuple | None]] = []
        self.asked: list[Asked] = []

    def add_blob(self, name: str, data: bytes) -> str:
        self.blobs[name, digest_of(data)] = data
        return digest_of(data)

    def add_manifest(self, name: str, reference: str, media_type: str, raw: bytes) -> str:
        for key in (reference, digest_of(raw)):
            self.manifests[name, key] = (media_type, raw)
        return digest_of(raw)

    def __call__(self, asked: Asked) -> tuple[int, dict, bytes]:
        self.asked.append(asked)
        for twist in self.twists:
            if (answer := twist(asked)) is not None:
                return answer
        return self.answer(asked)

    def answer(self, asked: Asked) -> tuple[int, dict, bytes]:
        path = asked.path.removeprefix("/v2/")
        if not path:
            return reply(200, {}, docker_distribution_api_version="registry/2.0")
        if "/blobs/uploads/" in path:
            return self.upload(asked, *path.split("/blobs/uploads/"))
        if "/blobs/" in path:
            return self.blob(asked, *path.split("/blobs/"))
        return self.manifest(asked, *path.split("/manifests/"))

    def blob(self, asked: Asked, name: str, digest: str) -> tuple:
        data = self.blobs.get((name, digest))
        if data is None:
            return complaint(404, "BLOB_UNKNOWN", "blob unknown to registry")
        start = int(asked.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        if start >= len(data):
            return reply(416, content_range=f"bytes */{len(data)}")
        if not start:
            return reply(200, data)
        return reply(206, data[start:], content_range=f"bytes {start}-{len(data) - 1}/{len(data)}")

    def manifest(self, asked: Asked, name: str, reference: str) -> tuple:
        if asked.method == "PUT":
            digest = self.add_manifest(name, reference, asked.headers["content-type"], asked.body)
            return reply(201, docker_content_digest=digest)
        if (name, reference) not in self.manifests:
            return complaint(404, "MANIFEST_UNKNOWN", "manifest unknown")
        media_type, raw = self.manifests[name, reference]
        return reply(200, raw, content_type=media_type, docker_content_digest=digest_of(raw))

    def upload(self, asked: Asked, name: str, key: str) -> tuple:
        if asked.method == "POST":
            return self.begin(asked, name)
        if key not in self.uploads:
            return complaint(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        if asked.method == "PATCH" and int(asked.headers["content-range"].partition("-")[0]) != len(self.uploads[key]):
            return reply(416)
        self.uploads[key] += asked.body
        if asked.method in {"PATCH", "GET"}:
            return self.progress(202 if asked.method == "PATCH" else 204, name, key)
        return self.finish(asked, name, bytes(self.uploads.pop(key)))

    def begin(self, asked: Asked, name: str) -> tuple:
        source, mounted = asked.query.get("from", [""])[0], asked.query.get("mount", [""])[0]
        if (source, mounted) in self.blobs:
            self.blobs[name, mounted] = self.blobs[source, mounted]
            return reply(201)
        key = str(len(self.asked))
        self.uploads[key] = bytearray()
        return self.progress(202, name, key)

    def progress(self, status: int, name: str, key: str) -> tuple:
        last = max(len(self.uploads[key]) - 1, 0)
        return reply(status, location=f"/v2/{name}/blobs/uploads/{key}?_state=x", range=f"0-{last}")

    def finish(self, asked: Asked, name: str, data: bytes) -> tuple:
        if asked.method == "DELETE":
            return reply(204)
        if digest_of(data) != asked.query["digest"][0]:
            return complaint(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self.add_blob(name, data)
        return reply(201)


class NoNetwork:
    """A Client whose requests are answered by a function. Redirections are the real one's business."""

    def __init__(self, answer: Callable[[Asked], tuple]) -> None:
        self.answer = answer

    @asynccontextmanager
    async def request(self, method, url, *, headers=(), body=None) -> AsyncIterator[Answer]:
        await trio.lowlevel.checkpoint()
        sent = await _joined(body) if isinstance(body, Upload) else body or b""
        try:
            status, answered, content = self.answer(Asked(method, url, _named(headers), sent))
        except Lost:
            raise FetchError(f"{url}: the connection was lost") from None
        fields = [(name.encode(), value.encode()) for name, value in answered.items()]
        chunks = _pieces(b"" if method == "HEAD" else content)
        async with aclosing(chunks):
            yield Answer(status, fields, url, len(content), chunks)


def _named(headers) -> dict:
    return {name.decode().lower(): value.decode() for name, value in headers}


async def _joined(body: Upload) -> bytes:
    return b"".join([piece async for piece in body.open()])


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1000):
        yield data[start : start + 1000]


def session(answer: Callable[[Asked], tuple], repository: str = "lib/app", *, url: str = BASE, **options) -> Session:
    """A session with a registry that needs no network."""
    return Session(Tokens(NoNetwork(answer)), Endpoint(url), repository, **options)


@asynccontextmanager
async def listening(answer: Callable[[Asked], tuple]) -> AsyncIterator[str]:
    """The registry behind a socket; gives its URL."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            while await _one_request(stream, answer):
                pass

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def _one_request(stream: trio.SocketStream, answer: Callable[[Asked], tuple]) -> bool:
    """False when the client has gone."""
    parser = h11.Connection(h11.SERVER)
    request, body = None, b""
    while not isinstance(event := parser.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            parser.receive_data(await stream.receive_some())
        elif isinstance(event, h11.ConnectionClosed):
            return False
        elif isinstance(event, h11.Request):
            request = event
        else:
            body += event.data
    headers = _named(request.headers)
    url = f"http://{headers['host']}{request.target.decode()}"
    status, answered, content = answer(Asked(request.method.decode(), url, headers, body))
    fields = {**answered, "Content-Length": str(len(content))} if status != 204 else answered
    head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
    await stream.send_all(head.encode() + (b"" if request.method == b"HEAD" else content))
    return True


@asynccontextmanager
async def over_sockets(
    answer: Callable[[Asked], tuple], repository: str = "lib/app", **options
) -> AsyncIterator[Session]:
    """A session with a registry behind a socket, by the real client."""
    async with listening(answer) as url, aclosing(Client()) as client:
        yield Session(Tokens(client), Endpoint(url, insecure=True), repository, **options)
