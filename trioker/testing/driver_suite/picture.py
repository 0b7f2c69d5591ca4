"""A tree as a walk sees it, and what differs between two of them: the yardstick for ``changes``."""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from trioker.storage.changes import with_parents
from trioker.storage.driver import Change, Kind


class Facts(NamedTuple):
    """What a walk can tell of one entry."""

    mode: int
    owner: tuple[int, int]
    device: int
    mtime_ns: int
    content: str
    """A digest of a regular file's, the target of a link, else ""."""
    attributes: tuple[tuple[str, bytes], ...]
    """The extended ones that a process in a container may set."""
    names: int
    """How many a file has; 1 for a directory."""

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
    names = 1 if stat.S_ISDIR(found.st_mode) else found.st_nlink
    owner = found.st_uid, found.st_gid
    return Facts(found.st_mode, owner, found.st_rdev, found.st_mtime_ns, content, _attributes(path), names)


def _attributes(path: str) -> tuple[tuple[str, bytes], ...]:
    found = sorted(name for name in os.listxattr(path, follow_symlinks=False) if name.startswith("user."))
    return tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in found)


def difference(old: Picture, new: Picture) -> list[Change]:
    """What ``changes`` has to say: in its order, nothing below what was deleted or is no directory any more."""
    found = [Change(path, _kind(path, old, new)) for path in {*old, *new} if _differs(old.get(path), new.get(path))]
    return list(with_parents(sorted((each for each in found if _is_told(each, new)), key=_walk_order)))


def _differs(old: Facts | None, new: Facts | None) -> bool:
    """One name more is a difference; one less is the other name's."""
    if old is None or new is None:
        return old is not new
    return old._replace(names=1) != new._replace(names=1) or new.names > old.names


def _kind(path: str, old: Picture, new: Picture) -> Kind:
    if path not in new:
        return Kind.DELETED
    return Kind.MODIFIED if path in old else Kind.ADDED


def _is_told(change: Change, new: Picture) -> bool:
    above = os.path.dirname(change.path)
    return above == "/" or (above in new and new[above].is_directory)


def _walk_order(change: Change) -> list[bytes]:
    """A sort key: a directory before its entries, entries by their bytes."""
    return os.fsencode(change.path).split(b"/")
