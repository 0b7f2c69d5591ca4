"""Layers as full trees.

::

    <root>/<key>/tree      everything
    <root>/<key>/parent    a symlink whose text is the parent's key; none for a layer without
    <root>/<key>/links     only while copying, see ``copying.py``
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from trioker.linux import trees
from trioker.storage.driver import Change, Mount, UnpackTarget, Usage, Whiteouts, bind
from trioker_vfs.changes import changes, everything
from trioker_vfs.copying import copy_tree

_KEY = re.compile(r"[0-9a-f]{64}")


class Vfs:
    """The driver; open it with ``trioker_vfs.open_driver``."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.abspath(root)
        os.makedirs(self._root, mode=0o700, exist_ok=True)
        if not os.access(self._root, os.W_OK):
            raise PermissionError(0, "Permission denied")
        trees.sweep(self._root)

    def create(self, key: str, parent: str | None) -> None:
        """Copy the parent; takes as long as the parent is large, less where the filesystem can share extents."""
        with trees.making(self._root, key) as home:
            if parent is None:
                os.mkdir(f"{home}/tree", 0o755)
                return
            os.symlink(parent, f"{home}/parent")
            os.mkdir(f"{home}/links")
            copy_tree(self._tree(parent), f"{home}/tree", f"{home}/links")
            trees.remove_tree(f"{home}/links")

    def mounts(self, key: str, *, readonly: bool) -> Sequence[Mount]:
        """A bind mount."""
        os.stat(self._tree(key))
        return bind(self._tree(key), readonly=readonly)

    def unpack_target(self, key: str) -> UnpackTarget:
        """The tree itself; what a layer hides is deleted from the copy."""
        return UnpackTarget(Path(self._tree(key)), Whiteouts.REMOVE)

    def changes(self, key: str) -> Iterator[Change]:
        """A comparison of both trees, by what their inodes tell first."""
        home = f"{self._root}/{key}"
        try:
            parent = os.readlink(f"{home}/parent")
        except FileNotFoundError:
            return everything(self._tree(key))
        copied = os.stat(home).st_mtime_ns  # the last that changed there was that links went
        return changes(self._tree(key), self._tree(parent), copied)

    def usage(self, key: str) -> Usage:
        """The whole tree's."""
        return Usage(*trees.measure(self._tree(key)))

    def remove(self, key: str) -> None:
        """Delete the copy."""
        trees.discard(self._root, key)

    def keys(self) -> Iterable[str]:
        """The layers that are there; half-made ones have another name."""
        return [name for name in os.listdir(self._root) if _KEY.fullmatch(name)]

    def close(self) -> None:
        """Nothing is held open."""

    def _tree(self, key: str) -> str:
        return f"{self._root}/{key}/tree"
