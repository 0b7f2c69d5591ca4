"""What differs between a copy and its original, told from their inodes; contents are read only of what was touched and looks the same."""

import os
import stat
from collections.abc import Generator, Iterator
from typing import Any

from trioker.linux.differences import differs, rewritten
from trioker.linux.trees import Cursor, facts, names, status, unroll
from trioker.storage.driver import Change, Kind

_Walk = Generator[Change | Generator[Any, None, None], None, None]


def changes(tree: str, parent: str, copied: int) -> Iterator[Change]:
    """Compare ``tree``, which may be changing meanwhile, with ``parent``, which is not.

    ``copied`` is when the copy was complete, in nanoseconds. What was touched since is looked at more closely: no process can set the time of
    an inode's last change.
    """
    with Cursor(tree) as now, Cursor(parent) as before:
        yield from unroll(_compare(now, before, "", copied))


def everything(tree: str) -> Iterator[Change]:
    """Every entry of ``tree``, as added."""
    with Cursor(tree) as now:
        yield from unroll(_added(now, ""))


def _compare(now: Cursor, before: Cursor, path: str, copied: int) -> _Walk:
    for name in sorted({*os.listdir(now.fd), *os.listdir(before.fd)}, key=os.fsencode):
        old, new = status(before.fd, name), status(now.fd, name)
        kind = _classify(now.fd, before.fd, name, old, new, copied=copied)
        if kind is not None:
            yield Change(f"{path}/{name}", kind)
        if new is None or not stat.S_ISDIR(new.st_mode) or not now.enter(name):
            continue
        if before.enter(name):
            yield _compare(now, before, f"{path}/{name}", copied)
            before.leave()
        else:
            yield _added(now, f"{path}/{name}")
        if not now.leave():
            return


def _added(now: Cursor, path: str) -> _Walk:
    for name in names(now.fd):
        yield Change(f"{path}/{name}", Kind.ADDED)
        if now.enter(name):
            yield _added(now, f"{path}/{name}")
            if not now.leave():
                return


def _classify(
    now: int, before: int, name: str, old: os.stat_result | None, new: os.stat_result | None, *, copied: int
) -> Kind | None:
    if new is None:
        return Kind.DELETED if old else None
    if old is None:
        return Kind.ADDED
    if facts(old) != facts(new):
        return Kind.MODIFIED
    touched = new.st_ctime_ns >= copied  # what was touched at that very moment may be the copying's
    changed = touched and (differs(now, before, name, old, new) or rewritten(now, before, name, new))
    return Kind.MODIFIED if changed else None
