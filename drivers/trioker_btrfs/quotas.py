"""Limits by simple quotas (Linux 6.7): what a subvolume allocates is counted for it for as long as that lives, whoever shares it.

Not by the older full quota groups: those ask, for every extent, who else refers to it, at a cost that grows with the snapshots; and a
subvolume made inside a limited one is outside the limit. Here it joins the groups of the one it is made in, so each limited layer has a
group of its own above its subvolume's: level ``LEVEL``, numbered as the subvolume.
"""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from trioker.linux import btrfs
from trioker_btrfs.subvolumes import family

LEVEL = int.from_bytes(b"tr")
"""Of our groups; any from 1 to 65535 does, and this one is nobody else's."""

_NOTHING_THERE = (errno.ENOENT, errno.ENOTCONN, errno.EINVAL)
"""No such group or member; quotas are off (the last two, by age of the kernel)."""


def enable(fd: int) -> str:
    """Begin to count. Why that cannot be, or empty."""
    try:
        btrfs.enable_simple_quotas(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return "size= needs the simple quotas of Linux 6.7 or newer"
    if not btrfs.counts_simply(fd):
        return "size= needs simple quotas, and full quota groups are on here (btrfs quota disable)"
    return ""


def limit(fd: int, subvolume: int, size: int) -> None:
    """Let the subvolume, and all that are or will be inside it, allocate ``size`` bytes together."""
    group = btrfs.group(LEVEL, subvolume)
    with suppress(FileExistsError):
        btrfs.create_group(fd, group)
    for member in family(fd, subvolume):
        with suppress(FileExistsError):
            btrfs.assign_group(fd, member, group)
    btrfs.limit_group(fd, group, size)


def drop(fd: int, members: Sequence[int]) -> None:
    """Remove the group of a ``family``, if it has one: the kernel removes only the subvolumes' own."""
    group = btrfs.group(LEVEL, members[0])
    for member in members:
        with _none_is_fine():
            btrfs.dismiss_group(fd, member, group)
    with _none_is_fine():
        btrfs.remove_group(fd, group)


@contextmanager
def _none_is_fine() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NOTHING_THERE:
            raise
