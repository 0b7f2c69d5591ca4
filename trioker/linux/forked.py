"""Work in a forked process that is killed when it hangs."""

import os
import select
import signal
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

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


def in_fork(work: Callable[[int], None], seconds: float) -> Ended:
    """Call ``work`` with the descriptor of a pipe in a forked process, and leave with 0 if it returns, with 1 if it raises.

    After ``seconds``, or when it has ended, it and whatever is in its session's first group is killed. For a process without threads of
    importance: the child has none of them.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads: the child calls nothing that waits for one
        pid = os.fork()
    if not pid:
        os.close(reading)
        _be_child(work, writing)
    os.close(writing)
    try:
        status, hung = _wait(pid, seconds)
        return Ended(status, hung, _heard(reading))
    finally:
        os.close(reading)


def _be_child(work: Callable[[int], None], writing: int) -> None:
    status = 1
    try:
        os.setsid()
        work(writing)
        status = 0
    finally:
        os._exit(status)


def _wait(pid: int, seconds: float) -> tuple[int, bool]:
    pidfd = os.pidfd_open(pid)
    try:
        hung = not select.select([pidfd], [], [], seconds)[0]
    finally:
        os.close(pidfd)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # and whatever it started
        os.kill(pid, signal.SIGKILL)  # it may have no group of its own yet
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status, hung


def _heard(reading: int) -> bytes | None:
    os.set_blocking(reading, False)
    try:
        return os.read(reading, _MOST)
    except BlockingIOError:
        return None
