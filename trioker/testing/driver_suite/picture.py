"""A tree as a walk sees it, and what differs between two of them: the yardstick for ``changes``."""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from trioker.storage.driver import Change, Kind


class Facts(NamedTuple):
    """What a walk can tell of one entry."""

    mode: int
    owner: tuple[int, int]
    device: int
    mtime_ns: int
    content: str
    """A digest of a regular file's, the target of a link, else ""."""

    @property
    def is_directory(self) -> bool:
        """Whether entries can lie below it."""
        return stat.S_ISDIR(self.mode)


Picture = Mapping[str, Facts]
"""By absolute path in the tree; without the root."""


def picture(root: Path) -> Picture:
    """Walk a tree that stands still."""
    return dict(_walk(os.fspath(root), ""))


def _walk(root: str, below: str) -> Iterator[tuple[str, Facts]]:
    for name in os.listdir(root + below):
        path = f"{below}/{name}"
        facts = _facts(root + path)
        yield path, facts
        if facts.is_directory:
            yield from _walk(root, path)


def _facts(path: str) -> Facts:
    found = os.lstat(path)
    content = ""
    if stat.S_ISREG(found.st_mode):
        content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    elif stat.S_ISLNK(found.st_mode):
        content = os.readlink(path)
    return Facts(found.st_mode, (found.st_uid, found.st_gid), found.st_rdev, found.st_mtime_ns, content)


def difference(old: Picture, new: Picture) -> list[Change]:
    """What ``changes`` has to say at least: in its order, nothing below what was deleted or is no directory any more."""
    found = [Change(path, _kind(path, old, new)) for path in {*old, *new} if old.get(path) != new.get(path)]
    return sorted((each for each in found if _is_told(each, new)), key=walk_order)


def _kind(path: str, old: Picture, new: Picture) -> Kind:
    if path not in new:
        return Kind.DELETED
    return Kind.MODIFIED if path in old else Kind.ADDED


def _is_told(change: Change, new: Picture) -> bool:
    above = os.path.dirname(change.path)
    return above == "/" or (above in new and new[above].is_directory)


def walk_order(change: Change) -> list[bytes]:
    """A sort key: a directory before its entries, entries by their bytes."""
    return os.fsencode(change.path).split(b"/")
