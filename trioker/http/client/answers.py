"""What is sent and what comes back, as their users see it."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence

import attrs

from trioker.http.client.errors import FetchError, Hopeless
from trioker.http.client.urls import parse_url, shown
from trioker.http.client.waiting import wanted_pause

Headers = Sequence[tuple[bytes, bytes]]
"""(name, value) pairs; names in lower case where they come from a server."""


@attrs.frozen
class Upload:
    """A request's body that can be sent again."""

    open: Callable[[], AsyncIterable[bytes]]
    """Called once for each attempt."""
    length: int | None = None
    """In bytes; None: it is sent in chunks. FetchError if what ``open`` gives has another."""


@attrs.frozen(eq=False)
class Answer:
    """A server's answer, whose body is yet to be read: within its context only."""

    status: int
    headers: Headers = attrs.field(repr=False)
    url: str = attrs.field(repr=False)
    """Who answered in the end, after redirections; without user, password and fragment. Its query may hold a secret."""
    length: int | None
    """Bytes to come (to HEAD: those that GET would give); None if the server did not say."""
    chunks: AsyncIterator[bytes] = attrs.field(repr=False)
    """The body, once. Raises FetchError when it ends early, stalls or is malformed."""

    def header(self, name: bytes) -> str:
        """The first header of this name (lower case), as Latin-1; empty if there is none."""
        return next((value.decode("latin-1") for each, value in self.headers if each == name), "")

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises FetchError, also if it is longer than ``limit`` bytes."""
        body = bytearray()
        async for piece in self.chunks:
            body += piece
            if len(body) > limit:
                raise Hopeless(f"{shown(parse_url(self.url))}: the answer is longer than {limit} bytes")
        return bytes(body)

    def error(self, text: str) -> FetchError:
        """A failure that this answer tells of, for ``retrying``: with the URL, the status and Retry-After."""
        return FetchError(
            f"{shown(parse_url(self.url))}: {text}", self.status, retry_after=wanted_pause(self.header(b"retry-after"))
        )
