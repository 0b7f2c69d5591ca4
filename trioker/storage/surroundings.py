"""What a stranger's code may change of its process by mistake, and what keeps that from the rest of it.

Not a wall: a driver is root's own code. These are the mistakes that would show elsewhere, or much later.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from trioker.linux import syscalls

_FORKED = 70
"""The exit status of a copy of us that nobody wanted: EX_SOFTWARE of sysexits.h."""


@contextmanager
def own_directory_and_umask() -> Iterator[None]:
    """A working directory and a umask of this thread's own, both as before afterwards.

    Otherwise they are the process's: a umask of zero would have the daemon make files that everybody may write.
    """
    syscalls.unshare(syscalls.CLONE_FS)
    directory, mask = os.open(".", os.O_PATH | os.O_CLOEXEC), os.umask(0o077)
    os.umask(mask)
    try:
        yield
    finally:
        os.umask(mask)
        os.fchdir(directory)
        os.close(directory)


@contextmanager
def without_copies() -> Iterator[None]:
    """End the process here if it is not the one that began the block: a child that somebody forked and forgot to end."""
    process = os.getpid()
    try:
        yield
    finally:
        if os.getpid() != process:
            os._exit(_FORKED)


def fill_standard_streams() -> None:
    """Have 0 to 2 open: what is opened next would get the number of one that was closed, and what is printed to the log go there."""
    fd = os.open(os.devnull, os.O_RDWR)
    while fd <= 2:
        fd = os.dup(fd)
    os.close(fd)
