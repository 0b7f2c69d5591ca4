"""Run something in a child process that may lose its rights, its cgroup and its life there."""

import json
import os
import signal
import traceback
from collections.abc import Callable

DEADLINE = 240  # seconds, far more than any needs on a busy machine; SIGALRM ends a child that hangs


def in_child(function: Callable[[], object]) -> object:
    """The function's result, by JSON; AssertionError with the traceback, or with the signal that ended it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _run(function, writer)
    os.close(writer)
    with open(reader, encoding="utf-8") as file:
        answer = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, answer or f"ended with {status}"
    return json.loads(answer)


def _run(function: Callable[[], object], writer: int) -> None:
    code = 1
    try:
        signal.alarm(DEADLINE)
        os.write(writer, json.dumps(function()).encode())
        code = 0
    except BaseException:  # noqa: BLE001 - the parent's test run must not go on in here
        os.write(writer, traceback.format_exc().encode())
    finally:
        os._exit(code)
