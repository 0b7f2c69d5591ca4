"""Calls that may never come back."""

import os
import sys
import threading
import time
from contextlib import closing

import pytest

from trioker.storage import deadlines
from trioker.storage.deadlines import in_children, within


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


def in_child(seconds, work):
    (answer,) = in_children(seconds, [work])
    return answer


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
    answers = list(in_children(60, [lambda: os._exit(7), lambda: sys.exit("out"), lambda: "fine"]))
    assert list(map(str, answers)) == ["it ended the process, status 7", "it ended the process, status 1", "fine"]
    assert list(map(type, answers)) == [ChildProcessError, ChildProcessError, str]


def test_a_child_that_hangs_is_killed_with_all_it_started():
    reading, writing = os.pipe()

    def work():
        os.close(reading)
        os.fork()
        time.sleep(600)
        return ""

    answer = in_child(0.5, work)
    assert isinstance(answer, TimeoutError)
    assert str(answer) == "no answer within 0.5 seconds"
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        assert file.read() == b""  # nobody has the other end


def test_children_run_at_the_same_time_and_answer_in_order():
    """The first one waits for what the last one says."""
    reading, writing = os.pipe()

    def say():
        os.write(writing, b"last")
        return "said"

    works = [lambda: os.read(reading, 4).decode(), *[lambda: "between"] * (deadlines.AT_ONCE - 2), say]
    assert list(in_children(60, works)) == ["last", *["between"] * (deadlines.AT_ONCE - 2), "said"]
    os.close(reading)
    os.close(writing)


def test_more_than_may_run_at_once_are_all_asked():
    assert list(in_children(60, [lambda: "yes"] * (2 * deadlines.AT_ONCE + 1))) == ["yes"] * (2 * deadlines.AT_ONCE + 1)


def test_an_answer_is_given_before_the_next_is_known():
    with closing(in_children(60, [lambda: "first", lambda: time.sleep(600)])) as answers:
        assert next(answers) == "first"


def test_who_is_told_to_stop_answers_no_more_and_nobody_runs_on():
    reading, writing = os.pipe()
    stop, stopping = os.pipe()

    def work():
        os.close(reading)
        os.write(stopping, b"!")
        time.sleep(600)

    assert list(in_children(60, [work, work], stop)) == []
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        assert file.read() == b""
    os.close(stop)
    os.close(stopping)
