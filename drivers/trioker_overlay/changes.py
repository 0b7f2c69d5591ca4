"""What an overlay's top layer changes, read from that layer alone (overlayfs.rst, "whiteouts and opaque directories").

Every cursor below stands in the same directory of its own layer. ``lowers`` are those layers, topmost first, whose entries of that
directory show through in the parent.
"""

import os
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from trioker.linux.differences import differs, rewritten
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
        kind = _classify(upper, lowers, name, hidden=hidden)
        if kind is not None:
            yield Change(f"{path}/{name}", kind)
        if not upper.enter(name):
            continue
        inside = _enter(lowers, name)
        yield _compare(upper, inside, f"{path}/{name}", hidden=hidden or _is_opaque(upper.fd))
        for lower in inside:
            lower.leave()
        if not upper.leave():
            return


def _listing(upper: Cursor, lowers: Sequence[Cursor]) -> list[str]:
    if not lowers:
        return names(upper.fd)
    found = {name for cursor in (upper, *lowers) for name in os.listdir(cursor.fd)}
    return sorted(found, key=os.fsencode)


def _classify(upper: Cursor, lowers: Sequence[Cursor], name: str, *, hidden: bool) -> Kind | None:
    top, below = status(upper.fd, name), _showing(lowers, name)
    if top is None or _is_whiteout(top):
        gone = below is not None and (hidden or top is not None)  # else it vanished while we looked
        return Kind.DELETED if gone else None
    if below is None:
        return Kind.ADDED
    place, old = below
    changed = differs(upper.fd, place, name, old, top) or rewritten(upper.fd, place, name, top)
    return Kind.MODIFIED if changed else None  # copied up to be opened or touched, or for what is inside


def _showing(lowers: Sequence[Cursor], name: str) -> tuple[int, os.stat_result] | None:
    """The directory whose entry of that name shows in the parent, and the entry; None where it has none."""
    for lower in lowers:
        found = status(lower.fd, name)
        if found is not None:
            return None if _is_whiteout(found) else (lower.fd, found)
    return None


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
