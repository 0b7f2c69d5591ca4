"""The files of a run directory, written relative to it: a process of the launcher works in its container's run directory.

Relative because a socket's path is limited to 107 bytes, and exec roots may be deep.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

SOCKET = "monitor.sock"
_RUNNING = "running.json"
_EXIT = "exit.json"


class Exit(NamedTuple):
    """How a container ended, or why it could not start."""

    code: int
    finished_ns: int
    oom_killed: bool = False
    error: str = ""


def record_running(pid: int, pid_start: int, cgroups: tuple[str, ...]) -> None:
    """Write down what must be ended and removed, should the monitor not live to do it. Raises OSError."""
    _write(_RUNNING, {"pid": pid, "pid_start": pid_start, "cgroups": cgroups})


def record_exit(end: Exit) -> None:
    """Write down the end. Raises OSError."""
    _write(_EXIT, end._asdict())


def clear() -> None:
    """Remove what only a running container has. Last of all: ``running.json`` names what may still have to be removed."""
    for name in (SOCKET, _RUNNING):
        with suppress(OSError):
            os.unlink(name)


def _write(name: str, value: Mapping[str, object]) -> None:
    """Write a file that is there whole or not at all. Not synced: a run directory is worth nothing after a power cut."""
    with open(f"{name}.new", "w", encoding="utf-8") as file:
        json.dump(value, file)
    os.rename(f"{name}.new", name)
