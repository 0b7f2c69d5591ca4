"""Calls into code that may never come back: in a thread that is left behind, or in a process that is killed."""

import os
import select
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

_MOST = 4096
"""Bytes of a child's answer: a pipe takes them at once, while nobody reads yet."""


def within(seconds: float, work: Callable[[], T]) -> T:
    """Call ``work`` in a thread of its own. Raises TimeoutError where it does not come back, whatever it raises where it does.

    The thread stays behind then; it keeps no process from ending.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001  raised again below, in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=run, name="deadline", daemon=True)
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not outcome:
        raise TimeoutError(f"no answer within {seconds:g} seconds")
    return outcome[0]


def in_child(seconds: float, work: Callable[[], str]) -> str:
    """Call ``work`` in a forked process without standard streams; returns its text.

    So whatever ``work`` does to its process (ends it, prints, changes modules), ours is as before. For a process without threads of
    importance. Raises ChildProcessError where the child dies, TimeoutError where it has to be killed.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads: the child calls nothing that waits for one
        pid = os.fork()
    if not pid:
        os.close(reading)
        _be_child(work, writing)
    os.close(writing)
    try:
        _wait(pid, seconds)
        os.set_blocking(reading, False)  # a process it started may hold the other end
        return os.read(reading, _MOST).decode(errors="replace")
    except BlockingIOError:
        return ""
    finally:
        os.close(reading)


def _be_child(work: Callable[[], str], writing: int) -> None:
    status = 1
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        sys.stdout = sys.stderr = os.fdopen(nothing, "w")
        text = work()
        os.write(writing, text.encode(errors="replace")[:_MOST])
        status = 0
    finally:
        os._exit(status)


def _wait(pid: int, seconds: float) -> None:
    pidfd = os.pidfd_open(pid)
    try:
        hangs = not select.select([pidfd], [], [], seconds)[0]
    finally:
        os.close(pidfd)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # and whatever it started
        os.kill(pid, signal.SIGKILL)  # it may have no group of its own yet
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if hangs:
        raise TimeoutError(f"no answer within {seconds:g} seconds")
    if status:
        raise ChildProcessError(f"it ended the process, status {status}")
