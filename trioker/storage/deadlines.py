"""Calls into code that may never come back: in a thread that is left behind, or in a process that is killed."""

import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from trioker.linux.forked import in_fork
from trioker.storage.surroundings import own_directory_and_umask, without_copies

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
            with without_copies(), own_directory_and_umask():
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
    sys.stdout.flush()
    ended = in_fork(partial(_say, work), seconds)
    if ended.hung:
        raise TimeoutError(f"no answer within {seconds:g} seconds")
    if ended.status:
        raise ChildProcessError(f"it ended the process, status {ended.status}")
    return (ended.said or b"").decode(errors="replace")


def _say(work: Callable[[], str], writing: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    sys.stdout = sys.stderr = os.fdopen(nothing, "w")
    os.write(writing, work().encode(errors="replace")[:_MOST])
