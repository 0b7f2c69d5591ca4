"""Threads for calls into a driver."""

import threading
from functools import partial

import pytest
import trio
import trio.testing

from trioker.storage.guard import DriverError
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


async def test_a_cancelled_caller_does_not_wait_for_its_call(gate):
    hang, _ = gate
    workers = Workers(1)
    with trio.move_on_after(0.05) as scope:
        await workers.run(hang)
    assert scope.cancelled_caught
    assert await workers.run(divmod, 7, 2) == (3, 1)


async def test_a_call_that_does_not_come_back_is_told_with_driver_and_method(gate):
    hang, _ = gate

    def create():
        hang()

    workers = Workers(1, "mine")
    told = r"storage driver 'mine' has not come back from create\(\) within 0\.05 seconds"
    with pytest.raises(DriverError, match=told), trio.CancelScope(shield=True):
        await workers.run(create, within=0.05)
    assert not workers.idle
    assert await workers.run(divmod, 7, 2) == (3, 1)


async def test_when_it_stops_no_shield_keeps_a_caller_and_no_call_is_made_any_more(gate, nursery):
    hang, _ = gate
    workers = Workers(1, "mine")
    failed = []

    async def call():
        with pytest.raises(DriverError, match=r"has not come back from wait\(\) when the daemon stopped"):
            await workers.run(wait)
        failed.append(1)

    def wait():
        hang()

    async def call_shielded():
        with trio.CancelScope(shield=True):
            await call()

    for _ in range(2):  # at work, and waiting for its turn
        nursery.start_soon(call_shielded)
    await trio.testing.wait_all_tasks_blocked()
    workers.stop()
    with trio.fail_after(20):
        await call()
    await trio.testing.wait_all_tasks_blocked()
    assert len(failed) == 3


async def test_a_driver_that_has_lost_too_many_calls_gets_no_others(gate, monkeypatch):
    monkeypatch.setattr("trioker.storage.workers.MOST_THREADS", 2)
    hang, end = gate
    workers = Workers(1, "mine")
    for _ in range(2):
        with trio.move_on_after(0.05):
            await workers.run(hang)
    with pytest.raises(DriverError, match="2 calls of storage driver 'mine' have not come back"):
        await workers.run(divmod, 7, 2)
    end()
    with trio.fail_after(20):
        while not workers.idle:
            await trio.sleep(0.001)
    assert await workers.run(divmod, 7, 2) == (3, 1)
