"""The places every container needs, put into bottom layers.

A container's own /proc, /dev and /etc/hosts are mounted over something. Were that made in the container's layer, each container would
pay for it and ``changes`` would show what nobody changed; so an imported tree gets it once, and is otherwise left as it came.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DIRECTORIES = ("dev", "proc", "sys", "etc")
FILES = ("hostname", "hosts", "resolv.conf")
"""In /etc."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def add_mount_points(root: Path) -> None:
    """Make what is missing, by descriptor: what is there stays, whatever it is, and is not followed."""
    with _kept(os.open(root, _DIRECTORY)) as top:
        for name in DIRECTORIES:
            with suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=top)
        try:
            etc = os.open("etc", _DIRECTORY, dir_fd=top)
        except NotADirectoryError:  # a symlink, perhaps to the host's: the launcher says what it thinks of that
            return
        with _kept(etc):
            for name in FILES:
                with suppress(FileExistsError):
                    os.close(os.open(name, _CREATE, 0o644, dir_fd=etc))


@contextmanager
def _kept(fd: int) -> Iterator[int]:
    """Close the directory afterwards, and give it the times back that it had."""
    try:
        before = os.fstat(fd)
        yield fd
        if os.fstat(fd).st_mtime_ns != before.st_mtime_ns:
            os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
    finally:
        os.close(fd)
