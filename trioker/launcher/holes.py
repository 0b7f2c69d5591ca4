"""Where a file has data, so that a hole of a terabyte costs nothing in an archive."""

import os
from collections.abc import Iterator, Sequence

from trioker.linux.extents import extents

Pieces = Sequence[tuple[int, int]]

_WORTH = 2**20
"""Bytes of holes from which on a file is packed as sparse. Below that plain data is simpler, and the same wherever the tree is."""

_MOST = 20_000  # pieces: readers limit the map, ours to 1 MiB


def data_pieces(fd: int, found: os.stat_result) -> Pieces | None:
    """Offset and length of the data in an open file; None for one without large holes. The end of the file is a piece, if an empty one."""
    if found.st_size - found.st_blocks * 512 < _WORTH:
        return None
    pieces, least = [(start, end - start) for start, end in extents(fd, found.st_size)], 1
    while len(pieces) > _MOST:
        least *= 2
        pieces = list(_joined(pieces, least))
    if found.st_size - sum(length for _, length in pieces) < _WORTH:
        return None
    if not pieces or sum(pieces[-1]) < found.st_size:
        pieces.append((found.st_size, 0))
    return pieces


def _joined(pieces: Pieces, least: int) -> Iterator[tuple[int, int]]:
    """The pieces without holes shorter than ``least`` pages."""
    start, length = pieces[0]
    for offset, more in pieces[1:]:
        if offset - start - length < least * 4096:
            length = offset + more - start
        else:
            yield start, length
            start, length = offset, more
    yield start, length
