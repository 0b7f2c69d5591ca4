"""What a storage driver is. This file, ``trioker.linux`` and the standard library are all a driver may import.

A driver keeps trees by key. Three stories tell what it is for:

1. *Import.* The store calls ``create("k1", None)``, asks ``unpack_target("k1")``, and a confined helper fills that directory from a
   hostile tar; the driver never sees the tar. Then one ``syncfs`` and the row: k1 is an image layer, never written again.
2. *Run.* ``create("c1", "k1")`` makes a writable child at a cost that does not grow with k1 (vfs excepted). The launcher makes the mounts
   of ``mounts("c1", readonly=False)`` inside the container's mount namespace, one over the other, the last one being the root;
   no driver ever mounts on the host. ``changes("c1")`` tells what differs from k1.
3. *Remove.* ``remove("c1")`` leaves nothing. It may have been interrupted before: removing a half-removed or half-created key
   finishes the job, and an unknown key is no error.

Who keeps what:

- *Parents* are the store's, once for all drivers: it removes no tree on which another stands. A driver that is asked all the same, because a
  record was lost, may refuse and leave both whole, or do it; then the children, which are broken, can still be removed.
- *One process* has the directory open: the store holds a lock from before ``open_driver`` until after ``close``. A driver needs no lock of its
  own, but opening a directory that another process has open must not harm what lies there.
- *Whole or not* is the record's to say: the store records that a key is ready when it is, so a half-made tree may be listed, and is removed at
  the next start; where the driver cannot list (``Lists``), the key is recorded before ``create`` as well. What ``create`` answered for is there
  after ``kill -9`` without a ``close``.
- *The disk* is synced by the store (``syncfs``) before a layer is acknowledged. A full one fails ``create`` with ENOSPC, never half;
  ``remove`` and opening work on a full one.

Everything is synchronous and called from worker threads, several at once for different keys, never two at once for one key; but ``mounts``
and ``unpack_target`` may come at any time, and a ``changes`` or ``usage`` whose asker went away may still be at its end. ``mounts`` and
``unpack_target`` wait for nothing: a start waits for them, and those of our own drivers are called where it would stop everybody. What a
driver answers is looked at (``storage/guard.py``), all it shows lies inside of its directory, and an error that is not named here is told
with its name. All of this is checked by ``trioker.testing.driver_suite``, over our drivers and over anybody's.
"""

import enum
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from trioker.linux.mounts import MS_BIND, MS_RDONLY, MS_REMOUNT, Mount
from trioker.model.container import ChangeKind as Kind

__all__ = [
    "Change",
    "Driver",
    "Kind",
    "Lists",
    "Mount",
    "OpenDriver",
    "UnpackTarget",
    "Unsupported",
    "Usage",
    "Whiteouts",
    "bind",
    "parse_size",
]

_SIZE = re.compile(r"([1-9][0-9]{0,17})([kmgt]?)b?", re.IGNORECASE)


class Unsupported(Exception):
    """This driver cannot work on this root or host; the text says why."""


class Change(NamedTuple):
    """One path that differs; ``path`` is absolute inside the tree, undecodable bytes as surrogates (os.fsdecode)."""

    path: str
    kind: Kind


class Usage(NamedTuple):
    """What a key's own layer holds: apparent bytes of its regular files (a hard link once), and its entries."""

    size: int
    entries: int


class Whiteouts(enum.Enum):
    """What the unpacker does with a ``.wh.`` entry of a layer tar."""

    REMOVE = "remove"
    """Delete the hidden path from the target, which is a full tree."""
    OVERLAY = "overlay"
    """Make overlayfs's own mark: a 0/0 character device, or the opaque attribute (Documentation/filesystems/overlayfs.rst)."""


class UnpackTarget(NamedTuple):
    """Where a layer tar is written: a host directory, used as the root of the confined unpacker."""

    path: Path
    whiteouts: Whiteouts


class Driver(Protocol):
    """A storage driver, open on its own directory."""

    def create(self, key: str, parent: str | None) -> None:
        """Make the tree ``key``, equal to ``parent``, or empty. ``key`` is 64 hex digits.

        Raises FileNotFoundError for a parent that is not there, any error (and harms nothing) for a key that is, Unsupported where the chain
        has grown too long.
        """

    def mounts(self, key: str, *, readonly: bool) -> Sequence[Mount]:
        """Recipes that, made in order on one directory, show the tree there. ``readonly`` shows it unwritable.

        Raises FileNotFoundError for an unknown key, as do ``changes`` and ``usage``.
        """

    def unpack_target(self, key: str) -> UnpackTarget:
        """Where the unpacker writes a fresh layer. With Whiteouts.OVERLAY, a limit that ``mounts`` has set is gone until it sets it anew."""

    def changes(self, key: str) -> Iterator[Change]:
        """What differs from the parent, in the order of a walk: a directory before its entries, entries by the bytes of their names.

        A path differs when it came or went, or when there is something else now: another kind of file, mode, owner, device, time of change, size,
        content, link's target, attribute of its own, or one name more of the same file. What was done does not matter: a file that was
        opened for writing, given the mode it had, or replaced by its equal does not differ, though overlayfs has copied it; one that was
        written under its old date does. ``trioker.linux.differences`` tells for a pair of entries. The root is not told, nor anything below what
        was deleted.

        Callers of the store see each directory as modified when it or anything below it differs. The store adds what that takes
        (``storage/changes.py``): a driver tells a directory that itself differs, and may tell those above what differs, or not.
        """

    def usage(self, key: str) -> Usage:
        """What the key's own layer holds (for a driver of full copies: the whole tree)."""

    def remove(self, key: str) -> None:
        """Delete the tree. Unknown, half-made and half-removed keys are welcome."""

    def close(self) -> None:
        """Let go of the directory; the data stays."""


def bind(source: str, *, readonly: bool) -> Sequence[Mount]:
    """The recipes that show the host directory ``source``.

    mount(2) ignores MS_RDONLY in the call that makes a bind mount; a second one, on the same place, changes it.
    """
    made = Mount(source, "none", MS_BIND)
    return [made, Mount("none", "none", MS_REMOUNT | MS_BIND | MS_RDONLY)] if readonly else [made]


def parse_size(text: str) -> int:
    """Bytes of an option such as "10G", "512m" or "1048576"; units are powers of 1024. Raises ValueError."""
    found = _SIZE.fullmatch(text)
    size = int(found[1]) << 10 * " kmgt".index(found[2].lower() or " ") if found else 0
    if not 0 < size < 2**63:
        raise ValueError(f"size={text!r} is not a size such as 10G")
    return size


@runtime_checkable
class Lists(Protocol):
    """An optional ability: telling what is there. Without it a tree whose record was lost is never found."""

    def keys(self) -> Iterable[str]:
        """The key of every tree, whole, half-made or half-removed."""


class OpenDriver(Protocol):
    """The entry point of a driver, in the group ``trioker.storage``."""

    def __call__(self, root: Path, options: Mapping[str, str]) -> Driver:
        """Open (or begin) the driver's data in ``root``, a directory of its own.

        Raises Unsupported where the host or the filesystem cannot do it, ValueError for an unknown or unreadable option.
        """
