"""Whether an entry of a tree is still what it was in another: the one rule of ``changes`` for all drivers.

What counts is what a layer can hold of it, not what was done to it: a file that was opened for writing, given the mode it had, or replaced by its
equal is as it was; one that was written under its old date is not.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from trioker.linux.extents import next_data
from trioker.linux.trees import attributes, facts

_BLOCK = 2**18


def differs(now: int, before: int, name: str, old: os.stat_result, new: os.stat_result) -> bool:
    """Whether ``name`` in two open directories differs in anything but contents, ``old`` and ``new`` being its status there.

    A file that got one more name counts: a layer that lacked the first would make a copy of the other.
    """
    return (
        facts(old) != facts(new)
        or (new.st_nlink > old.st_nlink and not stat.S_ISDIR(new.st_mode))
        or attributes(now, name) != attributes(before, name)
        or _target(now, name, new) != _target(before, name, old)
    )


def rewritten(now: int, before: int, name: str, found: os.stat_result) -> bool:
    """Whether a file that looks the same holds other bytes, which are read; ``found`` is its status now, and anything but a file holds none.

    One that vanished or was replaced meanwhile differs, as does one that somebody holds a lease on, who is about to change it.
    """
    if not stat.S_ISREG(found.st_mode):
        return False
    with _regular(before, name) as original, _regular(now, name) as file:
        return original is None or file is None or not _equal(file, original)


@contextmanager
def _regular(directory: int, name: str) -> Iterator[int | None]:
    """The open file; None for what is no regular one, or cannot be read without waiting.

    A container may put a device in its place at any moment, and opening one has consequences; so it is held first, looked at, and opened through
    what is held. Its time of access stays.
    """
    try:
        held = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        yield None
        return
    try:
        if not stat.S_ISREG(os.fstat(held).st_mode):
            yield None
            return
        file = os.open(f"/proc/self/fd/{held}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOATIME | os.O_CLOEXEC)
    except BlockingIOError:  # a container's lease (fcntl(2)): it could have us wait 45 seconds for each of its files
        yield None
        return
    finally:
        os.close(held)
    try:
        yield file
    finally:
        os.close(file)


def _equal(one: int, other: int) -> bool:
    place, size = 0, os.fstat(other).st_size
    if os.fstat(one).st_size != size:
        return False
    while place < size:
        place = min(next_data(one, place, size), next_data(other, place, size))
        if os.pread(one, _BLOCK, place) != os.pread(other, _BLOCK, place):
            return False
        place += _BLOCK
    return True


def _target(fd: int, name: str, found: os.stat_result) -> str:
    if not stat.S_ISLNK(found.st_mode):
        return ""
    try:
        return os.readlink(name, dir_fd=fd)
    except OSError:  # replaced since
        return ""
