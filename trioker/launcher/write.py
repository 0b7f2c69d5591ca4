"""Write an archive into a tree that is there already, as COPY, ADD and ``docker cp`` do. The tree is this process's root.

Not the unpacking of a layer (``unpack.py``), where the archive has the last word about everything:

- A symbolic link on the way is followed, inside the tree: with ``/bin -> usr/bin`` a file for ``bin`` comes to lie in ``/usr/bin``. So is one
  where the archive has a directory: what it leads to is merged into, and the link stays.
- A directory the archive names takes the archive's owner, mode and time, made or found, as in Docker. Not so the destination: found, it stays as it
  is, made, it takes what the archive says of its own root. Parents nobody named are 0755.
- ``.wh.`` names are refused. Here they would be ordinary files, but no layer can hold them: a push would turn them into removals.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from trioker.launcher import xattrs
from trioker.launcher.making import CREATE, DIRECTORY_ITSELF, NODE_TYPES, Held, Tally, components
from trioker.launcher.tar_header import (
    CHARACTER_DEVICE,
    DIRECTORY,
    FILE,
    HARD_LINK,
    SYMLINK,
    BadArchive,
    Entry,
    NoRoom,
    shown,
)
from trioker.launcher.tar_reader import Read, Stream, TarReader
from trioker.launcher.whiteouts import MARK, PREFIX
from trioker.linux.syscalls import DISK_FULL

Owner = tuple[int, int]
"""Uid and gid."""


class Target(NamedTuple):
    """Where the archive goes; see ``spec.WriteSpec``."""

    directory: bytes
    single: bytes = b""
    owner: Owner | None = None


def write(read: Read, target: Target, *, max_bytes: int, max_entries: int) -> Held:
    """Write the archive ``read`` returns piece by piece. Raises BadArchive, naming the entry and what is wrong.

    The umask must be 0; leaves the current directory anywhere.
    """
    reader = TarReader(Stream(read, max_bytes))
    with _about(target.directory):
        tree = _Tree(target, reader)
    tally = Tally(max_bytes, max_entries)
    for entry in reader:
        tally.count(entry)
        with _about(entry.name):
            tree.add(entry)
    tree.finish()
    return tally.held()


@contextmanager
def _about(name: bytes) -> Iterator[None]:
    """Say which entry an error is about."""
    try:
        yield
    except OSError as error:
        kind = NoRoom if error.errno in DISK_FULL else BadArchive
        raise kind(f"{error.strerror} in {shown(name)}") from error
    except ValueError as error:
        raise BadArchive(f"{error} in {shown(name)}") from error


class _Tree:
    """The tree being written into. The current directory is the one the entry at hand goes into."""

    def __init__(self, target: Target, reader: TarReader) -> None:
        self._owner = target.owner
        self._data = reader.data
        self._single = target.single or None  # the file's name; empty when it has come
        self._directories: dict[bytes, tuple[Entry, int, int]] = {}  # by path: the entry, and which inode it stands for
        place = target.directory
        if target.single and place[-1:] != b"/" and not os.path.isdir(place):
            place, self._single = os.path.split(os.path.realpath(place))
        _components(self._single or b"")
        self._base = os.path.realpath(place).rstrip(b"/") + b"/"
        self._found = os.path.isdir(self._base)
        self._parent = b""
        self._enter(b"")

    def add(self, entry: Entry) -> None:
        """Make one entry. Raises OSError, ValueError for a rule it breaks, BadArchive where its data ends."""
        parts = _components(entry.name)
        if self._single is not None:
            parts = [self._take_single(entry)]
        if not parts:
            self._add_root(entry)
            return
        parent, name = b"/".join(parts[:-1]), parts[-1]
        if parent != self._parent:
            self._enter(parent)
        self._make(entry, name, self._base + b"/".join(parts))

    def finish(self) -> None:
        """Give the directories what making things in them would have spoilt. Raises BadArchive where the one file did not come."""
        if self._single:
            raise BadArchive("one file was expected, and the archive is empty")
        for path, (entry, device, inode) in self._directories.items():
            with _about(path), suppress(FileNotFoundError, NotADirectoryError):  # a later entry took its place
                fd = os.open(path, DIRECTORY_ITSELF)
                try:
                    found = os.fstat(fd)
                    if (found.st_dev, found.st_ino) == (device, inode):
                        self._settle(fd, entry)
                finally:
                    os.close(fd)

    def _take_single(self, entry: Entry) -> bytes:
        if entry.kind in (DIRECTORY, HARD_LINK) or not self._single:
            raise ValueError("one file was expected")
        name, self._single = self._single, b""
        return name

    def _add_root(self, entry: Entry) -> None:
        if entry.kind != DIRECTORY:
            raise ValueError("the destination can only be a directory")
        if not self._found:
            self._remember(entry, self._base)

    def _enter(self, parent: bytes) -> None:
        """Make ``parent`` the current directory. Where it is missing it is made, also behind a link that leads nowhere yet."""
        path = self._base + parent
        try:
            os.chdir(path)
        except FileNotFoundError:
            self._make_directories(os.path.realpath(path))
        self._parent = parent

    def _make_directories(self, path: bytes) -> None:
        os.chdir("/")
        for part in _components(path):
            try:
                os.chdir(part)
            except FileNotFoundError:
                os.mkdir(part, 0o755)
                if self._owner:
                    os.chown(part, *self._owner)
                os.chdir(part)

    def _make(self, entry: Entry, name: bytes, path: bytes) -> None:
        if entry.kind == DIRECTORY:
            self._make_directory(entry, name, path)
            return
        if entry.kind == HARD_LINK:
            source = self._base + b"/".join(_components(entry.link))
            if not _same(source, name):  # GNU tar writes a file named twice as a link to itself
                _clear(name)
                os.link(source, name, follow_symlinks=False)
            return
        _clear(name)
        if entry.kind == FILE:
            self._make_file(entry, name)
        elif entry.kind == SYMLINK:
            os.symlink(entry.link, name)
            self._settle_node(entry, name)
        else:
            self._make_device(entry, name)

    def _make_directory(self, entry: Entry, name: bytes, path: bytes) -> None:
        if os.path.islink(name) and os.path.isdir(name):
            return
        if not os.path.isdir(name):
            _clear(name)
            os.mkdir(name, 0o700)
        self._remember(entry, path)

    def _remember(self, entry: Entry, path: bytes) -> None:
        found = os.stat(path)
        self._directories[path] = entry, found.st_dev, found.st_ino

    def _make_file(self, entry: Entry, name: bytes) -> None:
        fd = os.open(name, CREATE, 0o600)
        try:
            for offset, length in ((0, entry.size),) if entry.pieces is None else entry.pieces:
                os.lseek(fd, offset, os.SEEK_SET)
                self._write(fd, length)
            os.ftruncate(fd, entry.size)
            self._settle(fd, entry)
        finally:
            os.close(fd)

    def _write(self, fd: int, size: int) -> None:
        for piece in self._data(size):
            while (written := os.write(fd, piece)) < len(piece):
                piece = piece[written:]  # noqa: PLW2901  a disk that fills up takes a part first

    def _make_device(self, entry: Entry, name: bytes) -> None:
        if entry.kind == CHARACTER_DEVICE and entry.device == MARK:
            raise ValueError("a forged whiteout (character device 0, 0)")
        os.mknod(name, NODE_TYPES[entry.kind] | 0o600, entry.device)
        self._settle_node(entry, name)

    def _settle(self, fd: int, entry: Entry) -> None:
        """The order matters: a new owner takes set-id bits and file capabilities away, and everything changes the time."""
        os.fchown(fd, *self._owner_of(entry))
        os.fchmod(fd, entry.mode)
        if entry.xattrs:
            xattrs.restore(fd, entry.xattrs)
        os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))

    def _settle_node(self, entry: Entry, name: bytes) -> None:
        os.lchown(name, *self._owner_of(entry))
        if entry.kind != SYMLINK:
            os.chmod(name, entry.mode)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)

    def _owner_of(self, entry: Entry) -> Owner:
        return self._owner or (entry.uid, entry.gid)


def _clear(name: bytes) -> None:
    """Take away what is in the place of something new. A directory only when it is empty: no COPY is meant to delete a tree."""
    try:
        os.unlink(name)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        try:
            os.rmdir(name)
        except OSError as error:
            raise OSError(error.errno, "a directory that is not empty is in the way") from error


def _same(one: bytes, other: bytes) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.lstat(one), os.lstat(other))
    return False


def _components(path: bytes) -> list[bytes]:
    """The names a path goes through. Raises ValueError for what no path of a layer may have."""
    if b".." in path.split(b"/"):  # here, because who says it names the path
        raise ValueError('".." in the path')
    parts = components(path)
    if any(part.startswith(PREFIX) for part in parts):
        raise ValueError("a name that begins with .wh., which no layer can hold,")
    return parts
