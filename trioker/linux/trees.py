"""Walking directory trees that strangers filled: by descriptor, never through a symlink, however deep, with few descriptors.

The tools everybody has fail on such trees: recursion dies at a thousand levels, ``os.fwalk`` holds a descriptor per level, and paths
longer than 4,095 bytes cannot be opened at all. Here a Cursor holds one descriptor, and a walker is written as a plain recursive
generator that ``unroll`` runs without the interpreter's stack.
"""

import errno
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import GeneratorType
from typing import Any, NamedTuple, Self, TypeVar

__all__ = [
    "REMOVING",
    "Cursor",
    "Size",
    "attributes",
    "discard",
    "facts",
    "making",
    "measure",
    "names",
    "remove_tree",
    "status",
    "sweep",
    "unroll",
]

T = TypeVar("T")

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_OWN = ("user.", "security.capability", "system.posix_acl_")
"""Others are the host's (security.selinux) or the filesystem's (trusted.overlay.origin): they differ where nobody changed anything."""

REMOVING = "removing-"
"""Prefix of a tree on its way in or out: whoever lists its directory sees it whole or not at all, and ``sweep`` ends what was interrupted."""


class Size(NamedTuple):
    """Apparent bytes of the regular files of a tree (a hard link once), and its entries without the root."""

    bytes: int
    entries: int


class Cursor:
    """One open directory of a tree, moved a step at a time; holds one descriptor.

    A process may be changing the tree meanwhile: going up checks that ``..`` is the directory we came from, so a directory moved
    elsewhere never carries the cursor out of its tree.
    """

    def __init__(self, root: str | Path) -> None:
        self._root = os.fspath(root)
        self._trail: list[tuple[str, tuple[int, int]]] = []
        self.fd = os.open(self._root, _DIRECTORY)
        self._identity = _identity(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def enter(self, name: str) -> bool:
        """Go down into ``name``; False, and no move, where it is gone or no directory (any more)."""
        try:
            below = os.open(name, _DIRECTORY, dir_fd=self.fd)
        except (FileNotFoundError, NotADirectoryError):
            return False
        self._trail.append((name, self._identity))
        self._stand(below)
        return True

    def leave(self) -> bool:
        """Go up one level. False where that directory is gone: nothing is left to see there, the caller goes up once more."""
        _, identity = self._trail.pop()
        above = self._parent(identity)
        if above is None:
            return False
        self._stand(above)
        return True

    def _stand(self, fd: int) -> None:
        os.close(self.fd)
        self.fd = fd
        self._identity = _identity(fd)

    def _parent(self, identity: tuple[int, int]) -> int | None:
        with suppress(FileNotFoundError):  # the directory we stand in was removed: it has no parent
            above = os.open("..", _DIRECTORY, dir_fd=self.fd)
            if _identity(above) == identity:
                return above
            os.close(above)
        return self._from_root()

    def _from_root(self) -> int | None:
        fd = os.open(self._root, _DIRECTORY)
        for name, _ in self._trail:
            try:
                below = os.open(name, _DIRECTORY, dir_fd=fd)
            except (FileNotFoundError, NotADirectoryError):
                return None
            finally:
                os.close(fd)
            fd = below
        return fd


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def names(fd: int) -> list[str]:
    """The entries of a directory, in the order of their bytes (what strcmp says, and what Go's filepath.Walk shows)."""
    return sorted(os.listdir(fd), key=os.fsencode)


def status(fd: int, name: str) -> os.stat_result | None:
    """What ``name`` is, itself and not what it points to; None where it is not there."""
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def facts(found: os.stat_result) -> tuple[int, ...]:
    """What stat(2) tells of a file that differs only when somebody changed it; also the same for a true copy."""
    size = 0 if stat.S_ISDIR(found.st_mode) else found.st_size  # a directory's is the filesystem's own affair
    return found.st_mode, found.st_uid, found.st_gid, found.st_rdev, size, found.st_mtime_ns


def attributes(fd: int, name: str) -> dict[str, bytes]:
    """The extended attributes of ``name`` itself that are its own; none where it is gone, or on a filesystem that has none."""
    path = f"/proc/self/fd/{fd}/{name}"  # which follows no symlink at its end, and opens no device
    try:
        own = [each for each in os.listxattr(path, follow_symlinks=False) if each.startswith(_OWN)]
        return {each: os.getxattr(path, each, follow_symlinks=False) for each in own}
    except OSError:
        return {}


def unroll(walk: Generator[T | Generator[Any, None, None], None, None]) -> Iterator[T]:
    """Run a recursive generator on the heap: a generator it yields is run to its end in place, anything else is handed out."""
    stack: list[Generator[Any, None, None]] = [walk]
    while stack:
        for item in stack[-1]:
            if isinstance(item, GeneratorType):
                stack.append(item)
                break
            yield item
        else:
            stack.pop()


def measure(root: str | Path) -> Size:
    """The size of a tree that may be changing meanwhile."""
    size = entries = 0
    seen: set[tuple[int, int]] = set()
    with Cursor(root) as cursor:
        for found in unroll(_statuses(cursor)):
            entries += 1
            if stat.S_ISREG(found.st_mode) and (found.st_dev, found.st_ino) not in seen:
                size += found.st_size
                if found.st_nlink > 1:
                    seen.add((found.st_dev, found.st_ino))
    return Size(size, entries)


def _statuses(cursor: Cursor) -> Generator[os.stat_result | Generator[Any, None, None], None, None]:
    for name in os.listdir(cursor.fd):
        found = status(cursor.fd, name)
        if found is None:
            continue
        yield found
        if stat.S_ISDIR(found.st_mode) and cursor.enter(name):
            yield _statuses(cursor)
            if not cursor.leave():
                return


def remove_tree(path: str | Path) -> None:
    """Delete a tree nobody else works in; a path that is not there is no error."""
    try:
        cursor = Cursor(path)
    except FileNotFoundError:
        return
    with cursor:
        for _ in unroll(_empty(cursor)):
            pass
    os.rmdir(path)


def _empty(cursor: Cursor) -> Generator[Generator[Any, None, None], None, None]:
    with os.scandir(cursor.fd) as found:
        entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    for name, is_directory in entries:
        if not is_directory:
            os.unlink(name, dir_fd=cursor.fd)
            continue
        if not _rmdir(cursor.fd, name):
            cursor.enter(name)
            yield _empty(cursor)
            cursor.leave()
            os.rmdir(name, dir_fd=cursor.fd)


def _rmdir(fd: int, name: str) -> bool:
    """Remove an empty directory: one call, where opening, listing and leaving it would take ten. False where it is not empty."""
    try:
        os.rmdir(name, dir_fd=fd)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        return False
    return True


@contextmanager
def making(root: str | Path, name: str) -> Iterator[str]:
    """The path of a new directory, which is ``name`` in ``root`` once the body has ended well, and else removed.

    That holds after a power cut, too, for what the filesystem orders: directories and names (ext4, xfs, btrfs), not the contents of files.
    """
    path = os.path.join(root, REMOVING + name)
    os.mkdir(path, 0o700)
    try:
        yield path
        os.rename(path, os.path.join(root, name))
    except BaseException:
        remove_tree(path)
        raise


def discard(root: str | Path, name: str) -> None:
    """Remove the tree ``name`` in ``root``: renamed first, so that an interruption leaves what ``sweep`` knows. Repeatable."""
    leaving = os.path.join(root, REMOVING + name)
    with suppress(FileNotFoundError):
        os.rename(os.path.join(root, name), leaving)
    remove_tree(leaving)


def sweep(root: str | Path) -> None:
    """Finish the removals that were interrupted."""
    for name in os.listdir(root):
        if name.startswith(REMOVING):
            remove_tree(os.path.join(root, name))
