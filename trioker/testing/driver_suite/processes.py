"""Processes that die at a chosen instruction, and processes that are killed when they hang."""

import itertools
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from trioker.linux.forked import in_fork

_SECONDS = 60.0
_CALLS = ("os.", "open", "fcntl.", "ctypes.", "shutil.", "sqlite3.", "subprocess.", "socket.")
"""The audit events (docs.python.org/3/library/audit_events.html) that stand for a call of the kernel, or begin some."""


class Outcome(NamedTuple):
    """How a child process ended."""

    status: int
    """As waitstatus_to_exitcode tells it: negative for a signal."""
    said: str
    """What it wrote; of a failure the traceback's last line."""


def in_child(work: Callable[[Callable[[str], None]], None], seconds: float = _SECONDS) -> Outcome:
    """Run ``work`` in a forked process, which ``work`` can let speak through its argument; killed after ``seconds``.

    Raises AssertionError where it had to be killed.
    """
    ended = in_fork(partial(_work_and_explain, work), seconds)
    if ended.hung or ended.said is None:
        raise AssertionError(f"it hangs: killed after {seconds:g} seconds")
    return Outcome(ended.status, ended.said.decode(errors="surrogateescape"))


def _work_and_explain(work: Callable[[Callable[[str], None]], None], writing: int) -> None:
    try:
        work(lambda text: _tell(writing, text))
    except BaseException as error:
        _tell(writing, explain(error))
        raise


def _tell(fd: int, text: str) -> None:
    os.write(fd, text.encode(errors="surrogateescape")[:4000])  # less than a pipe holds: nobody reads yet


def explain(error: BaseException) -> str:
    """One line: a failed assertion's text, or the assertion itself, or the error; and where."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    text = str(error) or where.line or ""
    what = text if isinstance(error, AssertionError) else f"{type(error).__name__}: {text}"
    return f"{' '.join(what.splitlines())} ({os.path.basename(where.filename)}:{where.lineno})"


def die_at_call(number: int, tell: Callable[[str], None]) -> None:
    """From now on count this process's calls of the kernel, as far as Python audits them, and die before the ``number``-th (from 1).

    Nothing is cleaned up then, as by ``kill -9``. Belongs in a child: an audit hook cannot be taken away.
    """
    calls = itertools.count(1)
    told = threading.Lock()

    def hook(event: str, _arguments: object) -> None:
        if event.startswith(_CALLS) and next(calls) == number and told.acquire(blocking=False):
            tell(event)
            die()

    sys.addaudithook(hook)


def die() -> None:
    """End this process as ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)
