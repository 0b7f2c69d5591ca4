"""Where a file has data: the rest are holes, which cost no disk (lseek(2), SEEK_DATA)."""

import errno
import os
from collections.abc import Iterator


def extents(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Start and end of each stretch of data in an open file of ``size`` bytes. What a file that grows gets behind that is left out."""
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        if start < end:
            yield start, end
