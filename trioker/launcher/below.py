"""The tree that a layer is unpacked over, where the layer's own directory holds nothing of it: an overlay's lower layers.

Two things in an archive mean something that is there: a hard link to a file of a layer below, and a path through a directory that the archive
does not describe.
"""

import os
import stat
from collections.abc import Callable, Iterator

from trioker.launcher import xattrs
from trioker.launcher.holes import data_pieces
from trioker.launcher.tar_header import DIRECTORY, FILE, Entry
from trioker.linux import syscalls

_BLOCK = 2**18
_RESOLVE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
_KINDS = {stat.S_IFDIR: DIRECTORY, stat.S_IFREG: FILE}


class Below:
    """A read-only tree, by a descriptor of its root that was opened before this process was shut in."""

    def __init__(self, root: int) -> None:
        self._root = root

    def open(self, path: bytes) -> tuple[int, Entry] | None:
        """A file or directory there, open, and described as an archive would; None for anything else, and behind symbolic links."""
        if self._kind(path) not in _KINDS:  # to open a pipe would wait, a device do anything
            return None
        fd = self._open(path, os.O_RDONLY)
        return fd, _describe(fd, path)

    def _kind(self, path: bytes) -> int:
        try:
            fd = self._open(path, os.O_PATH)
        except OSError:
            return 0
        try:
            return stat.S_IFMT(os.fstat(fd).st_mode)
        finally:
            os.close(fd)

    def _open(self, path: bytes, flags: int) -> int:
        return syscalls.openat2(self._root, os.fsdecode(path), flags, _RESOLVE)


def _describe(fd: int, path: bytes) -> Entry:
    found = os.fstat(fd)
    kind = _KINDS[stat.S_IFMT(found.st_mode)]
    size, pieces = (found.st_size, data_pieces(fd, found)) if kind == FILE else (0, None)
    ids = found.st_uid, found.st_gid
    mode, attributes = stat.S_IMODE(found.st_mode), xattrs.collect(fd)
    return Entry(path, kind, mode, *ids, found.st_mtime_ns, size, size, b"", 0, attributes, pieces)


def content(fd: int, entry: Entry) -> Callable[[int], Iterator[memoryview]]:
    """The data of an open file in the order of its pieces, so many bytes at each call."""
    starts = iter(entry.pieces or ((0, entry.size),))

    def data(size: int) -> Iterator[memoryview]:
        os.lseek(fd, next(starts)[0], os.SEEK_SET)
        while size and (block := os.read(fd, min(size, _BLOCK))):
            size -= len(block)
            yield memoryview(block)

    return data
