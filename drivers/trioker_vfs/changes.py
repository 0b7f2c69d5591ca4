"""What differs between two trees, told from their inodes alone."""

import os
import stat
from collections.abc import Generator, Iterator
from typing import Any

from trioker.linux.trees import Cursor, names, status, unroll
from trioker.storage.driver import Change, Kind

_Walk = Generator[Change | Generator[Any, None, None], None, None]


def changes(tree: str, parent: str) -> Iterator[Change]:
    """Compare ``tree``, which may be changing meanwhile, with ``parent``, which is not."""
    with Cursor(tree) as now, Cursor(parent) as before:
        yield from unroll(_compare(now, before, ""))


def everything(tree: str) -> Iterator[Change]:
    """Every entry of ``tree``, as added."""
    with Cursor(tree) as now:
        yield from unroll(_added(now, ""))


def _compare(now: Cursor, before: Cursor, path: str) -> _Walk:
    for name in sorted({*os.listdir(now.fd), *os.listdir(before.fd)}, key=os.fsencode):
        kind = _classify(now, before, name)
        if kind is not None:
            yield Change(f"{path}/{name}", kind)
        if kind is Kind.DELETED or not now.enter(name):
            continue
        if before.enter(name):
            yield _compare(now, before, f"{path}/{name}")
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


def _classify(now: Cursor, before: Cursor, name: str) -> Kind | None:
    old, new = status(before.fd, name), status(now.fd, name)
    if new is None:
        return Kind.DELETED if old else None
    if old is None:
        return Kind.ADDED
    same = _facts(old) == _facts(new) and _target(before.fd, name, old) == _target(now.fd, name, new)
    return None if same else Kind.MODIFIED


def _facts(found: os.stat_result) -> tuple[int, ...]:
    size = 0 if stat.S_ISDIR(found.st_mode) else found.st_size  # a directory's is the filesystem's own affair
    return found.st_mode, found.st_uid, found.st_gid, found.st_rdev, size, found.st_mtime_ns


def _target(fd: int, name: str, found: os.stat_result) -> str:
    if not stat.S_ISLNK(found.st_mode):
        return ""
    try:
        return os.readlink(name, dir_fd=fd)
    except OSError:  # replaced since
        return ""
