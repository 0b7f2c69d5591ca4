"""A small client of the Docker API, of 2013's and of today's: JSON requests, and attached streams."""

import http.client
import json
import os
import socket
from collections.abc import Iterator
from typing import Any, Self
from urllib.parse import urlsplit

TIMEOUT = 120
"""Seconds that any single answer, or the next piece of a stream, may take."""

FRAME_HEADER = 8
"""Stream number, three zero bytes, big-endian length (Docker Engine API, "Attach to a container", stream format)."""

PIECE = 1 << 20

NOBODY = {"X-Registry-Auth": "e30="}
"""Credentials of nobody, ``{}`` in base64: dockerd refuses a push that says nothing of them."""

FAILURES = ('"error":', "Error build")
"""What a failure looks like once the status has been sent: today's API, and the text of 2013's build."""

NETWORK = "TRIOKER_BENCH_NETWORK"


class ApiError(Exception):
    """The engine answered with a status of 400 or above."""


def connect(host: str) -> socket.socket:
    """A connected socket to ``unix:///path`` or ``tcp://address:port``."""
    parts = urlsplit(host)
    if parts.scheme == "unix":
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(TIMEOUT)
        sock.connect(parts.path)
        return sock
    if parts.scheme == "tcp" and parts.hostname and parts.port:
        return socket.create_connection((parts.hostname, parts.port), timeout=TIMEOUT)
    raise ValueError(f"{host!r} is not unix:///path or tcp://address:port")


class _Connection(http.client.HTTPConnection):
    """An HTTP connection over whatever ``connect`` makes."""

    def __init__(self, host: str) -> None:
        super().__init__("localhost")
        self._where = host

    def connect(self) -> None:
        self.sock = connect(self._where)


def network() -> str:
    """What containers are on: ``none``, or ``bridge`` where the environment says so (``benchmarks.peers --network``)."""
    return os.environ.get(NETWORK, "none")


class Client:
    """One keep-alive connection to an engine. Not for several threads at once."""

    def __init__(self, host: str) -> None:
        self.host = host
        self._connection = _Connection(host)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send ``body`` as JSON (bytes as a tar); the JSON answer, None for an empty one."""
        content = self._exchange(method, path, body)
        return json.loads(content) if content.strip() else None

    def perform(self, path: str, body: Any = None) -> None:
        """POST what is answered with a text or JSON objects while it is done; ApiError where these tell of a failure."""
        told = self._exchange("POST", path, body).decode(errors="replace")
        if any(sign in told for sign in FAILURES):
            raise ApiError(f"POST {path}: {told[-1000:].strip()}")

    def _exchange(self, method: str, path: str, body: Any) -> bytes:
        headers = {"Content-Type": "application/x-tar" if isinstance(body, bytes) else "application/json"}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        self._connection.request(method, path, data, headers | NOBODY if data is not None else NOBODY)
        response = self._connection.getresponse()
        content = response.read()
        if response.status >= 400:
            raise ApiError(f"{method} {path}: {response.status} {content.decode(errors='replace').strip()}")
        return content

    def create(self, image: str, *command: str, stdin: bool = False) -> str:
        """A container; its id. The body suits 2013's API and today's; a network is for 2013's daemon to have or not."""
        body = {
            "Image": image,
            "Cmd": list(command),
            "AttachStdin": stdin,
            "OpenStdin": stdin,
            "AttachStdout": True,
            "AttachStderr": True,
            "HostConfig": {"NetworkMode": network()},
        }
        container: str = self.call("POST", "/containers/create", body)["Id"]
        return container

    def start(self, container: str) -> None:
        """Start it."""
        self.call("POST", f"/containers/{container}/start")

    def wait(self, container: str) -> int:
        """Its exit code, once it has ended."""
        code: int = self.call("POST", f"/containers/{container}/wait")["StatusCode"]
        return code

    def remove(self, container: str) -> None:
        """Delete it; it must have ended."""
        self.call("DELETE", f"/containers/{container}")

    def destroy(self, container: str) -> None:
        """Kill if need be, and delete."""
        try:
            self.call("POST", f"/containers/{container}/kill")
            self.wait(container)
        except ApiError:
            pass  # it runs no more
        self.remove(container)

    def run(self, image: str, *command: str) -> int:
        """The exit code of a container that is gone again."""
        container = self.create(image, *command)
        self.start(container)
        code = self.wait(container)
        self.remove(container)
        return code

    def import_image(self, name: str, tar: bytes) -> None:
        """Make the image ``name`` of a tar."""
        self.perform(f"/images/create?fromSrc=-&repo={name}&tag=latest", tar)

    def pull(self, name: str) -> None:
        """Have what a registry has as ``name``, a host included."""
        self.perform(f"/images/create?fromImage={name}&tag=latest")

    def push(self, name: str) -> None:
        """Give the image to the registry in its name."""
        self.perform(f"/images/{name}/push?tag=latest", {})

    def tag(self, name: str, other: str) -> None:
        """One more name for an image."""
        self._exchange("POST", f"/images/{name}/tag?repo={other}&tag=latest", None)

    def build(self, name: str, context: bytes, *, cache: bool, buildkit: bool = False) -> None:
        """Make the image ``name`` of a tar with a Dockerfile."""
        builder = "&version=2" if buildkit else ""
        self.perform(f"/build?t={name}&nocache={0 if cache else 1}&rm=1&networkmode=none{builder}", context)

    def has_buildkit(self) -> bool:
        """Whether it is dockerd, which calls its main component so, and has two builders."""
        return any(each["Name"] == "Engine" for each in self.call("GET", "/version").get("Components", ()))

    def image_id(self, name: str) -> str:
        """The id of an image, in the words of 2013's API or today's."""
        shape = self.call("GET", f"/images/{name}/json")
        found: str = shape.get("Id") or shape["id"]
        return found

    def remove_image(self, name: str) -> None:
        """Take the name away; the image goes with its last one."""
        self._exchange("DELETE", f"/images/{name}", None)

    def attach(self, container: str, *, multiplexed: bool) -> "Attached":
        """The container's live streams. ``multiplexed``: without a terminal, output comes in frames."""
        return Attached(self.host, container, multiplexed=multiplexed)

    def multiplexes(self) -> bool:
        """Whether attached output comes in frames: since API 1.6, and only those versions say ``ApiVersion``."""
        return "ApiVersion" in self.call("GET", "/version")


class Attached:
    """A taken-over connection: container output in, stdin out."""

    def __init__(self, host: str, container: str, *, multiplexed: bool) -> None:
        self._multiplexed = multiplexed
        self._sock = connect(host)
        path = f"/containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1"
        self._sock.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
        self._early = self._read_head()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def send(self, data: bytes) -> None:
        """Write to the container's stdin."""
        self._sock.sendall(data)

    def payloads(self) -> Iterator[memoryview]:
        """What the container printed, piece by piece, until its end. A piece is valid until the next is asked for."""
        return self._unframed() if self._multiplexed else self._received()

    def _read_head(self) -> bytes:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = self._sock.recv(4096)
            if not piece:
                raise ApiError(f"attach: connection closed after {head!r}")
            head += piece
        status, _, rest = head.partition(b"\r\n\r\n")
        if status.split()[1] not in (b"200", b"101"):
            raise ApiError(f"attach: {head.decode(errors='replace')}")
        return rest

    def _received(self) -> Iterator[memoryview]:
        if self._early:
            yield memoryview(self._early)
        room = memoryview(bytearray(PIECE))
        while count := self._sock.recv_into(room):
            yield room[:count]

    def _unframed(self) -> Iterator[memoryview]:
        header, left = b"", 0
        for received in self._received():
            piece = received
            while piece:
                if left:
                    yield piece[:left]
                    left, piece = max(0, left - len(piece)), piece[left:]
                else:
                    missing = FRAME_HEADER - len(header)
                    header, piece = header + bytes(piece[:missing]), piece[missing:]
                    if len(header) == FRAME_HEADER:
                        left, header = int.from_bytes(header[4:]), b""
