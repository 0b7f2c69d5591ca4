"""Replies of long jobs: one object after the other."""

import errno
import json

import pytest
import trio
import trio.testing

from trioker.api.v1_2.jobs import INTERVAL, Teller, job_stream, progress_shape
from trioker.http.messages import Instead
from trioker.model.errors import NotFound, TriokerError
from trioker.model.progress import Progress


class Client:
    """Takes what is sent; a test may make it slow."""

    def __init__(self):
        self.got = []
        self.busy = False

    async def send(self, data):
        assert not self.busy, "two pieces at once"
        self.busy = True
        await trio.lowlevel.checkpoint()
        self.got.append(json.loads(data))
        self.busy = False


@pytest.fixture
def client():
    return Client()


def count(current, part="a", status="Downloading", total=100):
    return Progress(status, part, current, total)


@pytest.mark.parametrize(
    ("told", "shape"),
    [
        (Progress("Pulling"), {"status": "Pulling"}),
        (Progress("Pull complete", "0123"), {"status": "Pull complete", "id": "0123"}),
        (
            Progress("Downloading", "0123", 9476, 94_860),
            {
                "status": "Downloading",
                "progress": "9.476 kB/94.86 kB (10%)",
                "progressDetail": {"current": 9476, "total": 94_860},
                "id": "0123",
            },
        ),
        (
            Progress("Downloading", current=0),
            {"status": "Downloading", "progress": "0/? (n/a)", "progressDetail": {"current": 0, "total": 0}},
        ),
    ],
)
def test_an_object_has_the_words_of_2013_and_the_numbers_of_today(told, shape):
    assert list(progress_shape(told).items()) == list(shape.items())


async def test_counts_of_a_part_are_told_ten_times_a_second_and_at_the_end(client, autojump_clock):
    tell = Teller(client.send)
    for current in range(1, 101):
        await tell(count(current))
        await trio.sleep(INTERVAL / 10)
    assert len(client.got) in range(10, 13)
    assert client.got[-1]["progressDetail"]["current"] == 100


async def test_each_part_has_its_own_pace(client, autojump_clock):
    tell = Teller(client.send)
    for part in ("a", "b", ""):
        await tell(count(1, part))
        await tell(count(2, part))
    assert [each.get("id") for each in client.got] == ["a", "b", None]


async def test_words_are_never_left_out(client, autojump_clock):
    tell = Teller(client.send)
    for each in (
        count(1),
        count(1, status="Extracting"),
        Progress("Pull complete", "a"),
        Progress("Pull complete", "a"),
    ):
        await tell(each)
    assert [each["status"] for each in client.got] == ["Downloading", "Extracting", "Pull complete", "Pull complete"]


async def test_while_a_slow_client_takes_one_object_counts_are_left_out_and_words_wait(autojump_clock):
    got, gate = [], trio.Event()

    async def send(data):
        await gate.wait()
        got.append(json.loads(data))

    tell = Teller(send)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell, count(1))
        await trio.testing.wait_all_tasks_blocked()
        for current in range(2, 50):
            await trio.sleep(1)
            with trio.fail_after(0.5):
                await tell(count(current))
        nursery.start_soon(tell, Progress("Pull complete", "a"))
        await trio.testing.wait_all_tasks_blocked()
        gate.set()
    assert [each["status"] for each in got] == ["Downloading", "Pull complete"]


async def test_parts_that_tell_at_once_send_one_after_the_other(client):
    tell = Teller(client.send)
    async with trio.open_nursery() as nursery:
        for part in "abcdef":
            nursery.start_soon(tell, count(1, part))
    assert sorted(each["id"] for each in client.got) == list("abcdef")


async def test_what_a_job_returns_comes_last(client):
    async def work(tell):
        await tell(Progress("Working"))
        return {}, {"Id": "x"}

    reply = job_stream(work)
    assert (reply.status, reply.headers) == (200, ((b"Content-Type", b"application/json"),))
    await reply.write(client.send)
    assert client.got == [{"status": "Working"}, {}, {"Id": "x"}]


@pytest.mark.parametrize(
    ("failure", "status", "text"),
    [
        (NotFound("No such image: x"), 404, "No such image: x"),
        (TriokerError("it broke"), 500, "it broke"),
        (OSError(errno.ENOSPC, "No space left on device"), 500, "No space left on device"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 500, "Disk quota exceeded"),
    ],
)
async def test_a_job_that_fails_is_told_so_as_its_progress_allows(client, failure, status, text):
    async def at_once(_tell):
        raise failure

    async def later(tell):
        await tell(Progress("Working"))
        raise failure

    with pytest.raises(Instead) as caught:
        await job_stream(at_once).write(client.send)
    assert (caught.value.reply.status, caught.value.reply.body) == (status, f"{text}\n".encode())
    assert client.got == []
    await job_stream(later).write(client.send)
    assert client.got == [{"status": "Working"}, {"error": text, "errorDetail": {"message": text}}]


async def test_a_mistake_of_ours_is_not_told_to_clients(client):
    async def work(tell):
        await tell(Progress("Working"))
        raise OSError(errno.EIO, "secret")

    with pytest.raises(OSError, match="secret"):
        await job_stream(work).write(client.send)
    assert client.got == [{"status": "Working"}]
