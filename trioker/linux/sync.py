"""Getting a filesystem onto its disk."""

import ctypes
import os
from pathlib import Path

from trioker.linux.syscalls import oserror

_libc = ctypes.CDLL(None, use_errno=True)


def syncfs(path: str | Path) -> None:
    """Write everything of the filesystem that ``path`` lies on to its disk.

    Raises OSError where the disk failed (told since Linux 5.8, also about writes long before).
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_filesystem(fd, os.fspath(path))
    finally:
        os.close(fd)


def sync_filesystem(fd: int, path: str = "") -> None:
    """The same for the filesystem of an open file; ``path`` is for the message."""
    if _libc.syncfs(fd):
        raise oserror("syncfs", path)
