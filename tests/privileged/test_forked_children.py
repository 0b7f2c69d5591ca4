"""What the other tests run their children with."""

import os
import signal
import subprocess
import time

import forked
import pytest
from busybox import BUSYBOX, busybox_tar
from daemon import Daemon, processes, running_daemon
from polling import wait_until

from trioker.linux.syscalls import CLONE_NEWNET, unshare

pytestmark = pytest.mark.root


def sleeper(tmp_path):
    """A program that outlives whoever started it; its pid is in a file."""
    process = subprocess.Popen([BUSYBOX, "sleep", "1000"])
    (tmp_path / "pid").write_text(str(process.pid))


def gone(tmp_path):
    pid = int((tmp_path / "pid").read_text())
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat", "rb") as file:  # killed, but nobody reaps here
        return file.read().rpartition(b")")[2].split()[0] == b"Z"


def test_the_answer_comes_back():
    assert forked.in_child(lambda: {"pid": [1, None, "x"]}) == {"pid": [1, None, "x"]}


def test_a_failure_comes_back_with_its_traceback():
    with pytest.raises(AssertionError, match=r"(?s)Traceback.*ZeroDivisionError"):
        forked.in_child(lambda: 1 // 0)


def test_what_a_killed_child_has_started_dies_with_it(tmp_path):
    def die():
        sleeper(tmp_path)
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(AssertionError, match="ended with -9"):
        forked.in_child(die)
    wait_until(lambda: gone(tmp_path), "the sleeper's end")


def test_what_a_child_that_will_not_be_interrupted_has_started_dies_with_it(tmp_path, monkeypatch):
    def hang():
        sleeper(tmp_path)
        while True:
            try:
                time.sleep(1000)
            except AssertionError:
                pass

    monkeypatch.setattr(forked, "DEADLINE", 1)
    monkeypatch.setattr(forked, "GRACE", 1)
    with pytest.raises(AssertionError, match="ended with -9"):
        forked.in_child(hang)
    wait_until(lambda: gone(tmp_path), "the sleeper's end")


def test_a_daemon_and_its_containers_end_with_a_child_that_hangs(pyz, tmp_path, monkeypatch):
    def hang():
        unshare(CLONE_NEWNET)
        with running_daemon(pyz, tmp_path) as daemon:
            daemon.api.import_image(busybox_tar(), "base")
            daemon.api.start(daemon.api.create("sleep", "1000"))
            signal.pause()

    monkeypatch.setattr(forked, "DEADLINE", 3)
    with pytest.raises(AssertionError, match="not done within 3 s"):
        forked.in_child(hang)
    assert not processes(Daemon(pyz, tmp_path))
