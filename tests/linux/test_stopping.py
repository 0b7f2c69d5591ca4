"""Signals that come while something is to be put away."""

import os
import select
import signal

import pytest

from trioker.linux.forked import in_fork
from trioker.linux.stopping import held_back, let_through


class Ended(BaseException):
    """What the handler of this process raises."""


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def number(request):
    """A signal that ends this process by an exception."""

    def end(*_):
        raise Ended

    before = signal.signal(request.param, end)
    yield request.param
    signal.signal(request.param, before)


def is_readable(fd):
    return bool(select.select([fd], [], [], 0)[0])


def test_a_signal_is_told_of_and_does_its_work_at_the_end(number):
    seen = []

    def block():
        with held_back() as told:
            seen.append(is_readable(told))
            signal.raise_signal(number)
            seen.append(is_readable(told))

    with pytest.raises(Ended):
        block()
    assert seen == [False, True]


def test_a_second_one_is_not_held_back(number):
    seen = []

    def block():
        with held_back():
            signal.raise_signal(number)
            seen.append("first")
            signal.raise_signal(number)
            seen.append("second")

    with pytest.raises(Ended):
        block()
    assert seen == ["first"]


def test_where_none_comes_all_is_as_before(number):
    descriptors = os.listdir("/proc/self/fd")
    before = signal.getsignal(number)
    with held_back():
        pass
    assert signal.getsignal(number) is before
    assert signal.set_wakeup_fd(-1) == -1
    assert os.listdir("/proc/self/fd") == descriptors


def test_what_was_ignored_is_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    with held_back() as told:
        signal.raise_signal(number)
        assert not is_readable(told)


def test_a_child_is_ended_by_them_and_tells_nobody(number):
    with held_back() as told:

        def work(_):
            let_through()
            signal.raise_signal(number)

        assert in_fork(work, 60).status == -number
        assert not is_readable(told)


def test_what_a_child_makes_of_them_is_its_own(number):
    with held_back() as told:

        def work(_):
            let_through()
            signal.signal(number, lambda *_: None)
            signal.raise_signal(number)

        assert in_fork(work, 60).status == 0
        assert not is_readable(told)
