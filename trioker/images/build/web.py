"""What builds fetch by http and https: a remote context or Dockerfile, and the URLs of ADD."""

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime

import attrs

from trioker.http.client import Answer, BadUrl, Client, FetchError
from trioker.model.errors import InvalidParameter, TriokerError


@attrs.frozen
class Opener:
    """Implements ``ports.Web`` with a Client."""

    client: Client

    @asynccontextmanager
    async def __call__(self, url: str) -> AsyncIterator[Answer]:
        """Only 200 is good. Raises InvalidParameter for a bad URL, TriokerError for a failed fetch."""
        try:
            async with self.client.request("GET", url) as answer:
                if answer.status != 200:
                    raise answer.error(f"the server answered {answer.status}")
                yield answer
        except BadUrl as error:
            raise InvalidParameter(str(error)) from None
        except FetchError as error:
            raise TriokerError(str(error)) from error


def modified_ns(header: str) -> int:
    """What Last-Modified says, in nanoseconds since the epoch; 0 where it says nothing that can be read (RFC 9110, 8.8.2)."""
    try:
        seconds = parsedate_to_datetime(header).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0
    return max(0, int(seconds)) * 10**9


class Peeked(AsyncIterator[bytes]):
    """Chunks whose beginning can be looked at before they are taken."""

    def __init__(self, chunks: AsyncIterable[bytes]) -> None:
        self._chunks = aiter(chunks)
        self._head: bytes = b""

    async def peek(self, size: int) -> bytes:
        """At least the first ``size`` bytes, fewer where there are no more."""
        while len(self._head) < size and (chunk := await anext(self._chunks, None)) is not None:
            self._head += chunk
        return self._head

    async def __anext__(self) -> bytes:
        head, self._head = self._head, b""
        return head or await anext(self._chunks)
