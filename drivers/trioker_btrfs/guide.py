"""Where a subvolume differs from what it is a snapshot of, as its own tree tells.

Every block of the tree has the number of the transaction that wrote it, and every inode that of its last change; so the kernel finds the
inodes changed since the snapshot without reading what was not. Their names, and those of the directories above them, are looked up backwards.
"""

import os
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from trioker.linux import btrfs

_INODE = struct.Struct(
    "=QQ24xI"
)  # struct btrfs_inode_item up to its count of names: generation, transaction of the last change
_REF = struct.Struct("=QH")  # struct btrfs_inode_ref: index, length of the name, name
_EXTREF = struct.Struct("=QQH")  # struct btrfs_inode_extref: directory, index, length of the name, name
_LAST = 2**64 - 1

_Name = tuple[int, str]
"""A directory, by inode, and a name in it."""


class Guide(NamedTuple):
    """What may differ; what is not here does not."""

    changed: AbstractSet[int]
    """Inodes changed since: for a directory, entries may have come or gone."""
    inside: Mapping[int, AbstractSet[str]]
    """For a directory, by inode, the entries that are in ``changed`` or lead there.

    A subvolume inside is neither, but was put where it is after the snapshot, so that its directory is in ``changed``.
    """


def guide(fd: int) -> Guide:
    """The guide for the subvolume ``fd`` is the root of."""
    links, seen = _changed(fd, btrfs.subvolume_info(fd).created + 1)
    inside: defaultdict[int, set[str]] = defaultdict(set)
    climbing = [*links]
    climbed = {*climbing, btrfs.ROOT_DIRECTORY}
    for inode in climbing:  # it grows meanwhile
        if inode == btrfs.ROOT_DIRECTORY:  # its only name is its own, ".."
            continue
        for directory, name in seen[inode] if len(seen[inode]) == links.get(inode) else _names(fd, inode):
            inside[directory].add(name)
            if directory not in climbed:
                climbed.add(directory)
                climbing.append(directory)
    return Guide(links.keys(), inside)


def _changed(fd: int, since: int) -> tuple[dict[int, int], defaultdict[int, list[_Name]]]:
    """The inodes, with how many names each has, and the names that lie beside them: most have all of theirs there."""
    links: dict[int, int] = {}
    seen: defaultdict[int, list[_Name]] = defaultdict(list)
    for item in btrfs.search(fd, 0, (btrfs.ROOT_DIRECTORY, btrfs.INODE_ITEM, 0), (_LAST, 0, 0), since):
        if item.type == btrfs.INODE_ITEM:
            _, transaction, count = _INODE.unpack_from(item.content)
            if transaction >= since:
                links[item.objectid] = count
        elif item.type in (btrfs.INODE_REF, btrfs.INODE_EXTREF) and item.objectid in links:
            seen[item.objectid] += _entries(item)
    return links, seen


def _names(fd: int, inode: int) -> Iterator[_Name]:
    """The directories an inode is in, and under which names."""
    for item in btrfs.search(fd, 0, (inode, btrfs.INODE_REF, 0), (inode, btrfs.INODE_EXTREF, _LAST)):
        yield from _entries(item)


def _entries(item: btrfs.Item) -> Iterator[_Name]:
    """One item has all names in a directory, or all whose hashes are alike."""
    position = 0
    while position < len(item.content):
        if item.type == btrfs.INODE_REF:
            directory, (_, length), head = item.offset, _REF.unpack_from(item.content, position), _REF.size
        else:
            directory, _, length = _EXTREF.unpack_from(item.content, position)
            head = _EXTREF.size
        position += head + length
        yield directory, os.fsdecode(item.content[position - length : position])
