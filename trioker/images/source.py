"""A tar on its way in: known not to be empty before anything is made for it, and counted as it passes."""

from collections.abc import AsyncIterable, AsyncIterator

from trioker.images.ports import Report
from trioker.model.errors import InvalidParameter


async def open_source(chunks: AsyncIterable[bytes], report: Report, total: int) -> AsyncIterator[bytes]:
    """The same chunks, each told to ``report`` as it is taken. Raises InvalidParameter when there is not one byte."""
    iterator = aiter(chunks)
    async for first in iterator:
        if first:
            return _Source(first, iterator, report, total)
    raise InvalidParameter("the image to import is empty: expected a tar archive")


class _Source(AsyncIterator[bytes]):
    """Not a generator: one that is left half-way would need closing."""

    def __init__(self, first: bytes, rest: AsyncIterator[bytes], report: Report, total: int) -> None:
        self._first = first
        self._rest = rest
        self._report = report
        self._total = total
        self._taken = 0

    async def __anext__(self) -> bytes:
        chunk, self._first = self._first or await anext(self._rest), b""
        self._taken += len(chunk)
        await self._report(self._taken, self._total)
        return chunk


async def tell_nobody(taken: int, total: int) -> None:
    """A Report for who does not want one."""
