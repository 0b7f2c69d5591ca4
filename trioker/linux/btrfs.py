"""Btrfs by ioctl, without its tools: linux/btrfs.h, linux/btrfs_tree.h, btrfs-ioctl(2).

A *subvolume* is a tree of inodes with an id of its own; its root directory is always inode 256. Everything is said to an open directory.
A subvolume inside another one is *nested*: neither a snapshot nor a removal of the outer one reaches it.
"""

import ctypes
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from trioker.linux.syscalls import oserror

ROOT_TREE = 1
QUOTA_TREE = 8
ROOT_DIRECTORY = 256
"""Inode of a subvolume's root directory, and the first id a subvolume can have (BTRFS_FIRST_FREE_OBJECTID)."""

INODE_ITEM, INODE_REF, INODE_EXTREF, ROOT_ITEM, ROOT_REF, QGROUP_STATUS = 1, 12, 13, 132, 156, 240
"""Types of items in the trees."""

READONLY = 1 << 1
"""Flag of a subvolume: BTRFS_SUBVOL_RDONLY."""

_SUPER_MAGIC = 0x9123683E
_BY_ID = 1 << 4  # BTRFS_SUBVOL_SPEC_BY_ID
_LIMIT_EXCLUSIVE = 1 << 1  # BTRFS_QGROUP_LIMIT_MAX_EXCL
_ENABLE_SIMPLE_QUOTA = 4
_SIMPLE_MODE = 1 << 3  # BTRFS_QGROUP_STATUS_FLAG_SIMPLE_MODE
_LEVEL_SHIFT = 48
_HIGHEST = 2**64 - 1
_SEARCH_BUFFER = 2**16

VOLUME = struct.Struct("=qQQ32s4040s")  # struct btrfs_ioctl_vol_args_v2
SUBVOLUME_INFO = struct.Struct("=Q256s4Q48s4Q64s64s")  # struct btrfs_ioctl_get_subvol_info_args
SEARCH = struct.Struct("=7Q4I4QQ")  # struct btrfs_ioctl_search_args_v2 without its buffer
ITEM_HEADER = struct.Struct("=QQQII")  # struct btrfs_ioctl_search_header
QUOTA_CONTROL = struct.Struct("=QQ")  # struct btrfs_ioctl_quota_ctl_args
QGROUP_CREATE = struct.Struct("=QQ")  # struct btrfs_ioctl_qgroup_create_args
QGROUP_ASSIGN = struct.Struct("=QQQ")  # struct btrfs_ioctl_qgroup_assign_args
QGROUP_LIMIT = struct.Struct("=Q5Q")  # struct btrfs_ioctl_qgroup_limit_args
HANDLE = struct.Struct("=IiQQI")  # struct file_handle with btrfs's inode, subvolume and generation
QGROUP_STATUS_ITEM = struct.Struct("=QQQQ")  # struct btrfs_qgroup_status_item: version, generation, flags, rescan
_NUMBER = struct.Struct("=Q")

_FILEID_BTRFS = 0x4D
_libc = ctypes.CDLL(None, use_errno=True)


class Subvolume(NamedTuple):
    """What the kernel tells of the subvolume a directory is in."""

    id: int
    created: int
    """The transaction that made it: whatever differs from its source was changed in a later one."""


class Item(NamedTuple):
    """An item of a tree with its key."""

    objectid: int
    type: int
    offset: int
    content: bytes


class Nested(NamedTuple):
    """A subvolume in another one."""

    id: int
    directory: int
    """Inode, in the outer one, of the directory that has its name."""
    name: str


def _number(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | 0x94 << 8 | number


_WRITE, _READ, _BOTH = 1, 2, 3
_SYNC = _number(0, 8, 0)
_SNAP_CREATE_V2 = _number(_WRITE, 23, VOLUME.size)
_SUBVOL_CREATE_V2 = _number(_WRITE, 24, VOLUME.size)
_SNAP_DESTROY_V2 = _number(_WRITE, 63, VOLUME.size)
_SUBVOL_GETFLAGS = _number(_READ, 25, 8)
_SUBVOL_SETFLAGS = _number(_WRITE, 26, 8)
_GET_SUBVOL_INFO = _number(_READ, 60, SUBVOLUME_INFO.size)
_TREE_SEARCH_V2 = _number(_BOTH, 17, SEARCH.size)
_QUOTA_CTL = _number(_BOTH, 40, QUOTA_CONTROL.size)
_QGROUP_ASSIGN = _number(_WRITE, 41, QGROUP_ASSIGN.size)
_QGROUP_CREATE = _number(_WRITE, 42, QGROUP_CREATE.size)
_QGROUP_LIMIT = _number(_READ, 43, QGROUP_LIMIT.size)


def is_btrfs(fd: int) -> bool:
    """Whether an open file lies on btrfs: fstatfs(2)."""
    found = (ctypes.c_long * 32)()  # more than struct statfs has; its first member is the magic number
    if _libc.fstatfs(fd, found):
        raise oserror("fstatfs")
    return int(found[0]) == _SUPER_MAGIC


def create_subvolume(directory: int, name: str) -> None:
    """An empty subvolume in ``directory``: BTRFS_IOC_SUBVOL_CREATE_V2."""
    _call(directory, _SUBVOL_CREATE_V2, VOLUME.pack(0, 0, 0, b"", os.fsencode(name)))


def create_snapshot(source: int, directory: int, name: str) -> None:
    """A writable snapshot of the subvolume whose root is ``source``: BTRFS_IOC_SNAP_CREATE_V2. Commits a transaction."""
    _call(directory, _SNAP_CREATE_V2, VOLUME.pack(source, 0, 0, b"", os.fsencode(name)))


def destroy_subvolume(fd: int, subvolume: int) -> None:
    """Remove a subvolume by its id; the kernel frees its space in the background: BTRFS_IOC_SNAP_DESTROY_V2.

    Raises OSError with ENOTEMPTY while it has nested ones, EROFS where its name lies in a read-only one.
    """
    _call(fd, _SNAP_DESTROY_V2, VOLUME.pack(0, 0, _BY_ID, b"", _NUMBER.pack(subvolume)))


def get_flags(fd: int) -> int:
    """The flags of the subvolume whose root is ``fd``: BTRFS_IOC_SUBVOL_GETFLAGS."""
    return int(_NUMBER.unpack(_call(fd, _SUBVOL_GETFLAGS, bytes(8)))[0])


def set_flags(fd: int, flags: int) -> None:
    """Replace them: BTRFS_IOC_SUBVOL_SETFLAGS."""
    _call(fd, _SUBVOL_SETFLAGS, _NUMBER.pack(flags))


def subvolume_info(fd: int) -> Subvolume:
    """The subvolume an open file is in: BTRFS_IOC_GET_SUBVOL_INFO."""
    found = SUBVOLUME_INFO.unpack(_call(fd, _GET_SUBVOL_INFO, bytes(SUBVOLUME_INFO.size)))
    return Subvolume(id=found[0], created=found[8])


def open_inode(fd: int, subvolume: int, inode: int = ROOT_DIRECTORY) -> int:
    """A descriptor of a directory by its number, whatever its path: open_by_handle_at(2). Raises OSError with ESTALE where it is gone."""
    handle = HANDLE.pack(HANDLE.size - 8, _FILEID_BTRFS, inode, subvolume, 0)
    opened = _libc.open_by_handle_at(fd, handle, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if opened < 0:
        raise oserror("open_by_handle_at")
    return int(opened)


def sync(fd: int) -> None:
    """Write everything to the disk and have removed subvolumes freed now, not at the next turn of 30 seconds: BTRFS_IOC_SYNC.

    BTRFS_IOC_START_SYNC would do the second without the first, but it can miss the kernel's thread and sleep those 30 seconds itself
    (seen on 6.18).
    """
    fcntl.ioctl(fd, _SYNC)


def search(
    fd: int, tree: int, lowest: tuple[int, int, int], highest: tuple[int, int, int], since: int = 0
) -> Iterator[Item]:
    """Items of a tree by keys (objectid, type, offset) from ``lowest`` to ``highest``: BTRFS_IOC_TREE_SEARCH_V2.

    ``tree`` 0 is the subvolume ``fd`` is in. With ``since`` only the items of leaves written by that transaction or a later one; their
    unchanged neighbours in such a leaf come along. What is not committed may be missing.
    """
    while True:
        key = (tree, lowest[0], highest[0], lowest[2], highest[2], since, _HIGHEST, lowest[1], highest[1])
        arguments = bytearray(SEARCH.size + _SEARCH_BUFFER)
        SEARCH.pack_into(arguments, 0, *key, 2**32 - 1, 0, 0, 0, 0, 0, _SEARCH_BUFFER)
        fcntl.ioctl(fd, _TREE_SEARCH_V2, arguments)
        last = None
        for last in _items(arguments, count=SEARCH.unpack_from(arguments)[9]):
            yield last
        if last is None or (following := _successor(last)) > highest:
            return
        lowest = following


def _items(found: bytearray, count: int) -> Iterator[Item]:
    position = SEARCH.size
    for _ in range(count):
        _, objectid, offset, kind, length = ITEM_HEADER.unpack_from(found, position)
        position += ITEM_HEADER.size
        yield Item(objectid, kind, offset, bytes(found[position : position + length]))
        position += length


def _successor(item: Item) -> tuple[int, int, int]:
    if item.offset < _HIGHEST:
        return item.objectid, item.type, item.offset + 1
    return (item.objectid, item.type + 1, 0) if item.type < 255 else (item.objectid + 1, 0, 0)


def nested(fd: int, subvolume: int) -> list[Nested]:
    """The subvolumes right inside another one, from the tree of roots; not those inside them."""
    found = search(fd, ROOT_TREE, (subvolume, ROOT_REF, 0), (subvolume, ROOT_REF, _HIGHEST))
    return [Nested(item.offset, _NUMBER.unpack_from(item.content)[0], os.fsdecode(item.content[18:])) for item in found]


def exists(fd: int, subvolume: int) -> bool:
    """Whether a subvolume is there, or on its way out and not freed yet."""
    return any(True for _ in search(fd, ROOT_TREE, (subvolume, ROOT_ITEM, 0), (subvolume, ROOT_ITEM, _HIGHEST)))


def group(level: int, number: int) -> int:
    """The id of a quota group; that of a subvolume is level 0 and its own id."""
    return level << _LEVEL_SHIFT | number


def enable_simple_quotas(fd: int) -> None:
    """Begin to count what subvolumes allocate: BTRFS_IOC_QUOTA_CTL (Linux 6.7). No error where quotas are on already."""
    with suppress(FileExistsError):
        _call(fd, _QUOTA_CTL, QUOTA_CONTROL.pack(_ENABLE_SIMPLE_QUOTA, 0))


def create_group(fd: int, group: int) -> None:
    """A new quota group: BTRFS_IOC_QGROUP_CREATE."""
    _call(fd, _QGROUP_CREATE, QGROUP_CREATE.pack(1, group))


def remove_group(fd: int, group: int) -> None:
    """Remove one that has no members: BTRFS_IOC_QGROUP_CREATE."""
    _call(fd, _QGROUP_CREATE, QGROUP_CREATE.pack(0, group))


def assign_group(fd: int, member: int, group: int) -> None:
    """Count a group's space in another group of a higher level too: BTRFS_IOC_QGROUP_ASSIGN."""
    _call(fd, _QGROUP_ASSIGN, QGROUP_ASSIGN.pack(1, member, group))


def dismiss_group(fd: int, member: int, group: int) -> None:
    """Undo that: BTRFS_IOC_QGROUP_ASSIGN."""
    _call(fd, _QGROUP_ASSIGN, QGROUP_ASSIGN.pack(0, member, group))


def limit_group(fd: int, group: int, size: int) -> None:
    """Let a group have at most ``size`` bytes of its own, writing more gives EDQUOT: BTRFS_IOC_QGROUP_LIMIT."""
    _call(fd, _QGROUP_LIMIT, QGROUP_LIMIT.pack(group, _LIMIT_EXCLUSIVE, 0, size, 0, 0))


def counts_simply(fd: int) -> bool:
    """Whether simple quotas are on, rather than full ones: the state of the quota tree, which must be there."""
    key = (0, QGROUP_STATUS, 0)
    return any(
        QGROUP_STATUS_ITEM.unpack_from(item.content)[2] & _SIMPLE_MODE for item in search(fd, QUOTA_TREE, key, key)
    )


def _call(fd: int, request: int, arguments: bytes) -> bytearray:
    found = bytearray(arguments)
    fcntl.ioctl(fd, request, found)
    return found
