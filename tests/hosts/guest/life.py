"""Containers and what they outlive."""

import os
import signal
from pathlib import Path
from typing import Any

from daemon import processes
from host import daemon
from network import HELLO, PORT, SERVE, asked
from numbered import CODE, UNTIL_TOLD, VOLUME, check_numbers, check_row, log_size, tell_to_stop, told_directory
from polling import wait_until

PRINTED = 5000


def daemons_death(*, say: Any) -> None:
    """``kill -9`` of the daemon: one container lives on, one ends; the next daemon knows both, and all they printed."""
    here = daemon()
    lives, ends = _printing(), _printing()
    before = here.api.inspect(lives)["State"]
    pid, told = here.api.inspect(ends)["State"]["Pid"], told_directory(here, ends)
    here.kill()
    (told / "stop").touch()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the end of a container")
    size = log_size(here, lives)
    wait_until(lambda: log_size(here, lives) > size, "output in the log")
    here.start()
    assert here.api.inspect(lives)["State"] == before
    tell_to_stop(here, lives)
    for each in (ends, lives):
        assert here.api.wait(each) == CODE
        check_numbers(here.api.logs(each))
        here.api.remove(each)


def a_spare_monitors_death(*, say: Any) -> None:
    """A monitor that waits for its container is killed: another is there for the next one."""
    here = daemon()
    named = {pid for pid, name in processes(here).items() if name == "trioker-monitor"}
    assert len(named) == 1, processes(here)
    os.kill(named.pop(), signal.SIGKILL)
    assert here.api.run("echo", "hello") == (0, b"hello\n")


def _printing() -> str:
    """A container that prints 0, 1, 2 ... until it is told to stop, then LAST; not as fast as it can, which takes long to be read."""
    api = daemon().api
    script = UNTIL_TOLD.replace("; done;", "; sleep 0.1; done;")
    container = api.create("sh", "-c", script, Volumes=VOLUME)
    api.start(container)
    wait_until(lambda: api.logs(container), "output")
    return container


def leave_running(*, say: Any) -> list[str]:
    """Containers that nobody stops: one serves on PORT for ever, one ignores what it is told. They have printed PRINTED lines."""
    here = daemon()
    scripts = {
        f"seq 1 {PRINTED}; exec {SERVE}": [f"{PORT}:80"],
        f"trap '' TERM; seq 1 {PRINTED}; while :; do sleep 1; done": [],
    }
    containers = [here.api.create("sh", "-c", each, PortSpecs=ports) for each, ports in scripts.items()]
    for each in containers:
        here.api.start(each)
        wait_until(lambda each=each: check_row(here.api.logs(each), first=1) == PRINTED, "its output")
    return containers


def found_ended(containers: list[str], output: str, *, say: Any) -> None:
    """After a reboot: they have ended, and can be started again, on the network too. Of their output there is ``all`` or, where the power was
    cut, ``some``."""
    api = daemon().api
    for each in containers:
        state = api.inspect(each)["State"]
        assert (state["Running"], state["Pid"]) == (False, 0), state
        printed = check_row(api.logs(each), first=1)
        assert printed == PRINTED or output == "some", printed
        api.start(each)
        assert api.inspect(each)["State"]["Running"]
    assert asked("127.0.0.1", PORT) == HELLO
    for each in containers:
        api.remove(each)
