"""Getting a filesystem onto its disk."""

import ctypes
import os
from pathlib import Path

from trioker.linux.closing import closing
from trioker.linux.syscalls import oserror

_libc = ctypes.CDLL(None, use_errno=True)


def syncfs(path: str | Path) -> None:
    """Write everything of the filesystem that ``path`` lies on to its disk.

    Raises OSError where the disk failed (told since Linux 5.8, also about writes long before).
    """
    with closing(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
        sync_filesystem(fd, os.fspath(path))


def sync_filesystem(fd: int, path: str = "") -> None:
    """The same for the filesystem of an open file; ``path`` is for the message."""
    if _libc.syncfs(fd):
        raise oserror("syncfs", path)
