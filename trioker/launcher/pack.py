"""Write the tree that is this process's root, or a part of it, as a tar archive, while a container may be changing it.

The whole tree is packed as ``tar -C tree -c .`` does; a layer's part as the OCI image specification has it, "Layer"; and the sources of a COPY
under the names they were asked for. The same tree gives the same bytes.

Files are held by descriptor from the look to the last byte. What is gone when its turn comes is left out; what grows is cut, what shrinks is
filled with zeros, for the header with the size has been sent by then. Of a file with large holes only the data is written.
"""

import errno
import os
import stat
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from trioker.launcher import xattrs
from trioker.launcher.holes import Pieces, data_pieces
from trioker.launcher.picking import Picked, find_sources
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
from trioker.launcher.tar_writer import END, encode_header, encode_sparse_header, padding
from trioker.launcher.whiteouts import MARK, PREFIX
from trioker.linux.closing import closing
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


def pack(root: str, out: int, picked: Picked | None = None) -> Packed:
    """Write the tree at ``root``, or what of it is ``picked``, to the descriptor ``out``: rising names, owners by number, sockets left out.

    A root that is no directory gives an empty archive, a symbolic link is followed.
    Raises BadArchive naming the entry that could not be read, BrokenPipeError where nobody reads any more.
    """
    packer = _Packer(out)
    root = os.path.realpath(root)
    if os.path.isdir(root) and (picked is None or picked.below or picked.gone):
        packer.add_tree(root, b"./", picked)
    return packer.finish()


def pack_sources(sources: Iterable[str], out: int) -> Packed:
    """Write what the sources (``picking.find_sources``) stand for in the process's root; one that is a symbolic link is followed.

    Raises as ``pack``, and BadArchive for a source without a match.
    """
    packer = _Packer(out)
    for path in find_sources(sources):
        name = os.fsencode(path)
        with _named(name):
            place = os.path.realpath(f"/{path}", strict=True)
            if os.path.isdir(place):
                packer.add_tree(place, name + b"/" if name else b"./")
            else:
                packer.add_file(place, name)
    return packer.finish()


class _Packer:
    """The archive being written."""

    def __init__(self, out: int) -> None:
        self._out = out
        self._buffer = bytearray()
        self._links: dict[tuple[int, int], bytes] = {}
        self._size = 0
        self._entries = 0

    def add_tree(self, root: str, path: bytes, picked: Picked | None = None) -> None:
        """Pack a directory and all below it, or what of it is ``picked``."""
        with Cursor(root) as cursor:
            for _ in unroll(self._walk(cursor, path, picked)):
                pass

    def add_file(self, place: str, path: bytes) -> None:
        """Pack anything but a directory."""
        with closing(os.open(os.path.dirname(place), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as directory:
            name = os.path.basename(place)
            self._put(directory, name, path, os.lstat(place))

    def _walk(self, cursor: Cursor, path: bytes, picked: Picked | None) -> Walk:
        with _named(path):
            self._put_open(cursor.fd, path)
        if picked is not None:
            self._put_whiteouts(path, picked)
        for name in names(cursor.fd) if picked is None else _kept_names(picked):
            below = path + os.fsencode(name)
            found = status(cursor.fd, name)
            if found is None:
                continue
            if not stat.S_ISDIR(found.st_mode):
                with _named(below):
                    self._put(cursor.fd, name, below, found)
            elif cursor.enter(name):
                yield self._walk(cursor, below + b"/", picked and picked.below[name])
                if not cursor.leave():
                    return

    def _put_whiteouts(self, path: bytes, picked: Picked) -> None:
        """Say what is gone, before what is there ("whiteout files SHOULD be applied first")."""
        for name in sorted(map(os.fsencode, picked.gone)):
            entry = Entry(path + PREFIX + name, FILE, 0, 0, 0, 0, 0, 0, b"", 0)
            self._write(encode_header(entry))
            self._entries += 1

    def finish(self) -> Packed:
        """Close the archive."""
        self._write(END)
        self._flush()
        return Packed(self._size, self._entries)

    def _put(self, directory: int, name: str, path: bytes, found: os.stat_result) -> None:
        """Pack anything but a directory."""
        kind = _KINDS.get(stat.S_IFMT(found.st_mode))
        identity = found.st_dev, found.st_ino
        if kind is None or (kind == CHARACTER_DEVICE and found.st_rdev == MARK):
            return  # a socket, or overlayfs's mark of what is not there, seen because a bottom layer is shown bare
        if identity in self._links:
            self._header(path, found, HARD_LINK, link=self._links[identity])
            return
        try:
            self._put_new(directory, name, path, found, kind)
        except OSError as error:
            if error.errno not in _GONE:
                raise
        else:
            if found.st_nlink > 1:
                self._links[identity] = path

    def _put_new(self, directory: int, name: str, path: bytes, found: os.stat_result, kind: bytes) -> None:
        if kind == FILE:
            fd = os.open(name, _OPEN, dir_fd=directory)
            try:
                self._put_open(fd, path)
            finally:
                os.close(fd)
        elif kind == SYMLINK:
            self._header(path, found, kind, link=os.fsencode(os.readlink(name, dir_fd=directory)))
        else:
            self._header(path, found, kind)

    def _put_open(self, fd: int, path: bytes) -> None:
        """Pack an open directory or file."""
        found = os.fstat(fd)
        if stat.S_ISDIR(found.st_mode):
            self._header(path, found, DIRECTORY, attributes=xattrs.collect(fd))
        elif stat.S_ISREG(found.st_mode):
            pieces = data_pieces(fd, found)
            self._header(path, found, FILE, attributes=xattrs.collect(fd), pieces=pieces)
            for offset, length in ((0, found.st_size),) if pieces is None else pieces:
                os.lseek(fd, offset, os.SEEK_SET)
                self._copy(fd, length)
            self._write(padding(found.st_size if pieces is None else sum(length for _, length in pieces)))
            self._size += found.st_size

    def _header(
        self,
        path: bytes,
        found: os.stat_result,
        kind: bytes,
        *,
        link: bytes = b"",
        attributes: Mapping[bytes, bytes] | None = None,
        pieces: Pieces | None = None,
    ) -> None:
        size = found.st_size if kind == FILE else 0
        device = found.st_rdev if kind in (CHARACTER_DEVICE, BLOCK_DEVICE) else 0
        mode = stat.S_IMODE(found.st_mode)
        ids = found.st_uid, found.st_gid
        entry = Entry(path, kind, mode, *ids, found.st_mtime_ns, size, size, link, device, attributes or {}, pieces)
        self._write(encode_header(entry) if pieces is None else encode_sparse_header(entry))
        self._entries += 1

    def _copy(self, fd: int, size: int) -> None:
        left = size
        while left and (data := os.read(fd, min(left, _BLOCK))):
            self._write(data)
            left -= len(data)
        while left:  # it has shrunk
            self._write(bytes(min(left, _BLOCK)))
            left -= min(left, _BLOCK)

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


def _kept_names(picked: Picked) -> list[str]:
    """In order; without what would be taken for a whiteout: a layer cannot hold such a name."""
    mark = os.fsdecode(PREFIX)
    return sorted((name for name in picked.below if not name.startswith(mark)), key=os.fsencode)


@contextmanager
def _named(path: bytes) -> Iterator[None]:
    """Say which entry an error is about."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise BadArchive(f"{error.strerror} in entry {shown(path)}") from error
