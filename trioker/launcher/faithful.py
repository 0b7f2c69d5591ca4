"""What must be the same of a file for its copy to be the same: read, compared and set by name in an open directory, links never followed.

Some calls know no directory descriptor: they are made with the working directory there, so all of this moves it.
"""

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from trioker.launcher.meter import Meter
from trioker.launcher.tar_header import shown
from trioker.launcher.xattrs import travels
from trioker.linux.closing import closing
from trioker.linux.extents import extents

BLOCK = 2**18
_NONE = (errno.ENOTSUP, errno.ENODATA)
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Identity = tuple[int, int]
"""Device and inode."""


def identity(found: os.stat_result) -> Identity:
    """Which file it is, whatever its name."""
    return found.st_dev, found.st_ino


def facts(found: os.stat_result) -> tuple[int, ...]:
    """What stat(2) tells that a copy must share. A directory's size is its filesystem's own affair, as are inodes and other times."""
    size = found.st_size if stat.S_ISREG(found.st_mode) else 0
    device = found.st_rdev if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode) else 0
    return found.st_mode, found.st_uid, found.st_gid, device, size, modified(found)


def modified(found: os.stat_result) -> int:
    """The time to give to a copy, and to compare.

    Where a snapshot's source has a subvolume inside, btrfs shows an empty directory whose time is that of the look (BTRFS_EMPTY_SUBVOL_DIR_OBJECTID).
    """
    one_link = stat.S_ISDIR(found.st_mode) and found.st_nlink == 1  # elsewhere a directory has two
    return 0 if one_link and found.st_ino == 2 else found.st_mtime_ns


def attributes(fd: int, name: str) -> Mapping[str, bytes]:
    """The extended attributes that are the file's own, in the order of their names; all of ``user.``, also what no archive may carry."""
    os.fchdir(fd)
    try:
        found = sorted(os.listxattr(name, follow_symlinks=False))
        own = (each for each in found if each.startswith("user.") or travels(os.fsencode(each)))
        return {each: os.getxattr(name, each, follow_symlinks=False) for each in own}
    except OSError as error:
        if error.errno not in _NONE:
            raise
        return {}


def target(fd: int, name: str, found: os.stat_result) -> str:
    """Where a symbolic link leads; "" for anything else."""
    return os.readlink(name, dir_fd=fd) if stat.S_ISLNK(found.st_mode) else ""


def blocks(fd: int, name: str, meter: Meter) -> Iterator[bytes]:
    """The content of a regular file, piece by piece."""
    with opened(fd, name, _READ) as file:
        while data := os.read(file, BLOCK):
            meter.read(len(data))
            yield data


def copy(old: int, new: int, name: str, found: os.stat_result, meter: Meter) -> None:
    """Make ``name``, no directory, in ``new`` as it is in ``old``."""
    if stat.S_ISREG(found.st_mode):
        with opened(old, name, _READ) as source, opened(new, name, _CREATE) as place:
            _copy_content(source, place, found.st_size, meter)
    elif stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(name, dir_fd=old), name, dir_fd=new)
    else:
        os.mknod(name, stat.S_IFMT(found.st_mode) | 0o600, found.st_rdev, dir_fd=new)
    imitate(old, new, name, found)


def _copy_content(source: int, place: int, size: int, meter: Meter) -> None:
    os.ftruncate(place, size)
    for start, end in extents(source, size):
        for offset in range(start, end, BLOCK):
            data = os.pread(source, min(BLOCK, end - offset), offset)
            meter.read(len(data))
            while data:
                written = os.pwrite(place, data, offset)  # a disk that fills up takes a part first
                data, offset = data[written:], offset + written  # noqa: PLW2901


def imitate(old: int, new: int, name: str, found: os.stat_result) -> None:
    """Give ``name`` in ``new`` the owner, mode, attributes and times it has in ``old``.

    The order matters: a new owner takes set-id bits and file capabilities away, an ACL (which may have been inherited) holds part of the mode, and
    everything changes the time.
    """
    os.chown(name, found.st_uid, found.st_gid, dir_fd=new, follow_symlinks=False)
    wanted, present = attributes(old, name), attributes(new, name)  # which leaves us in ``new``
    for each in present.keys() - wanted.keys():
        os.removexattr(name, each, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        os.chmod(name, stat.S_IMODE(found.st_mode), dir_fd=new)
    for each, value in wanted.items():
        os.setxattr(name, each, value, follow_symlinks=False)
    os.utime(name, ns=(found.st_atime_ns, modified(found)), dir_fd=new, follow_symlinks=False)


def opened(directory: int, name: str, flags: int) -> AbstractContextManager[int]:
    """A file, for the length of a with-block."""
    return closing(os.open(name, flags, 0o600, dir_fd=directory))


@contextmanager
def about(path: str) -> Iterator[None]:
    """Say which entry an error is about."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, shown(os.fsencode(path))) from error
