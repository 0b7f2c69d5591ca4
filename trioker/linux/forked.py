"""Work in a forked process that is killed when it hangs."""

import os
import select
import signal
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from trioker.linux import syscalls

_MOST = 65536
"""Bytes of what a child says: a pipe takes them at once, while nobody reads yet."""


class Ended(NamedTuple):
    """How the child ended."""

    status: int
    """As waitstatus_to_exitcode tells it: negative for a signal."""
    hung: bool
    """Whether it had to be killed."""
    said: bytes | None
    """None where it said nothing and a process it started, in a session of that one's own, may still."""


class Forked:
    """``work``, called with the descriptor of a pipe in a forked process, which leaves with 0 if it returns, with 1 if it raises.

    ``fileno()`` is readable when the process has ended; ``end()`` is to be called in any case. For a process without threads of importance: the
    child has none of them. The kernel kills the child when the thread that made it is gone.
    """

    def __init__(self, work: Callable[[int], None]) -> None:
        self._reading, writing = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads: the child calls nothing that waits for one
            self._pid = os.fork()
        if not self._pid:
            _be_child(work, writing)
        os.close(writing)
        self._pidfd = os.pidfd_open(self._pid)

    def fileno(self) -> int:
        """Its pidfd."""
        return self._pidfd

    def end(self) -> Ended:
        """Kill it if it runs still, and whatever is in its session's first group."""
        hung = not select.select([self], [], [], 0)[0]
        with suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        os.kill(self._pid, signal.SIGKILL)  # it may have no group of its own yet
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        os.close(self._pidfd)
        return Ended(status, hung, _heard(self._reading))


def in_fork(work: Callable[[int], None], seconds: float) -> Ended:
    """Call ``work`` in a forked process, as ``Forked`` does, which has so many seconds."""
    child = Forked(work)
    try:
        select.select([child], [], [], seconds)
    finally:
        ended = child.end()
    return ended


def _be_child(work: Callable[[int], None], writing: int) -> None:
    status = 1
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        work(writing)
        status = 0
    finally:
        os._exit(status)


def _heard(reading: int) -> bytes | None:
    os.set_blocking(reading, False)
    try:
        return os.read(reading, _MOST)
    except BlockingIOError:
        return None
    finally:
        os.close(reading)
