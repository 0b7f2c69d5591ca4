"""A digest of a whole tree: equal where two trees are, whatever keeps them.

Hashed is one line for each entry, in the order of a walk by rising names: its path, type, mode, owner, device, size, time of change in
nanoseconds, extended attributes, and where a symbolic link leads; of a regular file also the digest of its content, and of a file with several
names the first of them. Not holes, inodes, nor the times of access: they are the filesystem's own.
"""

import hashlib
import os
import stat
from typing import NamedTuple

from trioker.launcher.faithful import Identity, about, attributes, blocks, facts, identity, target
from trioker.launcher.meter import Meter
from trioker.launcher.pack import Walk
from trioker.linux.trees import Cursor, names, unroll


class TreeDigest(NamedTuple):
    """What the tree at hand is."""

    digest: str
    """``sha256:...``"""
    entries: int


def digest_tree(root: str, meter: Meter) -> TreeDigest:
    """Read the tree at ``root``, which nobody changes. Raises OSError naming the entry that cannot be read. Moves the working directory."""
    digester = _Digester(meter)
    with Cursor(root) as cursor:
        for _ in unroll(digester.walk(cursor, "")):
            pass
    return TreeDigest(f"sha256:{digester.sum.hexdigest()}", meter.entries)


class _Digester:
    def __init__(self, meter: Meter) -> None:
        self.sum = hashlib.sha256()
        self._meter = meter
        self._links: dict[Identity, str] = {}  # the first name of each file that has several

    def walk(self, cursor: Cursor, path: str) -> Walk:
        """A directory and all below it."""
        with about(path or "/"):
            self._add(cursor.fd, ".", path, os.fstat(cursor.fd))
        for name in names(cursor.fd):
            below = f"{path}/{name}"
            if cursor.enter(name):
                yield self.walk(cursor, below)
                cursor.leave()
                continue
            with about(below):
                self._add(cursor.fd, name, below, os.stat(name, dir_fd=cursor.fd, follow_symlinks=False))

    def _add(self, fd: int, name: str, path: str, found: os.stat_result) -> None:
        self._meter.entry()
        first = ""
        if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
            first = self._links.setdefault(identity(found), path)
        content = self._content(fd, name) if stat.S_ISREG(found.st_mode) and first in ("", path) else ""
        own = sorted(attributes(fd, name).items())
        linked = first if first != path else ""
        line = os.fsencode(path), *facts(found), own, os.fsencode(target(fd, name, found)), os.fsencode(linked), content
        self.sum.update(f"{line!r}\n".encode())

    def _content(self, fd: int, name: str) -> str:
        found = hashlib.sha256()
        for block in blocks(fd, name, self._meter):
            found.update(block)
        return found.hexdigest()
