"""Run something in a child process that may lose its rights, its cgroup and its life there."""

import json
import os
import traceback
from collections.abc import Callable

from polling import deadline

from trioker.linux.forked import in_fork

DEADLINE = 240
"""Seconds, far more than any needs on a busy machine. Then the child is interrupted, and its with-blocks end what they have started."""
GRACE = 60
"""Seconds for that. Then the child is killed, as is its session's first group: daemons among them."""
_LONGEST = 60_000
"""Bytes of an answer: a pipe holds them until the child has ended."""


def in_child(function: Callable[[], object]) -> object:
    """The function's result, by JSON; AssertionError with the traceback, or with the signal that ended it."""

    def run(writing: int) -> None:
        try:
            with deadline(DEADLINE):
                answer = json.dumps(function()).encode()
        except BaseException:
            os.write(writing, traceback.format_exc().encode()[-_LONGEST:])
            raise
        assert os.write(writing, answer) == len(answer) <= _LONGEST

    ended = in_fork(run, DEADLINE + GRACE)
    said = (ended.said or b"").decode()
    assert ended.status == 0, said or f"ended with {ended.status}"
    return json.loads(said)
