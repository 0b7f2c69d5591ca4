"""multipart/form-data as it arrives (RFC 7578, RFC 2046 section 5.1): part by part, nothing of a part held but its last bytes.

The standard library parses such bodies only as a whole and in memory; the command line client of 2013 sends a build's context so.
"""

import re
from collections.abc import AsyncIterable

from trioker.model.errors import InvalidParameter

HEAD_LIMIT = 16 * 1024
"""Bytes of one part's header fields; real ones take two hundred."""
PARTS = 100
"""Parts of one body; a build has two."""

_FORM = re.compile(rb"multipart/form-data\s*(;|$)", re.IGNORECASE)
_BOUNDARY = re.compile(rb';\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_NAME = re.compile(rb'content-disposition:[^\r\n]*?[;\s]name=(?:"([^"\r\n]*)"|([^\s;]+))', re.IGNORECASE)


def boundary_of(content_type: bytes) -> bytes:
    """The boundary that a Content-Type names; b"" if it is no multipart form. Raises InvalidParameter for a form without one."""
    content_type = content_type.strip()
    if not _FORM.match(content_type):
        return b""
    match = _BOUNDARY.search(content_type)
    if match is None:
        raise InvalidParameter("Content-Type: multipart/form-data without its boundary")
    return match[1] or match[2]


class Multipart:
    """The parts of a body: ``next_part`` goes to the next, leaving out what was not read of the one before; ``read`` gives its data.

    No generators: a form left half-read needs no asynchronous cleaning up.
    """

    def __init__(self, chunks: AsyncIterable[bytes], boundary: bytes) -> None:
        self._chunks = aiter(chunks)
        self._delimiter = b"\r\n--" + boundary
        self._buffer = bytearray(b"\r\n")  # so that the first delimiter is like all others
        self._inside = True  # a part, or what comes before the first
        self._count = 0

    async def next_part(self) -> str | None:
        """The next part's field name; None behind the last. Raises InvalidParameter."""
        while await self.read():
            pass
        while len(self._buffer) < 2:
            await self._more()
        if self._buffer.startswith(b"--"):
            return None
        self._count += 1
        if self._count > PARTS:
            raise InvalidParameter(f"body: a form of more than {PARTS} parts")
        return await self._read_head()

    async def read(self) -> bytes:
        """The next piece of the current part's data, b"" at its end. Raises InvalidParameter."""
        while self._inside:
            if piece := self._take():
                return piece
            if self._inside:
                await self._more()
        return b""

    def _take(self) -> bytes:
        """What surely is data of what has arrived: all but what the delimiter could begin in."""
        place = self._buffer.find(self._delimiter)
        if place >= 0:
            self._inside = False
            end, behind = place, place + len(self._delimiter)
        else:
            end = behind = max(0, len(self._buffer) - len(self._delimiter) + 1)
        data = bytes(self._buffer[:end])
        del self._buffer[:behind]
        return data

    async def _read_head(self) -> str:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > HEAD_LIMIT:
                raise InvalidParameter(f"body: the header of a part is longer than {HEAD_LIMIT} bytes")
            await self._more()
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        self._inside = True
        match = _NAME.search(head)
        if match is None:
            raise InvalidParameter("body: a part without a name")
        return (match[1] if match[1] is not None else match[2]).decode("utf-8", "replace")

    async def _more(self) -> None:
        try:
            self._buffer += await anext(self._chunks)
        except StopAsyncIteration:
            raise InvalidParameter("body: the form ends before its last boundary") from None
