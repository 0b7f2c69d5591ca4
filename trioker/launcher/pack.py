"""Write the tree that is this process's root as a tar archive, as ``tar -C tree -c .`` does, while a container may be changing it.

Files are held by descriptor from the look to the last byte. What is gone when its turn comes is left out; what grows is cut, what shrinks is
filled with zeros, for the header with the size has been sent by then.
"""

import errno
import os
import stat
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from trioker.launcher import xattrs
from trioker.launcher.tar_header import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    FIFO,
    FILE,
    HARD_LINK,
    SYMLINK,
    BadArchive,
    Entry,
    shown,
)
from trioker.launcher.tar_writer import END, encode_header, padding
from trioker.launcher.whiteouts import MARK
from trioker.linux.trees import Cursor, names, status, unroll

_BLOCK = 2**18  # large enough that system calls do not show, small enough for the processor's cache
_GONE = (
    errno.ENOENT,
    errno.ELOOP,
    errno.ENXIO,
)  # O_NOFOLLOW on a symlink, O_NONBLOCK on a socket: another thing by now
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFIFO: FIFO,
    stat.S_IFCHR: CHARACTER_DEVICE,
    stat.S_IFBLK: BLOCK_DEVICE,
}

Walk = Generator["Walk", None, None]


class Packed(NamedTuple):
    """What the archive holds: apparent bytes of its regular files (a hard link once), and entries."""

    size: int
    entries: int


def pack(root: str, out: int) -> Packed:
    """Write the tree at ``root`` to the descriptor ``out``: rising names, owners by number, sockets left out.

    Raises BadArchive naming the entry that could not be read, BrokenPipeError where nobody reads any more.
    """
    with Cursor(root) as cursor:
        packer = _Packer(cursor, out)
        for _ in unroll(packer.walk()):
            pass
        return packer.finish()


class _Packer:
    """The archive being written."""

    def __init__(self, cursor: Cursor, out: int) -> None:
        self._cursor = cursor
        self._out = out
        self._buffer = bytearray()
        self._links: dict[tuple[int, int], bytes] = {}
        self._size = 0
        self._entries = 0

    def walk(self, path: bytes = b"./") -> Walk:
        """Pack the directory the cursor stands in, and all below it."""
        with _named(path):
            self._put_open(self._cursor.fd, path)
        for name in names(self._cursor.fd):
            below = path + os.fsencode(name)
            found = status(self._cursor.fd, name)
            if found is None:
                continue
            if not stat.S_ISDIR(found.st_mode):
                with _named(below):
                    self._put(name, below, found)
            elif self._cursor.enter(name):
                yield self.walk(below + b"/")
                if not self._cursor.leave():
                    return

    def finish(self) -> Packed:
        """Close the archive."""
        self._write(END)
        self._flush()
        return Packed(self._size, self._entries)

    def _put(self, name: str, path: bytes, found: os.stat_result) -> None:
        """Pack anything but a directory."""
        kind = _KINDS.get(stat.S_IFMT(found.st_mode))
        identity = found.st_dev, found.st_ino
        if kind is None or (kind == CHARACTER_DEVICE and found.st_rdev == MARK):
            return  # a socket, or overlayfs's mark of what is not there, seen because a bottom layer is shown bare
        if identity in self._links:
            self._header(path, found, HARD_LINK, link=self._links[identity])
            return
        try:
            self._put_new(name, path, found, kind)
        except OSError as error:
            if error.errno not in _GONE:
                raise
        else:
            if found.st_nlink > 1:
                self._links[identity] = path

    def _put_new(self, name: str, path: bytes, found: os.stat_result, kind: bytes) -> None:
        if kind == FILE:
            fd = os.open(name, _OPEN, dir_fd=self._cursor.fd)
            try:
                self._put_open(fd, path)
            finally:
                os.close(fd)
        elif kind == SYMLINK:
            self._header(path, found, kind, link=os.fsencode(os.readlink(name, dir_fd=self._cursor.fd)))
        else:
            self._header(path, found, kind)

    def _put_open(self, fd: int, path: bytes) -> None:
        """Pack an open directory or file."""
        found = os.fstat(fd)
        if stat.S_ISDIR(found.st_mode):
            self._header(path, found, DIRECTORY, attributes=xattrs.collect(fd))
        elif stat.S_ISREG(found.st_mode):
            self._header(path, found, FILE, attributes=xattrs.collect(fd))
            self._copy(fd, found.st_size)
            self._size += found.st_size

    def _header(
        self,
        path: bytes,
        found: os.stat_result,
        kind: bytes,
        *,
        link: bytes = b"",
        attributes: Mapping[bytes, bytes] | None = None,
    ) -> None:
        size = found.st_size if kind == FILE else 0
        device = found.st_rdev if kind in (CHARACTER_DEVICE, BLOCK_DEVICE) else 0
        mode = stat.S_IMODE(found.st_mode)
        ids = found.st_uid, found.st_gid
        entry = Entry(path, kind, mode, *ids, found.st_mtime_ns, size, size, link, device, attributes or {})
        self._write(encode_header(entry))
        self._entries += 1

    def _copy(self, fd: int, size: int) -> None:
        left = size
        while left and (data := os.read(fd, min(left, _BLOCK))):
            self._write(data)
            left -= len(data)
        while left:  # it has shrunk
            self._write(bytes(min(left, _BLOCK)))
            left -= min(left, _BLOCK)
        self._write(padding(size))

    def _write(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) >= _BLOCK:
            self._flush()

    def _flush(self) -> None:
        with memoryview(self._buffer) as view:
            start = 0
            while start < len(view):
                start += os.write(self._out, view[start:])
        self._buffer.clear()


@contextmanager
def _named(path: bytes) -> Iterator[None]:
    """Say which entry an error is about."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise BadArchive(f"{error.strerror} in entry {shown(path)}") from error
