"""What is posted is told in its order, and nobody waits for a slow client."""

import pytest
import trio
import trio.testing

from trioker.images.board import board
from trioker.images.tasks import each, nursery
from trioker.model.errors import NotFound
from trioker.model.progress import Progress


class Client:
    """Reads when it may."""

    def __init__(self):
        self.read = []
        self.may = trio.Event()

    async def tell(self, progress):
        await self.may.wait()
        self.read.append(progress)


async def test_all_is_told_in_order_when_the_work_ends():
    client = Client()
    client.may.set()
    async with board(client.tell) as shown:
        for status in "abc":
            shown.post(status)
    assert client.read == [Progress("a"), Progress("b"), Progress("c")]


async def test_all_is_told_before_an_error_goes_on():
    client = Client()
    client.may.set()

    async def job():
        async with board(client.tell) as shown:
            shown.post("a")
            raise NotFound("gone")

    with pytest.raises(NotFound, match="gone"):
        await job()
    assert client.read == [Progress("a")]


async def test_for_a_slow_client_counts_are_left_out_but_no_word_and_no_last_count():
    client = Client()
    async with board(client.tell) as shown:
        shown.post("begun", "x")
        await trio.testing.wait_all_tasks_blocked()
        for count in range(1, 101):
            shown.post("Downloading", "x", count, 100)
            shown.post("Downloading", "y", count, 200)
        shown.post("done", "x")
        shown.post("Downloading", "y", 200, 200)
        client.may.set()
    assert client.read == [
        Progress("begun", "x"),
        Progress("Downloading", "x", 100, 100),
        Progress("Downloading", "y", 200, 200),
        Progress("done", "x"),
    ]


async def test_a_client_that_is_gone_ends_the_work():
    async def tell(_):
        raise BrokenPipeError

    async def job():
        async with board(tell) as shown:
            shown.post("a")
            await trio.sleep_forever()

    with pytest.raises(BrokenPipeError):
        await job()


async def test_a_cancelled_job_does_not_wait_for_its_client():
    client = Client()
    with trio.CancelScope() as scope:
        async with board(client.tell) as shown:
            shown.post("a")
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert client.read == []


async def test_tasks_side_by_side_have_one_error():
    async def fail(text):
        raise NotFound(text)

    async def job():
        async with nursery() as outer:
            async with nursery() as tasks:
                outer.start_soon(trio.sleep_forever)
                tasks.start_soon(fail, "a")
                await trio.sleep_forever()

    with pytest.raises(NotFound, match="a"):
        await job()


async def test_each_item_is_worked_on_in_order_so_many_at_a_time():
    begun, ended, gate = [], [], trio.Event()

    async def work(item):
        begun.append(item)
        await gate.wait()
        ended.append(item)

    async with trio.open_nursery() as tasks:
        tasks.start_soon(each, range(5), work, 3)
        await trio.testing.wait_all_tasks_blocked()
        assert begun == [0, 1, 2]
        gate.set()
    assert begun == [0, 1, 2, 3, 4]
    assert sorted(ended) == begun
