"""Whether a copied tree is equal to its model, whatever keeps them: both are walked side by side.

Compared is of each entry, in the order of a walk by rising names: its path, type, mode, owner, device, size, time of change in
nanoseconds, extended attributes, and where a symbolic link leads; of a regular file also the digest of its content, and of a file with several
names the first of them. Not holes, inodes, nor the times of access: they are the filesystem's own.

A file's content is not read where it is known to be equal: where in both trees the file is the very one that the tree below it has at the same
path, and the trees below were compared before. So a layer costs what it holds and a look at each entry, not the size of all below it.
"""

import hashlib
import os
import stat
from collections.abc import Collection
from contextlib import ExitStack
from typing import NamedTuple

from trioker.launcher.faithful import Identity, about, attributes, blocks, facts, identity, target
from trioker.launcher.meter import Meter
from trioker.launcher.pack import Walk
from trioker.launcher.tar_header import shown
from trioker.linux.trees import Cursor, names, status, unroll


class Known(NamedTuple):
    """What is known beforehand."""

    since: int = 0
    """When the copy was begun, in nanoseconds of the clock that the kernel stamps inodes with. A file changed then or later is read: whoever made
    the copy may have written into one that is the tree's below, too."""
    touched: Collection[str] = ()
    """Paths that are read in any case."""


class _Different(Exception):
    """The text is the path."""


class _Side:
    """A tree, and perhaps the one below it, at one place of a walk."""

    def __init__(self, tree: Cursor, below: Cursor | None, links: dict[Identity, str]) -> None:
        self.tree = tree
        self._below = below
        self._links = links

    def enter(self, name: str) -> "_Side | None":
        """The side in a directory; None where there is none."""
        if not self.tree.enter(name):
            return None
        return _Side(self.tree, self._below if self._below and self._below.enter(name) else None, self._links)

    def leave(self) -> None:
        """Go up again, both."""
        self.tree.leave()
        if self._below:
            self._below.leave()

    def line(self, name: str, path: str, found: os.stat_result) -> tuple[object, ...]:
        """All that is compared of an entry but a file's content; ends with the first name of a file that was met before."""
        fd, first = self.tree.fd, path
        if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
            first = self._links.setdefault(identity(found), path)
        return *facts(found), attributes(fd, name), target(fd, name, found), "" if first == path else first

    def is_from_below(self, name: str, found: os.stat_result) -> bool:
        """Whether a file is the very one of the tree below, untouched.

        An overlay shows a copy under the number of its original, so the time of the last change, which no process can set, has a say.
        """
        model = status(self._below.fd, name) if self._below else None
        return model is not None and _birth(model) == _birth(found)

    def digest(self, name: str, meter: Meter) -> str:
        """That of a file's content."""
        found = hashlib.sha256()
        for block in blocks(self.tree.fd, name, meter):
            found.update(block)
        return found.hexdigest()


class _Comparer:
    def __init__(self, known: Known, meter: Meter) -> None:
        self._known = known
        self._meter = meter

    def walk(self, old: _Side, new: _Side, path: str) -> Walk:
        """A directory and all below it."""
        with about(path or "/"):
            self._compare(old, new, ".", path)
        wanted, there = names(old.tree.fd), names(new.tree.fd)
        if wanted != there:
            raise _Different(f"{path}/{min({*wanted} ^ {*there}, key=os.fsencode)}")
        for name in wanted:
            below = f"{path}/{name}"
            inside = old.enter(name)
            if not inside:
                with about(below):
                    self._compare(old, new, name, below)
                continue
            copied = new.enter(name)
            if not copied:
                raise _Different(below)
            yield self.walk(inside, copied, below)
            inside.leave()
            copied.leave()

    def _compare(self, old: _Side, new: _Side, name: str, path: str) -> None:
        self._meter.entry()
        found = os.stat(name, dir_fd=old.tree.fd, follow_symlinks=False)
        copied = os.stat(name, dir_fd=new.tree.fd, follow_symlinks=False)
        line = old.line(name, path, found)
        if line != new.line(name, path, copied):
            raise _Different(path or "/")
        if stat.S_ISREG(found.st_mode) and not line[-1]:
            known = copied.st_ctime_ns < self._known.since and path not in self._known.touched
            known = known and old.is_from_below(name, found) and new.is_from_below(name, copied)
            if not known and old.digest(name, self._meter) != new.digest(name, self._meter):
                raise _Different(path)


def compare(old: tuple[str, str], new: tuple[str, str], known: Known, meter: Meter) -> str:
    """Compare two trees, which nobody changes; the path of the first entry that is not equal, "" where all are.

    Each tree is told by its root and that of the tree below it, "" for none. Raises OSError naming the entry that cannot be read. Moves the
    working directory.
    """
    comparer = _Comparer(known, meter)
    with ExitStack() as stack:
        try:
            for _ in unroll(comparer.walk(_open(stack, *old), _open(stack, *new), "")):
                pass
        except _Different as error:
            return shown(os.fsencode(str(error)))
    return ""


def _open(stack: ExitStack, tree: str, below: str) -> _Side:
    return _Side(stack.enter_context(Cursor(tree)), stack.enter_context(Cursor(below)) if below else None, {})


def _birth(found: os.stat_result) -> tuple[int, ...]:
    """Another for whatever was made anew or written to."""
    return found.st_ino, found.st_ctime_ns, found.st_mtime_ns, found.st_size
