"""Layers as directories, stacked by overlayfs (Documentation/filesystems/overlayfs.rst).

::

    <root>/<id>/diff     what the layer adds; <id> is the key's first 16 digits: mount(2) takes one page of names
    <root>/<id>/work     overlayfs's scratch
    <root>/<id>/key      a symlink whose text is the whole key
    <root>/<id>/chain    a symlink whose text is the chain below, "<id>/diff:<id>/diff", topmost first; empty chains have none
    <root>/removing-...  half-made or half-removed: a layer comes and goes by one rename, so no other state is ever seen
"""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from trioker.linux import syscalls, trees
from trioker.linux.mounts import MOST_DATA, MS_RDONLY, make
from trioker.linux.private import in_private_mounts
from trioker.storage.driver import Change, Mount, UnpackTarget, Unsupported, Usage, Whiteouts, bind
from trioker_tmpfs_example.changes import compare

OPTIONS = "redirect_dir=nofollow,metacopy=off,index=off"
"""Kernels differ in their defaults; without these three, diff holds whole files and directories, so that an image can be packed from it."""


class Tmpfs:
    """The driver. Its methods are called by several threads at once, but never two at once for one key."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.abspath(root)
        trees.sweep(self._root)  # what a killed daemon left half-made or half-removed

    def create(self, key: str, parent: str | None) -> None:
        """Made under a name that ``sweep`` and ``remove`` clear away, and renamed when it is whole."""
        chain = ":".join(filter(None, (f"{_id(parent)}/diff", self._chain(parent)))) if parent else ""
        if len(_data(key, chain)) > MOST_DATA:
            raise Unsupported(f"{chain.count(':') + 2} layers are more than mount(2) has room for")
        with trees.making(self._root, _id(key)) as home:
            os.mkdir(f"{home}/diff", 0o755)
            os.mkdir(f"{home}/work", 0o700)
            os.symlink(key, f"{home}/key")
            if parent:
                os.symlink(chain, f"{home}/chain")
                _imitate(self._diff(parent), f"{home}/diff")

    def mounts(self, key: str, *, readonly: bool) -> Sequence[Mount]:
        """An overlay; the bottom layer is a plain directory. Mounted from the root, so the names in it are short."""
        chain = self._chain(key)
        if not chain:
            return bind(self._diff(key), readonly=readonly)
        if readonly:
            data = f"lowerdir={_id(key)}/diff:{chain},{OPTIONS}"
            return [Mount("overlay", "overlay", MS_RDONLY, data, self._root)]
        return [Mount("overlay", "overlay", 0, _data(key, chain), self._root)]

    def unpack_target(self, key: str) -> UnpackTarget:
        """diff; what a layer deletes becomes overlayfs's own mark in it."""
        return UnpackTarget(Path(self._diff(key)), Whiteouts.OVERLAY)

    def changes(self, key: str) -> Iterator[Change]:
        """A comparison of the two trees as they look when mounted, which happens where nobody else sees it."""
        chain = self._chain(key)
        parent = self._key(chain.split("/")[0]) if chain else None
        views = [self.mounts(each, readonly=True) for each in (key, parent) if each]
        return iter(in_private_mounts(lambda: _compare(views)))

    def usage(self, key: str) -> Usage:
        """What lies in diff."""
        return Usage(*trees.measure(self._diff(key)))

    def remove(self, key: str) -> None:
        """Renamed first, then deleted; whole, half-made, half-removed or unknown makes no difference."""
        trees.discard(self._root, _id(key))

    def keys(self) -> Iterable[str]:
        """The optional ability ``Lists``: so a tree whose record was lost is found and removed."""
        return [self._key(name) for name in os.listdir(self._root) if not name.startswith(trees.REMOVING)]

    def close(self) -> None:
        """Nothing is held open."""

    def _diff(self, key: str) -> str:
        return f"{self._root}/{_id(key)}/diff"

    def _key(self, name: str) -> str:
        return os.readlink(f"{self._root}/{name}/key")

    def _chain(self, key: str) -> str:
        os.stat(self._diff(key))  # an unknown key is a FileNotFoundError
        try:
            return os.readlink(f"{self._root}/{_id(key)}/chain")
        except FileNotFoundError:
            return ""


def try_overlay(root: Path) -> None:
    """Mount an overlay, for a caller in a private mount namespace. Raises OSError where that cannot be."""
    with tempfile.TemporaryDirectory(prefix=trees.REMOVING, dir=root) as trial:
        for name in ("upper", "lower", "work", "place"):
            os.mkdir(f"{trial}/{name}")
        make([Mount("overlay", "overlay", 0, f"lowerdir=lower,upperdir=upper,workdir=work,{OPTIONS}", trial)], "place")
        os.chdir("/")
        syscalls.umount2(f"{trial}/place", syscalls.MNT_DETACH)


def _id(key: str) -> str:
    return key[:16]


def _data(key: str, chain: str) -> str:
    return f"lowerdir={chain},upperdir={_id(key)}/diff,workdir={_id(key)}/work,{OPTIONS}"


def _imitate(parent: str, child: str) -> None:
    """The root of the tree shows what the topmost layer says of it."""
    found = os.stat(parent)
    os.chown(child, found.st_uid, found.st_gid)
    os.chmod(child, found.st_mode & 0o7777)
    for name in os.listxattr(parent):
        os.setxattr(child, name, os.getxattr(parent, name))
    os.utime(child, ns=(found.st_atime_ns, found.st_mtime_ns))


def _compare(views: Sequence[Sequence[Mount]]) -> list[Change]:
    places = [tempfile.mkdtemp(prefix="trioker-tmpfs-") for _ in views]
    try:
        for view, place in zip(views, places, strict=True):
            make(view, place)
        return list(compare(*places))
    finally:
        os.chdir("/")
        for place in places:
            syscalls.umount2(place, syscalls.MNT_DETACH)
            os.rmdir(place)
