"""Layers as directories.

::

    <root>/<key>/diff     what the layer adds; whiteouts and opaque marks are overlayfs's own
    <root>/<key>/work     overlayfs's scratch, beside diff because both must lie on one filesystem
    <root>/<key>/lower    a symlink whose text is the chain below, "id:id:...", topmost first; the bottom layer has none. A long chain goes
                          on in lower1, lower2 ...: a text that ends with a colon says so
    <root>/l/<id>         symlink to ../<key>/diff, id being the first 16 digits: short names for long chains

``lower`` is a symlink because its text comes into being whole with its name in one step, where a small file can be found empty after a
power cut; and reading it is one call. A layer gets its short name with its first child, so a container never costs one.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from trioker.linux import trees
from trioker.linux.mounts import MOST_DATA, MS_RDONLY
from trioker.storage.driver import Change, Mount, UnpackTarget, Unsupported, Usage, Whiteouts, bind
from trioker_overlay.changes import changes
from trioker_overlay.quotas import Projects

_ID_LENGTH = 16
_KEY = re.compile(r"[0-9a-f]{64}")

_PIECE = 60 * (_ID_LENGTH + 1)
"""Characters of a chain in one symlink: whole names with their colons, and less than the 1,024 bytes xfs has for a link's text."""

MAX_LAYERS = 499
"""Under the topmost one: overlayfs stacks 500 (fs/overlayfs/params.h, OVL_MAX_STACK), and in a read-only view the topmost is one of them."""

OPTIONS = "redirect_dir=nofollow,metacopy=off,index=off"
"""Written out because a kernel may be built or booted with other defaults.

- redirect_dir: with ``on``, a renamed directory of the image becomes an empty one with a pointer, and whoever walks diff (changes, commit)
  would have to resolve pointers. Without, rename(2) says EXDEV and tools copy, as between filesystems. ``nofollow`` rather than ``off``:
  a pointer that came in with an image's attributes is not followed either.
- metacopy: with ``on``, a chmod would put a file without its content into diff.
- index: it would refuse to show a running container's diff to an export, and keeps files of its own in work.

``volatile`` never: it skips every sync, so a power cut would take what a container's own fsync had saved. xino keeps its default. The marks
stay in ``trusted.*`` (no ``userxattr``), which no process in a container may write.
"""


class Overlay:
    """The driver; open it with ``trioker_overlay.open_driver``, which makes sure that the host can do it."""

    def __init__(self, root: Path, *, long_chains: bool = False, size: int = 0) -> None:
        """``long_chains`` where the kernel takes more layers than mount(2) has room for; ``size``: bytes a container may write, 0 is no limit."""
        self._root = os.path.abspath(root)
        self._long_chains = long_chains
        self._names = os.path.join(self._root, "l")
        os.makedirs(self._names, mode=0o700, exist_ok=True)
        self._projects = Projects(self._root, size)
        self._projects.sweep(self._root)
        trees.sweep(self._root)
        self._drop_dangling_names()

    def create(self, key: str, parent: str | None) -> None:
        """One directory with two more in it. Raises Unsupported where the chain has grown too long to be mounted."""
        chain = self._chain_over(parent) if parent else ""
        self._refuse_too_long(key, chain)
        with trees.making(self._root, key) as home:
            self._projects.give(home)
            _write_chain(home, chain)
            os.mkdir(f"{home}/diff", 0o755)
            os.mkdir(f"{home}/work", 0o700)
            if parent:
                _imitate(self._path(parent, "diff"), f"{home}/diff")

    def mounts(self, key: str, *, readonly: bool) -> Sequence[Mount]:
        """An overlay, or a bind mount of diff for a bottom layer: overlayfs wants at least two layers.

        Whoever asks for a writable one gets it limited: that is what sets a container apart from an image.
        """
        chain = self._chain(key)
        if not readonly:
            self._projects.limit(self._path(key))
        if not chain:
            return bind(self._path(key, "diff"), readonly=readonly)
        if readonly:
            return [Mount("overlay", "overlay", MS_RDONLY, f"lowerdir=../{key}/diff:{chain},{OPTIONS}", self._names)]
        return [Mount("overlay", "overlay", 0, _writable_data(key, chain), self._names)]

    def unpack_target(self, key: str) -> UnpackTarget:
        """The diff directory itself, without a limit: what is unpacked into is, or will be, an image's."""
        self._projects.free(self._path(key))
        return UnpackTarget(Path(self._path(key, "diff")), Whiteouts.OVERLAY)

    def changes(self, key: str) -> Iterator[Change]:
        """A walk of diff only; costs what was changed, whatever the image's size."""
        lowers = [os.path.join(self._names, os.readlink(f"{self._names}/{name}")) for name in _split(self._chain(key))]
        return changes(self._path(key, "diff"), lowers)

    def usage(self, key: str) -> Usage:
        """What diff holds; a whiteout is an entry without bytes."""
        return Usage(*trees.measure(self._path(key, "diff")))

    def remove(self, key: str) -> None:
        """First the limit and the short name, then the tree: neither must outlive it."""
        self._projects.release(self._path(key))
        with suppress(FileNotFoundError):
            name = f"{self._names}/{key[:_ID_LENGTH]}"
            if os.readlink(name) == _target(key):
                os.unlink(name)
        trees.discard(self._root, key)

    def keys(self) -> Iterable[str]:
        """The layers that are there; half-made ones have another name."""
        return [name for name in os.listdir(self._root) if _KEY.fullmatch(name)]

    def close(self) -> None:
        """Nothing is held open."""

    def _path(self, key: str, part: str = "") -> str:
        return os.path.join(self._root, key, part) if part else os.path.join(self._root, key)

    def _refuse_too_long(self, key: str, chain: str) -> None:
        layers = len(_split(chain))
        if layers > MAX_LAYERS:
            raise Unsupported(f"{layers} layers are too many: overlayfs stacks {MAX_LAYERS} under one more")
        length = len(_writable_data(key, chain))
        if length > MOST_DATA and not self._long_chains:
            raise Unsupported(
                f"{layers} layers are too many for this kernel: it takes {MOST_DATA} bytes of mount options and their names are "
                f"{length} (since Linux 6.7 there can be {MAX_LAYERS})"
            )

    def _chain(self, key: str) -> str:
        home = self._path(key)
        try:
            chain = os.readlink(f"{home}/lower")
        except FileNotFoundError:
            os.stat(home)  # a layer that is not there is not a bottom layer
            return ""
        return _read_rest(home, chain)

    def _chain_over(self, parent: str) -> str:
        below = self._chain(parent)
        name = self._short_name(parent)
        return f"{name}:{below}" if below else name

    def _short_name(self, key: str) -> str:
        name = key[:_ID_LENGTH]
        try:
            os.symlink(_target(key), f"{self._names}/{name}")
        except FileExistsError:
            if os.readlink(f"{self._names}/{name}") != _target(key):  # 64 bits in common: not by chance
                raise
        return name

    def _drop_dangling_names(self) -> None:
        for name in os.listdir(self._names):
            path = f"{self._names}/{name}"
            if not os.path.exists(path):
                os.unlink(path)


def _target(key: str) -> str:
    return f"../{key}/diff"


def _split(chain: str) -> list[str]:
    return chain.split(":") if chain else []


def _write_chain(home: str, chain: str) -> None:
    """The first piece last: where it is, all are."""
    pieces = [chain[start : start + _PIECE] for start in range(0, len(chain), _PIECE)]
    for number, piece in reversed(list(enumerate(pieces))):
        os.symlink(piece, f"{home}/lower{number or ''}")


def _read_rest(home: str, chain: str) -> str:
    number = 0
    while chain.endswith(":"):
        number += 1
        chain += os.readlink(f"{home}/lower{number}")
    return chain


def _writable_data(key: str, chain: str) -> str:
    return f"lowerdir={chain},upperdir=../{key}/diff,workdir=../{key}/work,{OPTIONS}"


def _imitate(model: str, path: str) -> None:
    """Give the root of a new layer its parent's owner, mode and times: in an overlay the top layer's root is what shows."""
    found = os.stat(model)
    os.chown(path, found.st_uid, found.st_gid)
    os.chmod(path, found.st_mode & 0o7777)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
