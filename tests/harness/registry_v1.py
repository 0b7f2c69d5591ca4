"""An index and registry of 2013 on loopback, as api-v1.2/registry.md has them; it can be told to misbehave.

Standard library only and in threads of its own, so that tests of any kind may ask it.
"""

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = 'signature=0123,repository="x/y",access=read'
JSON = "application/json"


class Asked(NamedTuple):
    """One request that came."""

    method: str
    path: str
    headers: Mapping[str, str]


class Stored:
    """One image as the registry keeps it."""

    def __init__(self, image_json: bytes, layer: bytes | None = None) -> None:
        self.json = image_json
        self.layer = layer
        self.announced = ""

    @property
    def checksum(self) -> str:
        """``sha256:`` of JSON, line end and layer."""
        return "sha256:" + hashlib.sha256(self.json + b"\n" + (self.layer or b"")).hexdigest()


class Faults:
    """What goes wrong, nothing unless a test says so."""

    def __init__(self) -> None:
        self.status: dict[str, int] = {}
        """Status instead of the answer for paths that end so."""
        self.once: dict[str, int] = {}
        """The same for the next request only, with ``Retry-After: 0``."""
        self.html: set[str] = set()
        """A page for browsers instead of the answer, for paths that end so."""
        self.no_endpoints = False
        self.endpoints = ""
        """Instead of its own address."""
        self.wrong_checksums = False
        self.cut_layers = 0
        """So many of the next answers with a layer end in the middle."""
        self.no_ranges = False
        self.ancestry: dict[str, Any] = {}
        """Image id to what is said of its ancestry."""
        self.redirect_layers = ""
        """URL that layers are redirected to; the path is appended."""
        self.redirect_push = ""
        """Where the first PUT of a push is redirected to, once."""


class RegistryV1:
    """What is in the registry, and what was asked of it. Registries need the token, pushes the user."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.url = f"http://{address}/v1"
        self.images: dict[str, Stored] = {}
        self.tags: dict[str, dict[str, str]] = {}
        """Name at the registry (``library/foo``) to tag to image id."""
        self.lists: dict[str, Any] = {}
        """Name at the index (``foo``) to the list that the last push ended with."""
        self.users: dict[str, tuple[str, str, bool]] = {}
        """Name to password, mail, and whether it is activated."""
        self.private = False
        """Whether pulls need the user, too."""
        self.anybody_pushes = False
        """Whether pushes don't."""
        self.descriptions: dict[str, str] = {}
        """Name to what a search tells of it."""
        self.catalogue: list[str] | None = None
        """Set: it is a v2 registry instead, of which there are only these names and a login."""
        self.asked: list[Asked] = []
        self.faults = Faults()

    def add(self, layer: bytes, parent: str = "", **fields: Any) -> str:
        """An image with this layer; its id."""
        image_id = hashlib.sha256(f"{parent}{len(self.images)}".encode() + layer).hexdigest()
        image = {
            "id": image_id,
            "created": "2013-07-15T15:47:25.123Z",
            "container_config": {},
            "architecture": "x86_64",
            **fields,
        }
        if parent:
            image["parent"] = parent
        self.images[image_id] = Stored(json.dumps(image).encode(), layer)
        return image_id

    def tag(self, repository: str, tag: str, image_id: str) -> None:
        """Name an image, at the index and at the registry."""
        registry_name = repository if "/" in repository else f"library/{repository}"
        self.tags.setdefault(registry_name, {})[tag] = image_id
        self.lists.setdefault(repository, [])
        self.lists[repository] += [
            {"id": each, "checksum": self.images[each].checksum} for each in self.ancestry(image_id)
        ]

    def ancestry(self, image_id: str) -> list[str]:
        """Child first."""
        found = []
        while image_id:
            found.append(image_id)
            image_id = json.loads(self.images[image_id].json).get("parent", "")
        return found

    def asked_for(self, method: str, ending: str) -> list[Asked]:
        """The requests so far whose path ends so."""
        return [each for each in self.asked if each.method == method and each.path.endswith(ending)]


class Refused(Exception):
    """An answer other than 200, at once."""

    def __init__(self, status: int, value: Any = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status, self.value, self.headers = status, value, headers or {}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Server"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def do_POST(self) -> None:
        self._answer("POST")

    @property
    def registry(self) -> RegistryV1:
        return self.server.registry

    def _answer(self, method: str) -> None:
        path = urlsplit(self.path).path
        body = self._body()
        self.registry.asked.append(Asked(method, path, {key.lower(): value for key, value in self.headers.items()}))
        try:
            self._misbehave(path)
            self._route(method, path, body)
        except Refused as refused:
            self._send(refused.status, refused.value, refused.headers)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _misbehave(self, path: str) -> None:
        faults = self.registry.faults
        for ending in list(faults.once):
            if path.endswith(ending):
                raise Refused(faults.once.pop(ending), {"error": "busy"}, {"Retry-After": "0"})
        for ending, status in faults.status.items():
            if path.endswith(ending):
                raise Refused(status, {"error": "as told"})
        if any(path.endswith(ending) for ending in faults.html):
            self._send(200, b"<html>welcome</html>", {"Content-Type": "text/html"})
            raise Refused(0)

    def _route(self, method: str, path: str, body: bytes) -> None:
        if self.registry.catalogue is not None:
            return self._route_v2(path)
        for verb, pattern, handler in ROUTES:
            if method == verb and (match := pattern.fullmatch(path)):
                return handler(self, *(unquote(each) for each in match.groups()), body)
        raise Refused(404, {"error": "no such page"})

    def _send(self, status: int, value: Any = None, headers: Mapping[str, str] | None = None) -> None:
        if not status:
            return
        raw = value if isinstance(value, bytes) else b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        for key, each in {"Content-Type": JSON, "Set-Cookie": "session=1; Path=/", **(headers or {})}.items():
            self.send_header(key, each)
        if status != 204:
            self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _route_v2(self, path: str) -> None:
        version = {"Docker-Distribution-Api-Version": "registry/2.0", "WWW-Authenticate": 'Basic realm="here"'}
        try:
            if self.registry.users and self._user() is None:
                raise Refused(401, None)
        except Refused as refused:
            raise Refused(refused.status, {"errors": [{"code": "UNAUTHORIZED"}]}, version) from None
        if path not in {"/v2/", "/v2/_catalog"}:
            raise Refused(404, b"404 page not found", {"Content-Type": "text/plain"})
        self._send(200, {"repositories": self.registry.catalogue} if path == "/v2/_catalog" else {}, version)

    # -- the index ------------------------------------------------------------------------------------------------------

    def _user(self) -> str | None:
        """Who asks, None if nobody; refuses a wrong password."""
        scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Basic":
            return None
        name, _, password = base64.b64decode(encoded).decode().partition(":")
        if self.registry.users.get(name, ("", "", False))[0] != password or not password:
            raise Refused(401, "Wrong password")
        return name

    def _check_pusher(self) -> None:
        if self._user() is None and not self.registry.anybody_pushes:
            raise Refused(401, "who are you?")

    def _grant(self) -> dict[str, str]:
        faults = self.registry.faults
        headers = {"X-Docker-Token": TOKEN, "X-Docker-Endpoints": faults.endpoints or self.registry.address}
        if faults.no_endpoints:
            del headers["X-Docker-Endpoints"]
        return headers if self.headers.get("X-Docker-Token") == "true" else {}

    def list_images(self, name: str, _: bytes) -> None:
        """Pull 1."""
        if self._user() is None and self.registry.private:
            raise Refused(401, "who are you?")
        if name not in self.registry.lists:
            raise Refused(404, {"error": "no such repository"})
        entries = self.registry.lists[name]
        if self.registry.faults.wrong_checksums:
            entries = [{**each, "checksum": "sha256:" + "0" * 64} for each in entries]
        self._send(200, entries, self._grant())

    def begin_push(self, name: str, body: bytes) -> None:
        """Push 1."""
        redirect, self.registry.faults.redirect_push = self.registry.faults.redirect_push, ""
        if redirect:
            raise Refused(307, None, {"Location": f"{redirect}/v1/repositories/{name}/"})
        self._check_pusher()
        self.server.begun[name] = json.loads(body)
        self._send(200, "", self._grant())

    def end_push(self, name: str, body: bytes) -> None:
        """Push 5."""
        self._check_pusher()
        if not self.headers.get("X-Docker-Endpoints") or json.loads(body) != self.server.begun.pop(name, None):
            raise Refused(400, {"error": "not what the push began with"})
        self.registry.lists[name] = json.loads(body)
        self._send(204)

    def search(self, _: bytes) -> None:
        term = parse_qs(urlsplit(self.path).query).get("q", [""])[0]
        found = [
            {"name": name, "description": text}
            for name, text in self.registry.descriptions.items()
            if term in name + text
        ]
        self._send(200, {"query": term, "num_results": len(found), "results": found})

    def register(self, body: bytes) -> None:
        user = json.loads(body)
        if user["username"] in self.registry.users:
            raise Refused(400, "Username or email already exists")
        if len(user["password"]) < 5:
            raise Refused(400, "Password: at least 5 characters")
        self.registry.users[user["username"]] = (user["password"], user["email"], True)
        self._send(201, "User created")

    def log_in(self, _: bytes) -> None:
        name = self._user()
        if name is None:
            raise Refused(401)
        if not self.registry.users[name][2]:
            raise Refused(403, "Account is not Active")
        self._send(200, "OK")

    # -- the registry ---------------------------------------------------------------------------------------------------

    def _check_token(self) -> None:
        if self.headers.get("Authorization") != f"Token {TOKEN}" and not self.server.open:
            raise Refused(401, {"error": "Requires authorization"})

    def _image(self, image_id: str) -> Stored:
        self._check_token()
        if image_id not in self.registry.images or self.registry.images[image_id].layer is None:
            raise Refused(404, {"error": "Image not found"})
        return self.registry.images[image_id]

    def list_tags(self, name: str, _: bytes) -> None:
        """Pull 2."""
        self._check_token()
        if name not in self.registry.tags:
            raise Refused(404, {"error": "Repository not found"})
        self._send(200, self.registry.tags[name])

    def get_ancestry(self, image_id: str, _: bytes) -> None:
        """Pull 3."""
        self._image(image_id)
        self._send(200, self.registry.faults.ancestry.get(image_id) or self.registry.ancestry(image_id))

    def get_json(self, image_id: str, _: bytes) -> None:
        """Pull 4."""
        image = self._image(image_id)
        self._send(
            200, image.json, {"X-Docker-Size": str(len(image.layer or b"")), "X-Docker-Checksum": image.checksum}
        )

    def get_layer(self, image_id: str, _: bytes) -> None:
        """Pull 5."""
        if elsewhere := self.registry.faults.redirect_layers:
            raise Refused(302, None, {"Location": elsewhere + urlsplit(self.path).path})
        layer = self._image(image_id).layer or b""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked and not self.registry.faults.no_ranges else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(layer) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(layer) - 1}/{len(layer)}")
        self.end_headers()
        if self.registry.faults.cut_layers:
            self.registry.faults.cut_layers -= 1
            self.wfile.write(layer[start : (start + len(layer)) // 2 + 1])
            self.close_connection = True
        else:
            self.wfile.write(layer[start:])

    def put_json(self, image_id: str, body: bytes) -> None:
        """Push 2."""
        self._check_token()
        if image_id in self.registry.images and self.registry.images[image_id].layer is not None:
            raise Refused(409, {"error": "Image already exists"})
        if parent := json.loads(body).get("parent"):
            self._image(parent)
        self.registry.images[image_id] = Stored(body)
        self.registry.images[image_id].announced = self.headers.get("X-Docker-Checksum", "")
        self._send(200, True)

    def put_layer(self, image_id: str, body: bytes) -> None:
        """Push 3."""
        self._check_token()
        if self.headers.get("Transfer-Encoding") != "chunked" or self.headers.get("Cookie") != "session=1":
            raise Refused(400, {"error": "expected chunks and the cookie"})
        image = self.registry.images[image_id]
        image.layer = body
        if image.checksum != image.announced:
            image.layer = None
            raise Refused(400, {"error": "Checksum mismatch"})
        self._send(200, True)

    def put_tag(self, name: str, tag: str, body: bytes) -> None:
        """Push 4."""
        self._check_token()
        self._image(json.loads(body))
        self.registry.tags.setdefault(name, {})[tag] = json.loads(body)
        self._send(200, True)


ROUTES = [
    (method, re.compile(f"/v1{pattern}"), handler)
    for method, pattern, handler in (
        ("GET", "/repositories/(.+)/images", Handler.list_images),
        ("PUT", "/repositories/(.+)/images", Handler.end_push),
        ("PUT", "/repositories/(.+[^/])/", Handler.begin_push),
        ("GET", "/repositories/(.+)/tags", Handler.list_tags),
        ("PUT", "/repositories/(.+)/tags/([^/]+)", Handler.put_tag),
        ("GET", "/images/([^/]+)/ancestry", Handler.get_ancestry),
        ("GET", "/images/([^/]+)/json", Handler.get_json),
        ("GET", "/images/([^/]+)/layer", Handler.get_layer),
        ("PUT", "/images/([^/]+)/json", Handler.put_json),
        ("PUT", "/images/([^/]+)/layer", Handler.put_layer),
        ("GET", "/search", Handler.search),
        ("POST", "/users/", Handler.register),
        ("GET", "/users/", Handler.log_in),
    )
]


class Server(ThreadingHTTPServer):
    """The server; ``open`` registries want no token."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, *, open: bool) -> None:  # noqa: A002 - as said of registries
        super().__init__(("127.0.0.1", 0), Handler)
        self.open = open
        self.begun: dict[str, Any] = {}
        self.registry = RegistryV1(f"127.0.0.1:{self.server_port}")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


@contextlib.contextmanager
def running_registry(*, open: bool = False) -> Iterator[RegistryV1]:  # noqa: A002
    """A registry with its index for the length of a with-block; ``open`` without tokens, as one that is asked by URL."""
    with Server(open=open) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.registry
        finally:
            server.shutdown()
            thread.join()
