"""Waiting for what comes by itself, never longer than a deadline."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import NoReturn, TypeVar

T = TypeVar("T")

PATIENCE = float(os.environ.get("TESTS_PATIENCE", "60"))
"""Seconds for anything a daemon does: far more than it needs, so that only a hang runs into it, on a busy machine too."""
_INTERVAL = 0.01


def wait_until(condition: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """The first true value of ``condition``. Raises AssertionError naming ``what`` did not come."""
    deadline = time.monotonic() + patience
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience:g} s: {what}")
        time.sleep(_INTERVAL)
    return value


@contextlib.contextmanager
def deadline(seconds: int) -> Iterator[None]:
    """Raises AssertionError in the midst of whatever hangs that long; in the main thread only."""

    def give_up(*_: object) -> NoReturn:
        raise AssertionError(f"not done within {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
