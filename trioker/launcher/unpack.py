"""Write the entries of a hostile archive into the tree that is this process's root.

What keeps an entry inside is the root itself: the helper is chrooted, so an absolute link or a symlinked parent leads nowhere else, and
paths can be plain. What this file adds are the rules inside the tree: ``..`` is refused, the last component is never followed, a later entry
replaces an earlier one, and a directory gets its owner, mode and time when nothing will be made in it any more.

The current directory is always the directory of the entry at hand: one system call where it changes, and short names for all others.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

from trioker.launcher import xattrs
from trioker.launcher.below import Below, content
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
from trioker.launcher.whiteouts import LINKED, META, OPAQUE, PREFIX, Whiteouts, remove
from trioker.linux.syscalls import DISK_FULL

_SPECIAL_BITS = 0o7000

_NO_ROOM = f"there is room for ({os.strerror(errno.ENOSPC)})"
_UNCLEAN = (b"", b".", b"..")  # what stands behind the last slash where it is not the entry's own name

T = TypeVar("T")
Data = Callable[[int], Iterable[memoryview]]


def unpack(
    read: Read,
    whiteouts: Whiteouts,
    *,
    max_bytes: int,
    max_entries: int,
    room: int | None = None,
    below: Below | None = None,
    root: bytes = b"/",
) -> Held:
    """Unpack the archive ``read`` returns piece by piece into ``root``. Raises BadArchive, naming the entry and what is wrong.

    ``max_bytes`` bounds the apparent size of the files (holes cost nothing in the archive) and, as does ``room`` on the disk, the uncompressed
    archive. ``below`` is what the root will be shown over, if that is not in the root already. A root other than the process's own confines
    nothing: only for archives one trusts. The umask must be 0; leaves the current directory anywhere.
    """
    stream = Stream(read, room, _NO_ROOM, NoRoom) if room is not None and room < max_bytes else Stream(read, max_bytes)
    reader = TarReader(stream)
    tree = _Tree(root, whiteouts, reader.data, stream.spend, below)
    tally = Tally(max_bytes, max_entries)
    for entry in reader:
        tally.count(entry)
        try:
            tree.add(entry)
        except OSError as error:
            kind = NoRoom if error.errno in DISK_FULL else BadArchive
            raise kind(f"{error.strerror} in entry {shown(entry.name)}") from error
        except ValueError as error:
            raise BadArchive(f"{error} in entry {shown(entry.name)}") from error
    tree.finish()
    return tally.held()


class _Tree:
    """The tree being made."""

    def __init__(
        self, root: bytes, whiteouts: Whiteouts, data: Data, spend: Callable[[int], None], below: Below | None
    ) -> None:
        self._root = root
        self._spend = spend
        self._below = below
        self._whiteouts = whiteouts
        self._data = data
        self._ids = os.geteuid(), os.getegid()  # what a new file has without being told
        self._directories: dict[bytes, tuple[Entry, int, int]] = {}  # by path: the entry, and which inode it stands for
        self._linked = False  # whether there is a directory LINKED
        self._enter(b"")

    def add(self, entry: Entry) -> None:
        """Make one entry. Raises OSError, ValueError for a rule it breaks, BadArchive where its data ends."""
        parent, _, base = entry.name.rpartition(b"/")
        if base in _UNCLEAN or (PREFIX in entry.name and base != OPAQUE):
            parts = components(entry.name)
            if _is_bookkeeping(parts):
                if parts[:-1] == [LINKED] and entry.kind == FILE:
                    self._keep_linked(entry, parts[-1])
                return
            parent, base = b"/".join(parts[:-1]), parts[-1] if parts else b"."
        if parent != self._parent:
            self._enter(parent)
        if base.startswith(PREFIX):
            self._take_away(base)
        else:
            self._make(entry, base, self._prefix + base)

    def finish(self) -> None:
        """Remove what only links led to. Give the directories what making things in them would have spoilt, or passed on to new files."""
        if self._linked:
            remove(self._root + LINKED)
        for path, (entry, device, inode) in self._directories.items():
            try:
                fd = os.open(self._root + path, DIRECTORY_ITSELF)
            except (FileNotFoundError, NotADirectoryError):
                continue  # a later entry took its place
            try:
                found = os.fstat(fd)
                if (found.st_dev, found.st_ino) == (device, inode):
                    os.fchown(fd, entry.uid, entry.gid)
                    os.fchmod(fd, entry.mode)
                    _settle(fd, entry)
            finally:
                os.close(fd)

    def _enter(self, parent: bytes) -> None:
        """Make ``parent`` the current directory, with what is missing on the way as any mkdir -p would."""
        parts = components(parent)
        self._parent = parent
        self._prefix = b"".join(part + b"/" for part in parts)
        try:
            os.chdir(self._root + self._prefix)
        except (FileNotFoundError, NotADirectoryError):
            self._make_parents(parts)
        # From a directory of a lower layer (ours get such things last) new files may take a group, or an ACL that overrules their mode.
        self._inherits = bool(os.stat(b".").st_mode & stat.S_ISGID)
        self._disinherits = xattrs.has_default_acl(b".")

    def _make_parents(self, parts: Iterable[bytes]) -> None:
        os.chdir(self._root)
        path = b""
        for part in parts:
            path += part
            self._make_parent(part, path)
            os.chdir(part)
            path += b"/"

    def _make_parent(self, base: bytes, path: bytes) -> None:
        try:
            os.mkdir(base, 0o755)
        except FileExistsError:
            if not self._is_mark(os.lstat(base)):
                return
            os.unlink(base)
            os.mkdir(base, 0o755)
            self._whiteouts.made(base, path, directory=True)
        if xattrs.has_default_acl(base):
            xattrs.disinherit(base, 0o755)
        self._imitate(base, path)

    def _is_mark(self, found: os.stat_result) -> bool:
        return stat.S_ISCHR(found.st_mode) and self._whiteouts.forges(found.st_rdev)

    def _imitate(self, base: bytes, path: bytes) -> None:
        """Have a directory that no entry has described look like the one below: it would hide that one's owner, mode and time."""
        with self._opened_below(path) as found:
            if found and found[1].kind == DIRECTORY:
                self._remember(found[1], base, path)

    @contextmanager
    def _opened_below(self, path: bytes) -> Iterator[tuple[int, Entry] | None]:
        found = None if self._below is None or self._whiteouts.hides(path) else self._below.open(path)
        try:
            yield found
        finally:
            if found:
                os.close(found[0])

    def _keep_linked(self, entry: Entry, base: bytes) -> None:
        """A file that aufs has under no other name than those of hard links to it, which follow: it has its own until the end."""
        if not self._linked:
            self._linked = True
            with suppress(FileNotFoundError):
                remove(self._root + LINKED)
            os.mkdir(self._root + LINKED, 0o700)
        self._enter(LINKED)
        self._make_file(entry, base)

    def _take_away(self, base: bytes) -> None:
        if base == OPAQUE:
            self._whiteouts.hide_all(self._prefix[:-1])
            return
        hidden = base.removeprefix(PREFIX)
        if hidden in (b"", b".", b".."):
            raise ValueError("a whiteout of a parent directory")
        self._whiteouts.hide(hidden, self._prefix + hidden)

    def _make(self, entry: Entry, base: bytes, path: bytes) -> None:
        kind = entry.kind
        if kind == DIRECTORY:
            self._make_directory(entry, base, path)
        elif base == b".":
            raise ValueError("the root can only be a directory")
        elif kind == FILE:
            self._make_file(entry, base)
        elif kind == SYMLINK:
            _replacing(base, lambda: os.symlink(entry.link, base))
            self._settle_node(entry, base)
        elif kind == HARD_LINK:
            self._make_link(b"/".join(components(entry.link)), base)
        else:
            self._make_device(entry, base)
        self._whiteouts.made(base, path, directory=kind == DIRECTORY)

    def _make_file(self, entry: Entry, base: bytes, data: Data | None = None) -> None:
        mode = entry.mode & 0o777
        try:
            fd = os.open(base, CREATE, mode)
        except FileExistsError:
            remove(base)
            fd = os.open(base, CREATE, mode)
        try:
            data = data or self._data
            if entry.pieces is None:
                _write(fd, data(entry.size))
            else:
                for offset, length in entry.pieces:
                    os.lseek(fd, offset, os.SEEK_SET)
                    _write(fd, data(length))
                os.ftruncate(fd, entry.size)
            if self._differs(entry):
                os.fchown(fd, entry.uid, entry.gid)
            if self._disinherits:
                xattrs.disinherit(fd, mode)
            if entry.mode & _SPECIAL_BITS:  # last: chown takes them away
                os.fchmod(fd, entry.mode)
            _settle(fd, entry)
        finally:
            os.close(fd)

    def _make_directory(self, entry: Entry, base: bytes, path: bytes) -> None:
        try:
            os.mkdir(base, 0o700)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(base).st_mode):
                os.unlink(base)
                os.mkdir(base, 0o700)
        if self._disinherits:
            xattrs.disinherit(base, 0o700)
        self._remember(entry, base, path)

    def _remember(self, entry: Entry, base: bytes, path: bytes) -> None:
        found = os.lstat(base)
        self._directories[path] = entry, found.st_dev, found.st_ino

    def _make_link(self, link: bytes, base: bytes) -> None:
        target = self._root + link
        try:
            found = os.lstat(target)
            if self._is_mark(found):
                found = self._bring_up(link)
        except (FileNotFoundError, NotADirectoryError):
            found = self._bring_up(link)
        with suppress(FileNotFoundError):
            if os.path.samestat(found, os.lstat(base)):
                return  # GNU tar writes a file named twice as a link to itself
        _replacing(base, lambda: os.link(target, base, follow_symlinks=False))

    def _bring_up(self, path: bytes) -> os.stat_result:
        """Copy a file of the layers below to this one, as overlayfs does for whoever links to it. Raises FileNotFoundError."""
        here = self._parent
        with self._opened_below(path) as found:
            if not found or found[1].kind != FILE:
                raise FileNotFoundError(errno.ENOENT, f"No such file to link to: {shown(path)}")
            fd, entry = found
            # A link is a few bytes, and whoever takes away what was brought up may have it brought up again.
            self._spend(entry.size if entry.pieces is None else sum(length for _, length in entry.pieces))
            parent, _, base = path.rpartition(b"/")
            self._enter(parent)
            self._make_file(entry, base, content(fd, entry))
        made = os.lstat(base)
        self._enter(here)
        return made

    def _make_device(self, entry: Entry, base: bytes) -> None:
        if entry.kind == CHARACTER_DEVICE and self._whiteouts.forges(entry.device):
            raise ValueError("a forged whiteout (character device 0, 0)")
        _replacing(base, lambda: os.mknod(base, NODE_TYPES[entry.kind] | entry.mode & 0o777, entry.device))
        if self._disinherits:
            xattrs.disinherit(base, entry.mode & 0o777)
        self._settle_node(entry, base)
        if entry.mode & _SPECIAL_BITS:
            os.chmod(base, entry.mode)
        if entry.xattrs:
            xattrs.restore(base, entry.xattrs)

    def _settle_node(self, entry: Entry, base: bytes) -> None:
        if self._differs(entry):
            os.lchown(base, entry.uid, entry.gid)
        os.utime(base, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)

    def _differs(self, entry: Entry) -> bool:
        return self._inherits or (entry.uid, entry.gid) != self._ids


def _is_bookkeeping(parts: Sequence[bytes]) -> bool:
    """Whether a path is aufs's own business, which a mark of opacity is only where it stands in such a place."""
    return any(part.startswith(META) for part in (parts[:-1] if parts[-1:] == [OPAQUE] else parts))


def _write(fd: int, pieces: Iterable[memoryview]) -> None:
    for piece in pieces:
        while (written := os.write(fd, piece)) < len(piece):
            piece = piece[written:]  # noqa: PLW2901  a disk that fills up takes a part first


def _settle(fd: int, entry: Entry) -> None:
    """What comes last: a write or a new owner takes file capabilities away, and everything changes the time."""
    if entry.xattrs:
        xattrs.restore(fd, entry.xattrs)
    os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))


def _replacing(base: bytes, make: Callable[[], T]) -> T:
    """Make what may only be made where nothing is; what is there goes, a directory with all that is in it."""
    try:
        return make()
    except FileExistsError:
        remove(base)
        return make()
