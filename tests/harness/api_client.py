"""HTTP to a daemon over a Unix or TCP socket with nothing but the standard library; every wait ends by a socket timeout."""

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from email.message import Message
from typing import Any, BinaryIO, NamedTuple, Self

from polling import PATIENCE

Address = str | tuple[str, int]
"""Path of a Unix socket, or host and port."""

RAW_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
"""What attach answers, to the byte (behaviour.md section 4)."""


def dial(address: Address, timeout: float = PATIENCE) -> socket.socket:
    """A connected socket whose every operation has a deadline."""
    if isinstance(address, tuple):
        return socket.create_connection(address, timeout)
    connected = socket.socket(socket.AF_UNIX)
    try:
        connected.settimeout(timeout)
        connected.connect(address)
    except OSError:
        connected.close()
        raise
    return connected


class Answer(NamedTuple):
    """A whole reply."""

    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


def objects(text: str) -> list[dict[str, Any]]:
    """JSON objects that follow each other without anything between them but white space."""
    found, decoder = [], json.JSONDecoder()
    while text := text.lstrip():
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


class Connection(http.client.HTTPConnection):
    """http.client over any Address."""

    def __init__(self, address: Address) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._address = address

    def connect(self) -> None:
        self.sock = dial(self._address)


class Attached:
    """An attach connection behind its head."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._seen = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def half_close(self) -> None:
        """Send the end of input; output still comes."""
        self.socket.shutdown(socket.SHUT_WR)

    @property
    def seen(self) -> bytes:
        """Everything received so far."""
        return bytes(self._seen)

    def read_until(self, wanted: bytes) -> bytes:
        """All output so far, once ``wanted`` is in it."""
        while wanted not in self._seen:
            data = self.socket.recv(65536)
            assert data, f"closed without {wanted!r}, after {self.seen!r}"
            self._seen += data
        return self.seen

    def read_all(self) -> bytes:
        """All output, once the daemon has closed."""
        while data := self.socket.recv(65536):
            self._seen += data
        return self.seen


class Api:
    """A daemon's API: ``call`` gives the reply as it is, ``ok`` what it says unless that is an error."""

    def __init__(self, address: Address, prefix: str = "/v1.2", made: set[str] | None = None) -> None:
        self.address = address
        self.prefix = prefix
        self.made = set() if made is None else made
        """The short id of every container that ``create`` made, also of those removed since."""

    def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Answer:
        """One request on a connection of its own. A dict or list is sent as JSON, bytes as they are, an iterable chunked."""
        sent = dict(headers or {})
        if isinstance(body, dict | list):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        with contextlib.closing(Connection(self.address)) as connection:
            connection.request(method, self.prefix + path, body, sent, **options)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The reply's value: decoded JSON, else bytes. Raises AssertionError on an error status."""
        answer = self.call(method, path, body, **options)
        assert answer.status < 400, f"{method} {path}: {answer.status} {answer.text.strip()}"
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.json() if is_json and answer.body else answer.body

    # -- images and containers ------------------------------------------------------------------------------------------

    def import_image(self, tar: bytes, repository: str, tag: str = "") -> str:
        """The short id of a new image."""
        query = f"fromSrc=-&repo={repository}" + (f"&tag={tag}" if tag else "")
        return str(self.ok("POST", f"/images/create?{query}", tar)["status"])

    def create(self, *command: str, image: str = "base", **config: Any) -> str:
        """The short id of a new container."""
        container = str(self.ok("POST", "/containers/create", {"Image": image, "Cmd": list(command), **config})["Id"])
        self.made.add(container)
        return container

    def start(self, container: str) -> None:
        self.ok("POST", f"/containers/{container}/start")

    def wait(self, container: str) -> int:
        """Its exit code, once it has ended."""
        return int(self.ok("POST", f"/containers/{container}/wait")["StatusCode"])

    def inspect(self, container: str) -> Any:
        return self.ok("GET", f"/containers/{container}/json")

    def logs(self, container: str, *, stdout: bool = True, stderr: bool = True) -> bytes:
        """Whole stdout, then whole stderr."""
        query = f"logs=1&stdout={int(stdout)}&stderr={int(stderr)}"
        return bytes(self.ok("POST", f"/containers/{container}/attach?{query}"))

    def remove(self, container: str) -> None:
        """Kill and delete it, volumes too."""
        self.call("POST", f"/containers/{container}/kill")
        self.ok("DELETE", f"/containers/{container}?v=1")

    def attach(self, container: str, query: str = "stream=1&stdout=1&stderr=1", early: bytes = b"") -> Attached:
        """Attach; on return the daemon has answered. ``early`` is sent together with the request."""
        connected = dial(self.address)
        request = f"POST {self.prefix}/containers/{container}/attach?{query} HTTP/1.1\r\nHost: \r\n\r\n"
        connected.sendall(request.encode() + early)
        head = read_head(connected)
        assert head == RAW_HEAD, head
        return Attached(connected)

    @contextlib.contextmanager
    def container(self, *command: str, start: bool = True, **config: Any) -> Iterator[str]:
        """A container for the length of a with-block, started unless said otherwise."""
        container = self.create(*command, **config)
        try:
            if start:
                self.start(container)
            yield container
        finally:
            self.remove(container)

    def run(self, *command: str, **config: Any) -> tuple[int, bytes]:
        """Exit code and output (stdout, then stderr) of a container that is made, run to its end and removed."""
        with self.container(*command, **config) as container:
            return self.wait(container), self.logs(container)


def read_head(connected: socket.socket) -> bytes:
    """A reply's head and not a byte more, as what follows may be a container's output."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connected.recv(1)
        if not byte:
            raise AssertionError(f"closed within the head: {head!r}")
        head += byte
    return head


def read_answer(file: BinaryIO, method: str = "GET") -> Answer:
    """The next reply of a connection that carries several: by its length, by chunks or to the end."""
    version, status, _ = file.readline().split(b" ", 2)
    assert version == b"HTTP/1.1", version
    headers = http.client.parse_headers(file)
    if method == "HEAD" or int(status) in {204, 304} or int(status) < 200:
        body = b""
    elif headers.get("Transfer-Encoding") == "chunked":
        body = b"".join(_chunks(file))
    elif "Content-Length" in headers:
        body = file.read(int(headers["Content-Length"]))
    else:
        body = file.read()
    return Answer(int(status), headers, body)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while size := int(file.readline(), 16):
        yield file.read(size)
        file.readline()
    file.readline()


def exchange(address: Address, request: bytes) -> bytes:
    """Send bytes as they are; all that comes until the daemon closes."""
    with dial(address) as connected, contextlib.suppress(ConnectionResetError):
        with contextlib.suppress(BrokenPipeError):
            connected.sendall(request)
        with connected.makefile("rb") as file:
            return file.read()
    return b""
