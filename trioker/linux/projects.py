"""Projects, by which a filesystem counts directory trees apart, and their limits: linux/fs.h, linux/dqblk_xfs.h, quotactl(2).

A project is a number that an inode carries; there is nothing to create. A directory set by ``join`` gives it to all that is made in it, and the
filesystem keeps one *record* per number: what its inodes use and what they may. A record that is all zeros is none.
"""

import fcntl
import struct
from typing import NamedTuple

from trioker.linux import syscalls

ATTRIBUTES = struct.Struct("=5I8s")  # struct fsxattr: flags, extsize, nextents, project, cowextsize
RECORD = struct.Struct("=bbHI6Q16s3Q16s")  # struct fs_disk_quota
_BLOCK = 512  # bytes of its "basic blocks"
_PROJECT_RECORD = 2  # FS_PROJ_QUOTA
_VERSION = 1  # FS_DQUOT_VERSION
_LIMITS = 1 << 1 | 1 << 3  # FS_DQ_IHARD, FS_DQ_BHARD

_GET_ATTRIBUTES, _SET_ATTRIBUTES = 0x801C581F, 0x401C5820  # FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR
_INHERITED = 1 << 9  # FS_XFLAG_PROJINHERIT
_GET_RECORD, _SET_LIMITS = (
    (ord("X") << 8 | number) << 8 | 2 for number in (3, 4)
)  # QCMD of Q_XGETQUOTA, Q_XSETQLIM with PRJQUOTA


class Membership(NamedTuple):
    """The project of a file or directory."""

    project: int
    inherited: bool
    """Whether all that is made in this directory is of the same one, and nothing of another can be renamed or linked into it."""


class Record(NamedTuple):
    """What a filesystem knows of a project; a limit of 0 is none."""

    most_bytes: int
    most_inodes: int
    bytes: int
    inodes: int


def membership(fd: int) -> Membership:
    """The project of an open file: FS_IOC_FSGETXATTR. Raises OSError, ENOTTY or EOPNOTSUPP, on a filesystem without projects."""
    flags, _, _, project, _, _ = ATTRIBUTES.unpack(fcntl.ioctl(fd, _GET_ATTRIBUTES, bytes(ATTRIBUTES.size)))
    return Membership(project, bool(flags & _INHERITED))


def join(fd: int, project: int) -> None:
    """Make an open, empty directory and all that comes into it part of a project: FS_IOC_FSSETXATTR."""
    found = fcntl.ioctl(fd, _GET_ATTRIBUTES, bytes(ATTRIBUTES.size))
    flags, extent, extents, _, copy_extent, padding = ATTRIBUTES.unpack(found)
    fcntl.ioctl(
        fd, _SET_ATTRIBUTES, ATTRIBUTES.pack(flags | _INHERITED, extent, extents, project, copy_extent, padding)
    )


def record(fd: int, project: int) -> Record | None:
    """What is counted for a project on the filesystem of an open file: Q_XGETQUOTA.

    Raises OSError: ENOSYS where the kernel has no quotas for that filesystem, ESRCH where it is mounted without those of projects.
    """
    found = bytearray(RECORD.size)
    try:
        syscalls.quotactl_fd(fd, _GET_RECORD, project, found)
    except FileNotFoundError:
        return None
    blocks, _, inodes, _, used_blocks, used_inodes = RECORD.unpack(found)[4:10]
    return Record(blocks * _BLOCK, inodes, used_blocks * _BLOCK, used_inodes)


def limit(fd: int, project: int, size: int, inodes: int) -> None:
    """Let a project's files take at most so many bytes of the disk and be so many; 0 takes a limit away: Q_XSETQLIM. Raises as ``record``.

    What is beyond stays; what would go beyond fails with ENOSPC, whoever writes it.
    """
    wanted = RECORD.pack(
        _VERSION, _PROJECT_RECORD, _LIMITS, project, -(-size // _BLOCK), 0, inodes, 0, 0, 0, b"", 0, 0, 0, b""
    )
    syscalls.quotactl_fd(fd, _SET_LIMITS, project, bytearray(wanted))
