"""What passes between the HTTP server and a handler."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

import attrs
import trio

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case on requests; sent as given on replies."""

Send = Callable[[bytes], Awaitable[None]]


class BadBody(Exception):
    """A body that cannot be had whole. A handler may let it pass: the server answers ``status`` and the text."""

    status = 400


class BodyTooLarge(BadBody):
    """More bytes than the caller of ``Body.read`` would take."""

    status = 413


class BodyTooSlow(BadBody):
    """No byte for too long, or the whole not in time."""

    status = 408


class Body(Protocol):
    """A request's body, read at most once. Reading it sends the 100-continue a client waits for."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The pieces as they arrive, at most 64 KiB each; nothing is kept. Raises BadBody when the rest cannot be had."""

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises BodyTooLarge past ``limit`` bytes, BadBody when it cannot be had."""


@attrs.frozen
class Request:
    """A request whose head is complete and sound."""

    method: str
    target: str
    """As sent, percent-encoding and query included."""
    path: str
    """Percent-decoded, without the query; always begins with "/"."""
    query: Sequence[tuple[str, str]]
    headers: Headers
    body: Body

    def header(self, name: bytes) -> bytes:
        """The first header of that lower-case name, empty if there is none."""
        return next((value for key, value in self.headers if key == name), b"")


@attrs.frozen
class Response:
    """A reply whose body is known: sent with Content-Length."""

    status: int
    body: bytes = b""
    headers: Headers = ()


@attrs.frozen
class Stream:
    """A reply whose body is produced as it goes.

    ``write`` is called once, with a ``send`` that returns when there is room. With ``length`` None the body is chunked (closed by
    connection end for HTTP/1.0). An exception of ``write`` cuts the connection, so that the client sees the body is incomplete.
    With ``held`` the head waits for the first piece; until then ``write`` may still raise Instead or BadBody.
    """

    status: int
    write: Callable[[Send], Awaitable[None]]
    headers: Headers = ()
    length: int | None = None
    held: bool = False


class Instead(Exception):
    """Raised by the ``write`` of a held Stream that has sent nothing yet: ``reply`` takes the stream's place."""

    def __init__(self, reply: Response) -> None:
        super().__init__(f"a reply of status {reply.status} in a stream's place")
        self.reply = reply


@attrs.frozen
class Takeover:
    """No HTTP any more: ``run`` gets the connection's byte stream, bytes that came behind the head first, and writes its own head.

    When ``run`` returns the connection is closed. Client hang-up is ``run``'s to notice. ``stream`` can be half-closed on every transport
    that can (TLS cannot: there ``send_eof`` closes).
    """

    run: Callable[["trio.abc.HalfCloseableStream"], Awaitable[None]]


Reply = Response | Stream | Takeover
Handler = Callable[[Request], Awaitable[Reply]]
"""A client that goes away cancels the running handler (and ``Stream.write``)."""
