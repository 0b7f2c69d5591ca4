"""Calls that may never come back."""

import os
import sys
import threading
import time

import pytest

from trioker.storage.deadlines import in_child, within


def test_a_call_answers_and_raises_as_without_a_deadline():
    assert within(60, lambda: 5) == 5
    assert within(60, lambda: None) is None
    with pytest.raises(SystemExit):
        within(60, lambda: sys.exit("out"))


def test_a_call_that_hangs_is_left_behind():
    gate = threading.Event()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.05 seconds"):
        within(0.05, gate.wait)
    gate.set()


def test_a_child_answers():
    assert in_child(60, lambda: f"{os.getpid() != 0} \udcff") == "True ?"


def test_a_child_s_work_changes_nothing_here(capfd):
    def work():
        print("noise")
        os.write(2, b"noise")
        sys.path.append("/nowhere")
        return ""

    assert in_child(60, work) == ""
    assert capfd.readouterr() == ("", "")
    assert "/nowhere" not in sys.path


def test_a_child_that_ends_is_told():
    with pytest.raises(ChildProcessError, match="it ended the process, status 7"):
        in_child(60, lambda: os._exit(7))
    with pytest.raises(ChildProcessError, match="status 1"):
        in_child(60, lambda: sys.exit("out"))


def test_a_child_that_hangs_is_killed_with_all_it_started():
    reading, writing = os.pipe()

    def work():
        os.close(reading)
        os.fork()
        time.sleep(600)
        return ""

    with pytest.raises(TimeoutError, match=r"no answer within 0\.5 seconds"):
        in_child(0.5, work)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        assert file.read() == b""  # nobody has the other end
