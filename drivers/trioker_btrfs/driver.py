"""Layers as subvolumes.

::

    <root>/<key>/tree      the subvolume: empty at first, or a snapshot of the parent's
    <root>/<key>/parent    a symlink whose text is the parent's key; none for a layer without

A snapshot commits a transaction of the filesystem, so that it is on the disk, with all that led to it, when ``create`` returns.
"""

import errno
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from trioker.linux import btrfs, syscalls, trees
from trioker.storage.driver import Change, Mount, UnpackTarget, Usage, Whiteouts, bind
from trioker_btrfs import quotas
from trioker_btrfs.changes import compare, measure
from trioker_btrfs.guide import Guide, guide
from trioker_btrfs.subvolumes import copy_subvolume, destroy, family, nearly_full, opened, reclaim

_NO_ROOM = (*syscalls.DISK_FULL, errno.EROFS)
_KEY = re.compile(r"[0-9a-f]{64}")


class Btrfs:
    """The driver; open it with ``trioker_btrfs.open_driver``, which makes sure that the filesystem can do it."""

    def __init__(self, root: Path, size: int = 0) -> None:
        """``size`` is how many bytes a container may write beside its image; 0 is no limit."""
        self._root = os.path.abspath(root)
        self._size = size
        self._fd = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for name in os.listdir(self._root):
            if name.startswith(trees.REMOVING):
                self._finish(name)

    def create(self, key: str, parent: str | None) -> None:
        """A snapshot: takes as long as the disk needs to commit, however large the parent is."""
        home = f"{self._root}/{key}"
        os.mkdir(home, 0o700)
        if parent is not None:
            os.symlink(parent, f"{home}/parent")
        with opened(home) as place:
            if parent is None:
                btrfs.create_subvolume(place, "tree")
                os.chmod("tree", 0o755, dir_fd=place)  # noqa: S103  the root of a tree is for all to enter
                return
            with opened(self._tree(parent)) as source:
                copy_subvolume(source, place, "tree")

    def mounts(self, key: str, *, readonly: bool) -> Sequence[Mount]:
        """A bind mount. Whoever asks for a writable one gets it limited: that is what sets a container apart from an image."""
        with opened(self._tree(key)) as tree:
            if self._size and not readonly:
                quotas.limit(tree, btrfs.subvolume_info(tree).id, self._size)
        return bind(self._tree(key), readonly=readonly)

    def unpack_target(self, key: str) -> UnpackTarget:
        """The subvolume itself; what a layer hides is deleted from the snapshot."""
        return UnpackTarget(Path(self._tree(key)), Whiteouts.REMOVE)

    def changes(self, key: str) -> Iterator[Change]:
        """A comparison with the parent that looks only where the filesystem wrote since the snapshot; costs what was changed."""
        parent = self._parent(key)
        if parent is None:
            return (found.change for found in compare(self._tree(key), None, None))
        return (found.change for found in compare(self._tree(key), self._tree(parent), self._guide(key)))

    def usage(self, key: str) -> Usage:
        """The apparent bytes of the files that were touched, as with overlay also of those whose mode alone was changed."""
        parent = self._parent(key)
        if parent is None:
            return Usage(*trees.measure(self._tree(key)))
        return measure(compare(self._tree(key), self._tree(parent), self._guide(key), read=False))

    def remove(self, key: str) -> None:
        """Renamed first, so that an interruption leaves what opening knows.

        The kernel frees the space in the background within a minute, the turns of two of its threads; on a nearly full disk this waits for it.
        """
        leaving = trees.REMOVING + key
        with suppress(FileNotFoundError):
            os.rename(key, leaving, src_dir_fd=self._fd, dst_dir_fd=self._fd)
        members = self._finish(leaving)
        if members and nearly_full(self._fd):
            reclaim(self._fd, members)

    def keys(self) -> Iterable[str]:
        """The layers that are there, whole or half-made."""
        return [name for name in os.listdir(self._root) if _KEY.fullmatch(name)]

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self._fd)

    def _tree(self, key: str) -> str:
        return f"{self._root}/{key}/tree"

    def _parent(self, key: str) -> str | None:
        try:
            return os.readlink(f"{self._root}/{key}/parent")
        except FileNotFoundError:
            return None

    def _finish(self, leaving: str) -> Sequence[int]:
        """Remove a layer that was renamed, as far as it is there; the subvolumes it had."""
        members: Sequence[int] = ()
        with suppress(FileNotFoundError):
            with opened(f"{self._root}/{leaving}/tree") as tree:
                members = family(tree, btrfs.subvolume_info(tree).id)
            quotas.drop(self._fd, members)
            destroy(self._fd, members)
        trees.remove_tree(f"{self._root}/{leaving}")
        return members

    def _guide(self, key: str) -> Guide | None:
        """Where to look for changes; None where the filesystem is too full to tell, or read-only: then everything is looked at."""
        with opened(self._tree(key)) as tree:
            try:
                self._write_back(tree)
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                return None
            return guide(tree)

    def _write_back(self, tree: int) -> None:
        """Let what was written into the subvolume reach its tree, and nothing else be waited for.

        Neither a commit does that, which leaves file contents in memory, nor a sync, which writes everybody's. A snapshot does: it takes
        what its source holds in memory along.
        """
        trial = tempfile.mkdtemp(prefix=trees.REMOVING, dir=self._root)
        try:
            with opened(trial) as place:
                btrfs.create_snapshot(tree, place, "tree")
        finally:
            self._finish(os.path.basename(trial))
