"""Requests and replies without a connection, for tests of handlers."""

from collections.abc import AsyncIterator, Sequence
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from trioker.http.messages import BodyTooLarge, Reply, Request, Response, Stream


@attrs.define
class FakeBody:
    """A body in memory; ``reads`` counts how often it was begun, for endpoints that must not touch it."""

    content: bytes = b""
    reads: int = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """In two pieces."""
        self.reads += 1
        half = len(self.content) // 2
        for piece in (self.content[:half], self.content[half:]):
            if piece:
                yield piece

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


async def reply_body(reply: Reply) -> bytes:
    """The whole body of a reply. Raises TypeError for a takeover, which has none."""
    if isinstance(reply, Response):
        return reply.body
    if not isinstance(reply, Stream):
        raise TypeError("a takeover has no body")
    pieces: list[bytes] = []

    async def send(piece: bytes) -> None:
        pieces.append(piece)

    await reply.write(send)
    return b"".join(pieces)
