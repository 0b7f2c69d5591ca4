"""One blob from a registry that breaks in every way."""

import hashlib
import itertools
from contextlib import aclosing, asynccontextmanager

import attrs
import pytest
import trio
import trio.testing
from transfer_fakes import FakeBlobRecords

from trioker.http.client import FetchError
from trioker.images.blobs import BlobStore
from trioker.images.fetching import fetch
from trioker.images.registry.v2 import BlobPart
from trioker.model.errors import TriokerError
from trioker.model.layer import Blob

DATA = bytes(range(256)) * 16384  # 4 MiB
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
BLOB = Blob(DIGEST, len(DATA), "gzip")
PIECE = 2**18
LOST = FetchError("the connection was lost")


@attrs.define
class FakeSource:
    """Serves ``data``; ``cuts`` are the bytes after which one connection after the other breaks."""

    data: bytes = DATA
    cuts: list = attrs.field(factory=list)
    ranges: bool = True
    announced: int | None = len(DATA)
    quiet: bool = False
    gate: trio.Event | None = None
    """Waited for before the last byte."""
    reached: trio.Event = attrs.field(factory=trio.Event)
    opened: list = attrs.field(factory=list)

    @asynccontextmanager
    async def __call__(self, digest, offset):
        assert digest == DIGEST
        self.opened.append(offset)
        start = offset if self.ranges else 0
        async with aclosing(self._chunks(start)) as chunks:
            yield BlobPart(start, self.announced, chunks)

    async def _chunks(self, start):
        end = start + self.cuts.pop(0) if self.cuts else len(self.data)
        for place in range(start, min(end, len(self.data)), PIECE):
            await trio.lowlevel.checkpoint()
            if self.gate is not None and place + PIECE >= len(self.data):
                self.reached.set()
                await self.gate.wait()
            yield self.data[place : min(place + PIECE, end)]
        if end < len(self.data) and not self.quiet:
            raise LOST


@pytest.fixture
async def blobs(tmp_path):
    ticks = itertools.count(1)
    return await BlobStore.open(tmp_path / "blobs", FakeBlobRecords(), lambda: next(ticks), 10**9)


async def kept(blobs):
    return b"".join([piece async for piece in blobs.part(DIGEST).chunks()])


def files(tmp_path):
    return [each for each in (tmp_path / "blobs").glob("*/*") if each.is_file()]


async def test_a_blob_is_fetched_once_and_kept(blobs):
    source = FakeSource()
    for _ in range(2):
        await fetch(blobs, BLOB, source)
    assert source.opened == [0]
    assert await kept(blobs) == DATA


async def test_a_broken_connection_is_taken_up_where_it_broke(blobs, autojump_clock):
    source = FakeSource(cuts=[PIECE * 5, 0, 100, PIECE])
    await fetch(blobs, BLOB, source)
    assert source.opened == [0, PIECE * 5, PIECE * 5, PIECE * 5 + 100, PIECE * 6 + 100]
    assert await kept(blobs) == DATA


async def test_progress_between_breaks_makes_any_number_of_them_bearable(blobs, autojump_clock):
    await fetch(blobs, BLOB, FakeSource(cuts=[2**20] * 3))
    assert trio.current_time() == autojump_clock.current_time()
    assert await kept(blobs) == DATA


async def test_a_server_that_gets_nowhere_is_given_up_and_what_came_stays(blobs, autojump_clock):
    source = FakeSource(cuts=[PIECE, *[0] * 20])
    with pytest.raises(TriokerError, match="the connection was lost"):
        await fetch(blobs, BLOB, source)
    assert len(source.opened) == 5
    source.cuts.clear()
    await fetch(blobs, BLOB, source)
    assert source.opened[-1] == PIECE


async def test_a_server_that_knows_no_ranges_sends_all_again(blobs, autojump_clock):
    source = FakeSource(cuts=[PIECE * 3 + 7], ranges=False)
    await fetch(blobs, BLOB, source)
    assert await kept(blobs) == DATA


async def test_what_an_earlier_daemon_left_is_gone_on_from(blobs, tmp_path):
    (tmp_path / "blobs/partial" / DIGEST[7:]).write_bytes(DATA[:1000])
    source = FakeSource()
    await fetch(blobs, BLOB, source)
    assert source.opened == [1000]
    assert await kept(blobs) == DATA


@pytest.mark.parametrize("left", [b"damaged", DATA + b"more", DATA[:-1] + b"x"], ids=["damaged", "longer", "wrong"])
async def test_what_an_earlier_daemon_left_damaged_is_fetched_anew(blobs, tmp_path, left):
    (tmp_path / "blobs/partial" / DIGEST[7:]).write_bytes(left)
    await fetch(blobs, BLOB, FakeSource())
    assert await kept(blobs) == DATA


async def test_what_an_earlier_daemon_left_whole_is_not_asked_for(blobs, tmp_path):
    (tmp_path / "blobs/partial" / DIGEST[7:]).write_bytes(DATA)
    source = FakeSource()
    await fetch(blobs, BLOB, source)
    assert source.opened == []


async def test_another_digest_is_an_error_and_nothing_is_kept(blobs, tmp_path):
    with pytest.raises(TriokerError, match=f"blob {DIGEST}: what the registry sent has another digest"):
        await fetch(blobs, BLOB, FakeSource(data=DATA[::-1]))
    assert not files(tmp_path)
    assert blobs.get(DIGEST) is None


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (FakeSource(announced=7), "the registry has 7"),
        (FakeSource(data=DATA + b"x", announced=None), "sends more"),
        (FakeSource(data=DATA * 4, announced=len(DATA)), "sends more"),
    ],
)
async def test_another_length_is_an_error_and_nothing_is_kept(blobs, tmp_path, source, error):
    with pytest.raises(TriokerError, match=f"expected {len(DATA)} bytes.*{error}"):
        await fetch(blobs, BLOB, source)
    assert not files(tmp_path)


async def test_an_answer_that_ends_too_early_without_a_word_is_gone_on_from(blobs, autojump_clock):
    source = FakeSource(cuts=[PIECE], quiet=True, announced=None)
    await fetch(blobs, BLOB, source)
    assert source.opened == [0, PIECE]


async def test_all_who_want_a_blob_share_one_fetch(blobs):
    source = FakeSource()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(fetch, blobs, BLOB, source)
    assert source.opened == [0]


async def test_when_the_first_is_cancelled_the_next_goes_on_where_it_was(blobs):
    first, second = FakeSource(gate=trio.Event()), FakeSource()
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as doomed:
                doomed.start_soon(fetch, blobs, BLOB, first)
                await first.reached.wait()
                nursery.start_soon(fetch, blobs, BLOB, second)
                await trio.testing.wait_all_tasks_blocked()
                assert second.opened == []
                scope.cancel()
    assert second.opened == [len(DATA) - PIECE]
    assert await kept(blobs) == DATA


async def test_a_failed_fetch_is_not_the_next_ones_failure(blobs):
    broken, good = FakeSource(data=DATA + b"x", announced=None, gate=trio.Event()), FakeSource()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_fails, blobs, broken)
        await broken.reached.wait()
        nursery.start_soon(fetch, blobs, BLOB, good)
        await trio.testing.wait_all_tasks_blocked()
        broken.gate.set()
    assert good.opened == [0]
    assert await kept(blobs) == DATA


async def _fails(blobs, source):
    with pytest.raises(TriokerError):
        await fetch(blobs, BLOB, source)
