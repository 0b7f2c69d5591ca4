"""Threads for calls into a driver."""

import threading
from functools import partial

import pytest
import trio
import trio.testing

from trioker.storage.workers import Workers


@pytest.fixture
def gate():
    """A driver's call hangs until this is set, as it must be at the end, or for a minute."""
    gate = threading.Event()
    yield partial(gate.wait, 60), gate.set
    gate.set()


async def test_what_it_calls_answers_and_raises_as_without_it():
    workers = Workers(1)
    assert await workers.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await workers.run(divmod, 7, 0)
    assert await workers.run(divmod, 7, 2) == (3, 1)


async def test_no_more_run_at_once_than_it_has(gate):
    hang, end = gate
    workers = Workers(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(workers.run, hang)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0.05) as scope:
            await workers.run(divmod, 7, 2)
        end()
    assert scope.cancelled_caught
    assert await workers.run(divmod, 7, 2) == (3, 1)


async def test_calls_that_hang_do_not_take_the_others_their_turn(gate, monkeypatch):
    monkeypatch.setattr("trioker.storage.workers.STUCK_AFTER", 0.01)
    hang, end = gate
    workers = Workers(2)
    answers = []
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(workers.run, hang)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(20):
            answers += [await workers.run(divmod, number, 2) for number in (7, 9)]
        end()
    assert answers == [(3, 1), (4, 1)]


async def test_a_caller_who_may_abandon_its_call_does_not_wait_for_it(gate):
    hang, _ = gate
    workers = Workers(1)
    with trio.move_on_after(0.05) as scope:
        await workers.run(hang, abandon=True)
    assert scope.cancelled_caught
    assert await workers.run(divmod, 7, 2) == (3, 1)
