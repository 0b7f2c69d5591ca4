"""Comparing a snapshot with its source, told by a guide where to look."""

import os
import stat
from collections.abc import Generator, Iterable, Iterator
from typing import Any, NamedTuple

from trioker.linux.btrfs import ROOT_DIRECTORY
from trioker.linux.differences import differs, rewritten
from trioker.linux.trees import Cursor, names, status, unroll
from trioker.storage.driver import Change, Kind, Usage
from trioker_btrfs.guide import Guide


class Difference(NamedTuple):
    """A change and what is there now."""

    change: Change
    found: os.stat_result | None
    """None for what was deleted."""


_Walk = Generator[Difference | Generator[Any, None, None], None, None]


def compare(tree: str, parent: str | None, guide: Guide | None, *, read: bool = True) -> Iterator[Difference]:
    """Compare ``tree``, which may be changing meanwhile, with ``parent``, which is not; without one, everything is added.

    Without a guide, and inside subvolumes and directories that are not the parent's own, every entry is looked at. With ``read``, files that
    were touched and look the same are read; without, they count as modified.
    """
    with Cursor(tree) as now:
        if parent is None:
            yield from unroll(_added(now, ""))
            return
        with Cursor(parent) as before:
            yield from unroll(_compare(now, before, "", guide, read=read))


def measure(differences: Iterable[Difference]) -> Usage:
    """Apparent bytes of the regular files among them, a hard link once, and how many there are."""
    size = entries = 0
    seen: set[tuple[int, int]] = set()
    for _, found in differences:
        entries += 1
        if found and stat.S_ISREG(found.st_mode) and (found.st_dev, found.st_ino) not in seen:
            seen.add((found.st_dev, found.st_ino))
            size += found.st_size
    return Usage(size, entries)


def _compare(now: Cursor, before: Cursor, path: str, guide: Guide | None, *, read: bool) -> _Walk:
    for name in sorted(_suspects(now.fd, before.fd, guide), key=os.fsencode):
        old, new = status(before.fd, name), status(now.fd, name)
        kind = _classify(now.fd, before.fd, name, old, new, read=read)
        if kind is not None:
            yield Difference(Change(f"{path}/{name}", kind), new)
        if new is None or not now.enter(name):
            continue
        if old and before.enter(name):
            same = old.st_ino == new.st_ino != ROOT_DIRECTORY
            yield _compare(now, before, f"{path}/{name}", guide if same else None, read=read)
            before.leave()
        else:
            yield _added(now, f"{path}/{name}")
        if not now.leave():
            return


def _suspects(now: int, before: int, guide: Guide | None) -> Iterable[str]:
    """The entries of a directory that may differ; with a guide it is the same inode on both sides."""
    if guide is None:
        return {*os.listdir(now), *os.listdir(before)}
    inode = os.fstat(now).st_ino
    inside = guide.inside.get(inode, frozenset())
    return inside | {name for name, _ in _inodes(now) ^ _inodes(before)} if inode in guide.changed else inside


def _inodes(fd: int) -> set[tuple[str, int]]:
    with os.scandir(fd) as entries:
        return {(entry.name, entry.inode()) for entry in entries}


def _added(now: Cursor, path: str) -> _Walk:
    for name in names(now.fd):
        found = status(now.fd, name)
        if found is None:
            continue
        yield Difference(Change(f"{path}/{name}", Kind.ADDED), found)
        if stat.S_ISDIR(found.st_mode) and now.enter(name):
            yield _added(now, f"{path}/{name}")
            if not now.leave():
                return


def _classify(
    now: int, before: int, name: str, old: os.stat_result | None, new: os.stat_result | None, *, read: bool
) -> Kind | None:
    if new is None:
        return Kind.DELETED if old else None
    if old is None:
        return Kind.ADDED
    touched = stat.S_ISREG(new.st_mode) and _may_be_rewritten(old, new)
    changed = differs(now, before, name, old, new) or (touched and (not read or rewritten(now, before, name, new)))
    return Kind.MODIFIED if changed else None


def _may_be_rewritten(old: os.stat_result, new: os.stat_result) -> bool:
    """A snapshot keeps the numbers of inodes, and the time of the last change, which no process can set.

    Two changes within one tick of the kernel's clock have the same.
    """
    return old.st_ino != new.st_ino or old.st_ctime_ns != new.st_ctime_ns
