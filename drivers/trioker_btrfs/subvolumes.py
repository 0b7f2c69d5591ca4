"""Subvolumes with those that were made inside them.

A process in a container may make subvolumes and snapshots in its tree (the ioctls ask for no privilege), and systemd-tmpfiles does in every
image that installs systemd. The kernel leaves them to whoever copies or removes the outer one.
"""

import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

from trioker.linux import btrfs
from trioker.linux.closing import closing

RECLAIM = 5.0
"""Seconds to wait for the kernel to take a subvolume apart; it goes on afterwards."""

_MUCH = 4 * 2**30


def opened(path: str, directory: int | None = None) -> AbstractContextManager[int]:
    """A descriptor of a directory, for a while. Raises FileNotFoundError."""
    return closing(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory))


def family(fd: int, subvolume: int) -> Sequence[int]:
    """The subvolume and all inside it, outer ones first."""
    found = [subvolume]
    for each in found:  # it grows meanwhile
        found += [inner.id for inner in btrfs.nested(fd, each)]
    return found


def destroy(fd: int, members: Sequence[int]) -> None:
    """Remove a ``family``, inner ones first. A read-only one would keep those inside it: a container may have made it so."""
    for each in members[:-1]:
        with closing(btrfs.open_inode(fd, each)) as outer:
            if btrfs.get_flags(outer) & btrfs.READONLY:
                btrfs.set_flags(outer, 0)
    for each in reversed(members):
        btrfs.destroy_subvolume(fd, each)


def nearly_full(fd: int) -> bool:
    """Whether less than an eighth of the disk and less than ``_MUCH`` is free."""
    found = os.fstatvfs(fd)
    return found.f_bavail * found.f_frsize < min(found.f_blocks * found.f_frsize // 8, _MUCH)


def reclaim(fd: int, members: Sequence[int]) -> None:
    """Have removed subvolumes freed at once: the first sync has them taken apart, the second makes their blocks usable again."""
    btrfs.sync(fd)
    deadline = time.monotonic() + RECLAIM
    while any(btrfs.exists(fd, each) for each in members) and time.monotonic() < deadline:
        time.sleep(0.01)
    btrfs.sync(fd)


def copy_subvolume(source: int, directory: int, name: str) -> None:
    """A writable snapshot with snapshots of all inside, at the same places, read-only where those are."""
    btrfs.create_snapshot(source, directory, name)
    pairs = [(btrfs.subvolume_info(source).id, _id(directory, name))]
    for old, new in pairs:  # it grows meanwhile
        for inner in btrfs.nested(source, old):
            pairs.append((inner.id, _copy_inner(directory, inner, new)))  # noqa: PERF401  the loop reads the list
    for old, new in pairs[1:]:
        _imitate_flags(directory, old, new)


def _copy_inner(fd: int, inner: btrfs.Nested, outer: int) -> int:
    """Put a snapshot in the place of the empty directory that the outer snapshot shows instead."""
    with (
        closing(btrfs.open_inode(fd, inner.id)) as source,
        closing(btrfs.open_inode(fd, outer, inner.directory)) as place,
    ):
        before = os.fstat(place)
        os.rmdir(inner.name, dir_fd=place)
        btrfs.create_snapshot(source, place, inner.name)
        os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
        return _id(place, inner.name)


def _imitate_flags(fd: int, old: int, new: int) -> None:
    with closing(btrfs.open_inode(fd, old)) as model, closing(btrfs.open_inode(fd, new)) as copy:
        if btrfs.get_flags(model) & btrfs.READONLY:
            btrfs.set_flags(copy, btrfs.READONLY)


def _id(directory: int, name: str) -> int:
    with opened(name, directory) as fd:
        return btrfs.subvolume_info(fd).id
