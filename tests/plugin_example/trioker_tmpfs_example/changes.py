"""What differs between two trees that strangers filled, told from their inodes first."""

import os
from collections.abc import Generator, Iterator
from typing import Any

from trioker.linux.differences import differs, rewritten
from trioker.linux.trees import Cursor, status, unroll
from trioker.storage.driver import Change, Kind

_Walk = Generator[Change | Generator[Any, None, None], None, None]


def compare(tree: str, parent: str | None = None) -> Iterator[Change]:
    """``tree`` may be changing meanwhile, ``parent`` is not; without one everything is added.

    A Cursor goes down and up by descriptor, one level at a time, so neither links nor depth can lead it astray; and a walker that yields
    itself for a directory is run by ``unroll``, without the interpreter's stack.
    """
    with Cursor(tree) as now:
        if parent is None:
            yield from unroll(_walk(now, None, ""))
            return
        with Cursor(parent) as before:
            yield from unroll(_walk(now, before, ""))


def _walk(now: Cursor, before: Cursor | None, path: str) -> _Walk:
    found = {*os.listdir(now.fd), *(os.listdir(before.fd) if before else ())}
    for name in sorted(found, key=os.fsencode):
        kind = _kind(now, before, name)
        if kind is not None:
            yield Change(f"{path}/{name}", kind)
        if kind is Kind.DELETED or not now.enter(name):
            continue
        inside = before if before and before.enter(name) else None
        yield _walk(now, inside, f"{path}/{name}")
        if inside:
            inside.leave()
        if not now.leave():  # the directory we came from is gone, and all in it
            return


def _kind(now: Cursor, before: Cursor | None, name: str) -> Kind | None:
    new, old = status(now.fd, name), status(before.fd, name) if before else None
    if new is None:
        return Kind.DELETED if old else None
    if old is None or before is None:
        return Kind.ADDED
    touched = new.st_ctime_ns != old.st_ctime_ns  # else its contents need not be read: no process can set that time
    changed = differs(now.fd, before.fd, name, old, new) or (touched and rewritten(now.fd, before.fd, name, new))
    return Kind.MODIFIED if changed else None
