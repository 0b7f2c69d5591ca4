"""Files held by their number for the length of a with-block."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def closing(fd: int) -> Iterator[int]:
    """Close it at the end of the block."""
    try:
        yield fd
    finally:
        os.close(fd)
