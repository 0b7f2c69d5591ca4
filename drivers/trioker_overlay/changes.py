"""What an overlay's top layer changes, read from that layer alone (overlayfs.rst, "whiteouts and opaque directories").

Every cursor below stands in the same directory of its own layer. ``lowers`` are those layers, topmost first, whose entries of that
directory show through in the parent.
"""

import os
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from trioker.linux.trees import Cursor, names, status, unroll
from trioker.storage.driver import Change, Kind

_OPAQUE = "trusted.overlay.opaque"

_Walk = Generator[Change | Generator[Any, None, None], None, None]


def changes(upper: str, lowers: Sequence[str]) -> Iterator[Change]:
    """Compare the layer ``upper`` with the tree that ``lowers`` make; the layer may be changing meanwhile.

    A directory that was removed and made anew hides its old entries: those that did not come back are listed as deleted.
    """
    with ExitStack() as stack:
        below = [stack.enter_context(Cursor(path)) for path in lowers]
        yield from unroll(_compare(stack.enter_context(Cursor(upper)), below, "", hidden=False))


def _compare(upper: Cursor, lowers: Sequence[Cursor], path: str, *, hidden: bool) -> _Walk:
    """``hidden`` where an opaque mark keeps the lower layers from showing here."""
    for name in _listing(upper, lowers if hidden else []):
        change = _classify(upper, lowers, name, f"{path}/{name}", hidden=hidden)
        if change is None:
            continue
        yield change
        if change.kind is Kind.DELETED or not upper.enter(name):
            continue
        inside = _enter(lowers, name)
        yield _compare(upper, inside, change.path, hidden=hidden or _is_opaque(upper.fd))
        for lower in inside:
            lower.leave()
        if not upper.leave():
            return


def _listing(upper: Cursor, lowers: Sequence[Cursor]) -> list[str]:
    if not lowers:
        return names(upper.fd)
    found = {name for cursor in (upper, *lowers) for name in os.listdir(cursor.fd)}
    return sorted(found, key=os.fsencode)


def _classify(upper: Cursor, lowers: Sequence[Cursor], name: str, path: str, *, hidden: bool) -> Change | None:
    top = status(upper.fd, name)
    existed = _shows(lowers, name)
    if top is None or _is_whiteout(top):
        gone = existed and (hidden or top is not None)  # else it vanished while we looked
        return Change(path, Kind.DELETED) if gone else None
    return Change(path, Kind.MODIFIED if existed else Kind.ADDED)


def _shows(lowers: Sequence[Cursor], name: str) -> bool:
    for lower in lowers:
        found = status(lower.fd, name)
        if found is not None:
            return not _is_whiteout(found)
    return False


def _enter(lowers: Sequence[Cursor], name: str) -> list[Cursor]:
    """Move those into ``name`` whose directory shows through: down to the first that is opaque, or to anything not a directory."""
    inside = []
    for lower in lowers:
        found = status(lower.fd, name)
        if found is None:
            continue
        if not stat.S_ISDIR(found.st_mode) or not lower.enter(name):
            break
        inside.append(lower)
        if _is_opaque(lower.fd):
            break
    return inside


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _is_opaque(fd: int) -> bool:
    try:
        return os.getxattr(fd, _OPAQUE) == b"y"
    except OSError:  # no such mark
        return False
