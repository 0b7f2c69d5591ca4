"""Limits by projects of xfs (mounted with ``prjquota``): each layer is one, a layer that is mounted writable is a limited one.

A project has a number and nothing else, so the filesystem's own records say which are free: nothing is kept here that a restart could lose. A
layer's number lies on its directory before there is anything in it, and everything made below inherits it. No process in a container can
change that: the launcher's filter denies the two requests (``trioker.linux.seccomp``), for the kernel would let every owner of a file.
"""

import errno
import os
from contextlib import AbstractContextManager, suppress
from itertools import chain
from threading import Lock

from trioker.linux import projects, trees
from trioker.linux.closing import closing

NUMBERS = range(int.from_bytes(b"tr") << 16, int.from_bytes(b"ts") << 16)
"""Of our projects. Far from those that dockerd (from 1 up), the kubelet (from 2**20 up) and people in /etc/projid take; close together, because
the filesystem's table of them grows with the number of places in use and never shrinks."""

_INODE = 512
"""Bytes of the disk for an inode, which no project is charged for. As many inodes as fit into the limit are the limit of inodes: a container of
empty files takes no more than one full of data."""

_SLACK = 2**20
"""Bytes more for a layer that is mounted when it is full: overlayfs makes a directory at each mount, and where it cannot, it mounts read-only and
nobody can make room. Filled once more, a layer is mounted so."""

NO_QUOTAS = (errno.ENOSYS, errno.ESRCH)
"""The filesystem does not count, or not any more (xfs_quota off)."""


class Projects:
    """Those of one directory's layers. Other processes may give out the same numbers on the same filesystem."""

    def __init__(self, root: str, size: int) -> None:
        """``size`` is how many bytes a limited layer may hold; 0 is no limit, and new layers are no projects."""
        self._size = size
        self._counted = _counts(root)
        self._lock = Lock()
        self._returned: list[int] = []  # used again first
        self._fresh = iter(NUMBERS)

    def give(self, home: str) -> None:
        """Make an empty directory a project."""
        if not self._size:
            return
        with self._lock, opened(home) as fd:
            number = next((each for each in chain(self._returned, self._fresh) if _claimed(fd, each)), 0)
            if not number:
                raise OSError(
                    errno.ENOSPC, f"the filesystem has a project of each number from {NUMBERS[0]} to {NUMBERS[-1]}"
                )
            if number in self._returned:
                self._returned.remove(number)

    def limit(self, home: str) -> None:
        """Hold a project to the size; a layer that was made when none was wanted is none."""
        if self._size:
            with opened(home) as fd:
                if number := _number(fd):
                    projects.limit(fd, number, *self._room(projects.record(fd, number)))

    def _room(self, record: projects.Record | None) -> tuple[int, int]:
        """The most bytes and inodes."""
        used = record.bytes if record else 0
        size = self._size + (_SLACK if used + _SLACK > self._size else 0)
        return size, -(-size // _INODE)

    def free(self, home: str) -> int:
        """Take the limit away until the next ``limit``. Returns the number; 0 for what is no project of ours, or not there."""
        if self._counted:
            with suppress(FileNotFoundError), opened(home) as fd:
                if number := _number(fd):
                    _unlimit(fd, number)
                    return number
        return 0

    def release(self, home: str) -> None:
        """Take the limit away before the directory goes: the filesystem keeps no record of a project without files and limits."""
        if number := self.free(home):
            with self._lock:
                self._returned.append(number)

    def sweep(self, root: str) -> None:
        """Release what was on its way out when a process died."""
        for name in os.listdir(root):
            if name.startswith(trees.REMOVING):
                self.release(os.path.join(root, name))


def _counts(root: str) -> bool:
    """Whether the filesystem there counts projects; where it does not, asking each layer for its own would be in vain."""
    try:
        with opened(root) as fd:
            projects.record(fd, NUMBERS[0])
    except OSError:
        return False
    return True


def _claimed(fd: int, number: int) -> bool:
    """Whether an open, empty directory is the number's only inode now: another process may have tried the same at the same moment.

    A number that came back is still in use until the kernel has freed the last file in the background.
    """
    if projects.record(fd, number):
        return False
    projects.join(fd, number)
    record = projects.record(fd, number)
    if record and record.inodes == 1:
        return True
    projects.join(fd, 0)
    return False


def _number(fd: int) -> int:
    """The project of an open directory if it is one of ours, else 0."""
    number = projects.membership(fd).project
    return number if number in NUMBERS else 0


def _unlimit(fd: int, number: int) -> None:
    try:
        projects.limit(fd, number, 0, 0)
    except OSError as error:
        if error.errno not in NO_QUOTAS:
            raise


def opened(path: str) -> AbstractContextManager[int]:
    """A descriptor of a directory, for a while. Raises FileNotFoundError."""
    return closing(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
