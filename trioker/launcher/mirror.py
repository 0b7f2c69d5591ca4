"""Make one tree equal to another by changing no more than what differs, so that a driver which shares a layer with its parent goes on sharing.

Two walks over both trees. The first only looks: which files differ, and where names that are one file in one tree are not in the other. Those
files are made anew under all of their names, since a hard link cannot be added to a file that an overlay still shows from a lower layer: the link
would be to a copy, and the file's other names would stay behind. The second walk makes what the first one found.
"""

import os
import stat
from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import count, zip_longest
from typing import NamedTuple, Self

from trioker.launcher.faithful import Identity, about, attributes, blocks, copy, facts, identity, imitate, target
from trioker.launcher.meter import Meter
from trioker.launcher.pack import Walk
from trioker.linux.trees import Cursor, names, remove_tree, status, unroll


class Named(NamedTuple):
    """One name of a file that has several, in the old tree or in the new."""

    old: Identity
    new: Identity | None
    """None where the new tree has no such file there yet, or another."""
    path: str


def mirror(old_root: str, new_root: str, touched: Collection[str], meter: Meter, *, thorough: bool = True) -> None:
    """Make the tree at ``new_root`` equal to that at ``old_root``; nobody changes either. Moves the working directory.

    What is at the paths ``touched`` is made anew, or for a directory written to, though it may be equal: so it is known as changed afterwards.
    Elsewhere contents are compared only where it is to be ``thorough``: else files of one size and time are taken for equal.
    Raises OSError naming the entry that could not be made.
    """
    with Cursor(old_root) as old, Cursor(new_root) as new:
        stale = _stale(old, new, _Looker(touched, meter, thorough=thorough))
        with _Stash(new.fd, {*os.listdir(old.fd), *os.listdir(new.fd)}) as stash:
            for _ in unroll(_Maker(old, new, stale | set(touched), stash, meter).make("")):
                pass
        _settle(old.fd, new.fd, touched=False)  # the stash has changed its time


def _stale(old: Cursor, new: Cursor, looker: "_Looker") -> set[str]:
    """The paths at which a file, not a directory, must be made anew."""
    for _ in unroll(looker.look(old, new, "")):
        pass
    return looker.stale | _torn(looker.named)


def _torn(named: Sequence[Named]) -> set[str]:
    """Names that are one file in one of the trees only; each of them stands for all names of its file in the old tree."""
    of_old: defaultdict[Identity, set[Identity | None]] = defaultdict(set)
    of_new: defaultdict[Identity | None, set[Identity]] = defaultdict(set)
    for each in named:
        of_old[each.old].add(each.new)
        of_new[each.new].add(each.old)
    whole = {
        old for old, news in of_old.items() if None not in news and len(news) == 1 == len(of_new[next(iter(news))])
    }
    return {each.path for each in named if each.old not in whole}


class _Looker:
    """The first walk."""

    def __init__(self, touched: Collection[str], meter: Meter, *, thorough: bool) -> None:
        self.stale: set[str] = set()
        self.named: list[Named] = []
        self._touched = touched
        self._meter = meter
        self._thorough = thorough

    def look(self, old: Cursor, new: Cursor | None, path: str) -> Walk:
        """A directory and all below it; ``new`` is None where the new tree has no such directory."""
        for name in names(old.fd):
            below = f"{path}/{name}"
            if old.enter(name):
                inside = new if new and new.enter(name) else None
                yield self.look(old, inside, below)
                old.leave()
                if inside:
                    inside.leave()
                continue
            with about(below):
                self._look_at(old.fd, new.fd if new else None, name, below)

    def _look_at(self, old: int, new: int | None, name: str, path: str) -> None:
        self._meter.entry()
        found = os.stat(name, dir_fd=old, follow_symlinks=False)
        there = None if new is None else status(new, name)
        if new is not None and there and (path in self._touched or not self._same(old, new, name, found, there)):
            self.stale.add(path)
            there = None
        if found.st_nlink > 1 or (there and there.st_nlink > 1):
            self.named.append(Named(identity(found), identity(there) if there else None, path))

    def _same(self, old: int, new: int, name: str, found: os.stat_result, there: os.stat_result) -> bool:
        """Whether two files are equal, if it is to be thorough to the last byte."""
        if facts(found) != facts(there) or target(old, name, found) != target(new, name, there):
            return False
        if attributes(old, name) != attributes(new, name):
            return False
        if not self._thorough or not stat.S_ISREG(found.st_mode):
            return True
        pairs = zip_longest(blocks(old, name, self._meter), blocks(new, name, self._meter))
        return all(one == other for one, other in pairs)


class _Maker:
    """The second walk; the cursors stand in the same directory of both trees."""

    def __init__(self, old: Cursor, new: Cursor, again: Collection[str], stash: "_Stash", meter: Meter) -> None:
        self._old, self._new = old, new
        self._again = again
        self._stash = stash
        self._meter = meter

    def make(self, path: str) -> Walk:
        """A directory and all below it."""
        wanted = names(self._old.fd)
        for name in {*os.listdir(self._new.fd)}.difference(wanted, [self._stash.name]):
            with about(f"{path}/{name}"):
                _remove(self._new.fd, name)
        for name in wanted:
            below = f"{path}/{name}"
            if not self._old.enter(name):
                with about(below):
                    self._make_file(name, below)
                continue
            with about(below):
                self._enter_new(name)
            yield self.make(below)
            with about(below):
                _settle(self._old.fd, self._new.fd, touched=below in self._again)
            self._old.leave()
            self._new.leave()

    def _enter_new(self, name: str) -> None:
        """Go into a directory that is made where it is missing."""
        if self._new.enter(name):
            return
        if status(self._new.fd, name):
            os.unlink(name, dir_fd=self._new.fd)
        os.mkdir(name, 0o700, dir_fd=self._new.fd)
        self._new.enter(name)

    def _make_file(self, name: str, path: str) -> None:
        old, new = self._old.fd, self._new.fd
        if status(new, name):
            if path not in self._again:
                return
            _remove(new, name)
        found = os.stat(name, dir_fd=old, follow_symlinks=False)
        if found.st_nlink > 1 and self._stash.link(found, new, name):
            return
        copy(old, new, name, found, self._meter)
        if found.st_nlink > 1:
            self._stash.keep(found, new, name)


class _Stash:
    """A directory in the new tree's root where a file with several names gets one more, by which its others find it however long their paths are.

    Made when it is needed, removed at the end.
    """

    def __init__(self, root: int, taken: Collection[str]) -> None:
        self.name = next(name for name in map(".trioker-{}".format, count()) if name not in taken)
        self._root = root
        self._fd = -1

    def __enter__(self) -> Self:
        self._root = os.dup(self._root)  # the cursor's own changes as it moves
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            os.fchdir(self._root)
            remove_tree(self.name)
        os.close(self._root)

    def link(self, found: os.stat_result, new: int, name: str) -> bool:
        """Make ``name`` a further name of that file; False where it has none yet."""
        key = "{}-{}".format(*identity(found))
        if self._fd < 0 or status(self._fd, key) is None:
            return False
        os.link(key, name, src_dir_fd=self._fd, dst_dir_fd=new, follow_symlinks=False)
        return True

    def keep(self, found: os.stat_result, new: int, name: str) -> None:
        """Remember that file by the name it has got."""
        if self._fd < 0:
            os.mkdir(self.name, 0o700, dir_fd=self._root)
            self._fd = os.open(self.name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._root)
        key = "{}-{}".format(*identity(found))
        os.link(name, key, src_dir_fd=new, dst_dir_fd=self._fd, follow_symlinks=False)


def _settle(old: int, new: int, *, touched: bool) -> None:
    """Give an open directory what it is to have, if it has not got it."""
    found = os.fstat(old)
    if touched or facts(found) != facts(os.fstat(new)) or attributes(old, ".") != attributes(new, "."):
        imitate(old, new, ".", found)


def _remove(directory: int, name: str) -> None:
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if stat.S_ISDIR(found.st_mode):
        os.fchdir(directory)
        remove_tree(name)
    else:
        os.unlink(name, dir_fd=directory)
