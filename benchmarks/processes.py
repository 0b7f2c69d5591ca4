"""Daemons of ours: started, awaited, stopped; and work that ends."""

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

READY_SECONDS = 60
STOP_SECONDS = 30
PERIOD = 0.05


@contextlib.contextmanager
def running(
    command: Sequence[str], answers: Callable[[], object], log: Path, environment: Mapping[str, str] | None = None
) -> "Iterator[subprocess.Popen[bytes]]":
    """A daemon from when ``answers`` raises no OSError any more; told to end at the end.

    ``environment`` comes on top of ours. SystemExit with the end of its log if it ends early or takes longer than ``READY_SECONDS``.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=os.environ | (environment or {})
        )
    try:
        if not _becomes_ready(process, answers):
            end = log.read_text(errors="replace")[-2000:]
            raise SystemExit(f"{shlex.join(command)} does not answer. Its log:\n{end}")
        yield process
    finally:
        _stop(process)


@contextlib.contextmanager
def limited(seconds: float, what: str) -> Iterator[None]:
    """SystemExit that names ``what`` where the block takes longer. In the main thread only."""

    def give_up(*_: object) -> NoReturn:
        raise SystemExit(f"{what} did not end within {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _becomes_ready(process: "subprocess.Popen[bytes]", answers: Callable[[], object]) -> bool:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            answers()
            return True
        time.sleep(PERIOD)
    return False


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
