"""Requests and replies without a connection, for tests of handlers."""

from collections.abc import AsyncIterator, Sequence
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from trioker.http.messages import BodyTooLarge, Instead, Reply, Request, Response, Stream


@attrs.define
class FakeBody:
    """A body in memory; ``reads`` counts how often it was begun, for endpoints that must not touch it."""

    content: bytes = b""
    reads: int = 0

    _rest: list[bytes] = attrs.field(init=False, factory=list)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """In two pieces. No generator, like the server's: it may be left half-read."""
        self.reads += 1
        half = len(self.content) // 2
        self._rest = [piece for piece in (self.content[:half], self.content[half:]) if piece]
        return self

    async def __anext__(self) -> bytes:
        """The next piece."""
        if not self._rest:
            raise StopAsyncIteration
        return self._rest.pop(0)

    async def read(self, limit: int) -> bytes:
        """The whole."""
        self.reads += 1
        if len(self.content) > limit:
            raise BodyTooLarge(f"the request's body is longer than {limit} bytes")
        return self.content


def fake_request(
    method: str, target: str, body: bytes = b"", content_type: str = "", headers: Sequence[tuple[bytes, bytes]] = ()
) -> Request:
    """A request as the server would hand it over."""
    parts = urlsplit(f"http://host{target}")
    named = [(b"content-type", content_type.encode())] if content_type else []
    sized = [(b"content-length", str(len(body)).encode())] if body or method == "POST" else []
    query = parse_qsl(parts.query, keep_blank_values=True)
    return Request(method, target, unquote(parts.path), query, [*named, *sized, *headers], FakeBody(body))


async def whole_reply(reply: Reply) -> Response:
    """A reply with all of its body, as a client would see it. Raises TypeError for a takeover, which has none."""
    if isinstance(reply, Response):
        return reply
    if not isinstance(reply, Stream):
        raise TypeError("a takeover has no body")
    pieces: list[bytes] = []

    async def send(piece: bytes) -> None:
        pieces.append(piece)

    try:
        await reply.write(send)
    except Instead as instead:
        if pieces or not reply.held:
            raise
        return instead.reply
    return Response(reply.status, b"".join(pieces), reply.headers)


async def reply_body(reply: Reply) -> bytes:
    """The same, the body only."""
    return (await whole_reply(reply)).body
