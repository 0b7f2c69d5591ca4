"""Files on their way to the disk while others are still being made, so that the sync at the end finds little left to do.

By a process of its own: syncfs(2) waits for the disk. It ends with the process that made it.
"""

import os
import signal
from contextlib import suppress
from typing import NoReturn

from trioker.launcher import confine, process
from trioker.launcher.failure import describe
from trioker.linux import seccomp, syscalls
from trioker.linux.sync import sync_filesystem

_FIRST, _STEP = 2**24, 2**26
"""Bytes until the first sync and between two: each also writes metadata, some of it again, and holds up who makes files meanwhile."""

_CALLS = "close exit exit_group futex read rt_sigreturn syncfs write"


class WriteBack:
    """The disk that ``root`` lies on."""

    def __init__(self, root: str) -> None:
        disk = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        orders, self._orders = os.pipe()
        self._answer, answer = os.pipe()
        if os.fork() == 0:
            _be_the_process(root, disk, orders, answer)
        for each in (disk, orders, answer):
            os.close(each)
        self._waiting = _STEP - _FIRST

    def add(self, size: int) -> None:
        """So many bytes more are on their way."""
        self._waiting += size
        if self._waiting >= _STEP:
            self._waiting = 0
            with suppress(BrokenPipeError):  # it has failed, which ``finish`` tells
                os.write(self._orders, b"\0")

    def finish(self) -> None:
        """Wait for what was begun. Raises OSError where the disk failed: the kernel tells that once, so whoever syncs next would not hear it."""
        os.close(self._orders)
        if failure := os.read(self._answer, 1024):
            raise OSError(failure.decode())


def _be_the_process(root: str, disk: int, orders: int, answer: int) -> NoReturn:
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        process.close_all_but({disk, orders, answer})
        confine.confine(root, ())
        seccomp.allow_only(_CALLS.split())
        while os.read(orders, 1024):
            sync_filesystem(disk)
    except OSError as error:
        os.write(answer, describe(error).encode())
    finally:
        os._exit(0)
