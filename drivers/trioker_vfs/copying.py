"""Copying a tree as it is: names, links, owners, modes, attributes, times, holes and devices.

Two traps set the order of things. A chown clears set-user-ID bits and file capabilities, so it comes before both; and everything done inside
a directory changes its times, so a directory gets its own only when it is left.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Generator
from typing import Any

from trioker.linux.closing import closing
from trioker.linux.extents import extents
from trioker.linux.trees import Cursor, names, status, unroll

_FICLONE = 0x40049409
"""_IOW(0x94, 9, int): let the new file share the old one's extents (ioctl_ficlone(2))."""

_SMALL = 2**16
"""Bytes up to which a file is copied sooner than it is found out whether it can be shared."""

_BLOCK = 512
"""What st_blocks counts in (stat(2))."""

_CHUNK = 2**30
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def copy_tree(source: str, target: str, links: str) -> None:
    """Copy the directory ``source``, which nobody changes, to ``target``, which is made.

    ``links`` is an empty directory on the same filesystem. A file with several names is given one more there when it is first met, by which
    its other names find it however long their paths are; the caller removes the directory.
    """
    os.mkdir(target, 0o700)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    with closing(os.open(links, flags)) as stash, Cursor(source) as old, Cursor(target) as new:
        for _ in unroll(_copy_directory(old, new, stash)):
            pass


def _copy_directory(old: Cursor, new: Cursor, stash: int) -> Generator[Generator[Any, None, None], None, None]:
    for name in names(old.fd):
        found = os.stat(name, dir_fd=old.fd, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode):
            _copy_entry(old.fd, new.fd, name, found, stash)
            continue
        os.mkdir(name, 0o700, dir_fd=new.fd)
        if old.enter(name) and new.enter(name):
            yield _copy_directory(old, new, stash)
            old.leave()
            new.leave()
    _imitate_open(old.fd, new.fd, os.fstat(old.fd))


def _copy_entry(old: int, new: int, name: str, found: os.stat_result, stash: int) -> None:
    """Copy anything but a directory."""
    inode = f"{found.st_dev}-{found.st_ino}"
    if found.st_nlink > 1 and status(stash, inode) is not None:
        os.link(inode, name, src_dir_fd=stash, dst_dir_fd=new, follow_symlinks=False)
        return
    if stat.S_ISREG(found.st_mode):
        _copy_file(old, new, name, found)
    else:
        _copy_special(old, new, name, found)
    if found.st_nlink > 1:
        os.link(name, inode, src_dir_fd=new, dst_dir_fd=stash, follow_symlinks=False)


def _copy_file(old: int, new: int, name: str, found: os.stat_result) -> None:
    source = os.open(name, _READ, dir_fd=old)
    try:
        target = os.open(name, _CREATE, 0o600, dir_fd=new)
        try:
            _copy_content(source, target, found)
            _imitate_open(source, target, found)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _copy_content(source: int, target: int, found: os.stat_result) -> None:
    if found.st_size > _SMALL and _share(source, target):
        return
    if found.st_blocks * _BLOCK >= found.st_size:  # it has no holes to look for
        _copy_range(source, target, 0, found.st_size)
        return
    os.ftruncate(target, found.st_size)
    for start, end in extents(source, found.st_size):
        _copy_range(source, target, start, end)


def _share(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:  # ext4 and many others cannot share extents
        return False
    return True


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        copied = os.copy_file_range(source, target, min(end - start, _CHUNK), start, start)
        if not copied:
            raise OSError(errno.EIO, "a file of a layer is shorter than its size says")
        start += copied


def _copy_special(old: int, new: int, name: str, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(name, dir_fd=old), name, dir_fd=new)
    else:
        os.mknod(name, stat.S_IFMT(found.st_mode) | 0o600, found.st_rdev, dir_fd=new)
    os.chown(name, found.st_uid, found.st_gid, dir_fd=new, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        os.chmod(name, stat.S_IMODE(found.st_mode), dir_fd=new)
    # Neither can be opened without consequences; through /proc the last component is still not followed.
    _copy_attributes(f"/proc/self/fd/{old}/{name}", f"/proc/self/fd/{new}/{name}", follow_symlinks=False)
    os.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=new, follow_symlinks=False)


def _imitate_open(old: int, new: int, found: os.stat_result) -> None:
    os.fchown(new, found.st_uid, found.st_gid)
    os.fchmod(new, stat.S_IMODE(found.st_mode))
    _copy_attributes(old, new)
    os.utime(new, ns=(found.st_atime_ns, found.st_mtime_ns))


def _copy_attributes(old: str | int, new: str | int, *, follow_symlinks: bool = True) -> None:
    for name in os.listxattr(old, follow_symlinks=follow_symlinks):
        os.setxattr(new, name, os.getxattr(old, name, follow_symlinks=follow_symlinks), follow_symlinks=follow_symlinks)
