"""Calls into code that may never come back: in a thread that is left behind, or in a process that is killed."""

import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from functools import partial
from itertools import islice
from typing import TypeVar

from trioker.linux.forked import Ended, Forked
from trioker.linux.stopping import let_through
from trioker.storage.surroundings import own_directory_and_umask, without_copies

T = TypeVar("T")

AT_ONCE = 16
"""Children that run at the same time."""

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


Answer = str | TimeoutError | ChildProcessError
"""A child's text; TimeoutError where it had to be killed, ChildProcessError where it died."""


def in_children(
    seconds: float, works: Iterable[Callable[[], str]], stop: int | None = None
) -> Generator[Answer, None, None]:
    """Call each of ``works`` in a forked process without standard streams, all at the same time; their answers in order, each as soon as it is known.

    So whatever one does to its process (ends it, prints, changes modules), ours is as before. For a process without threads of importance. There
    are no more answers once the descriptor ``stop`` is readable. To be closed: what still runs is killed then.
    """
    waiting, stops = iter(works), [] if stop is None else [stop]
    running: deque[tuple[Forked, float]] = deque()

    def start(most: int) -> None:
        for work in islice(waiting, most):
            running.append((Forked(partial(_say, work)), time.monotonic() + seconds))

    try:
        start(AT_ONCE)
        while running:
            child, end = running[0]
            select.select([child.fileno(), *stops], [], [], max(0, end - time.monotonic()))
            if select.select(stops, [], [], 0)[0]:
                return
            answer = _answer(running.popleft()[0].end(), seconds)
            start(1)
            yield answer
    finally:
        for child, _ in running:
            child.end()


def _say(work: Callable[[], str], writing: int) -> None:
    let_through()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    sys.stdout = sys.stderr = os.fdopen(nothing, "w")
    os.write(writing, work().encode(errors="replace")[:_MOST])


def _answer(ended: Ended, seconds: float) -> Answer:
    if ended.hung:
        return TimeoutError(f"no answer within {seconds:g} seconds")
    if ended.status:
        return ChildProcessError(f"it ended the process, status {ended.status}")
    return (ended.said or b"").decode(errors="replace")
