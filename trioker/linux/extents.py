"""Where a file has data: the rest are holes, which cost no disk (lseek(2), SEEK_DATA)."""

import errno
import os
from collections.abc import Iterator


def extents(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Start and end of each stretch of data in an open file of ``size`` bytes. What a file that grows gets behind that is left out."""
    end = 0
    while end < size and (start := next_data(fd, end, size)) < size:
        end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        if start < end:
            yield start, end


def next_data(fd: int, place: int, size: int) -> int:
    """Where an open file of ``size`` bytes has data at ``place`` or behind it; ``size`` where only a hole is left."""
    try:
        return os.lseek(fd, place, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size
        raise
