"""One layer over several connections, played without any."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
import trio.testing

from trioker.http.client import Answer, FetchError
from trioker.images.registry.v1_layers import BREAKS, PROGRESS, download
from trioker.model.errors import TriokerError, Unauthorized

URL = "http://registry/v1/images/x/layer"


async def pieces(items: Sequence[bytes | None]) -> AsyncIterator[bytes]:
    """None is where the connection breaks."""
    for item in items:
        await trio.lowlevel.checkpoint()
        if item is None:
            raise FetchError(f"{URL}: the connection broke")
        yield item


def answer(*items: bytes | None, status: int = 200, start: str = "", length: int | None = None) -> Answer:
    headers = [(b"content-range", start.encode())] if start else []
    return Answer(status, headers, URL, length, pieces(items))


class Played:
    """A client whose answers are given; the ranges it was asked for."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.ranges: list[str] = []
        self.open = 0

    @asynccontextmanager
    async def request(self, method: str, url: str, *, headers: Any = ()) -> AsyncIterator[Answer]:
        self.ranges.append(dict(headers).get(b"range", b"").decode())
        self.open += 1
        try:
            given: Any = self.answers.pop(0)
            async with aclosing(given.chunks):
                yield given
        finally:
            self.open -= 1


async def fetched(client: Any) -> bytes:
    async with download(client, URL, []) as layer:
        found = b"".join([chunk async for chunk in layer.chunks])
    assert client.open == 0
    return found


async def test_what_was_lost_is_asked_for_and_nothing_comes_twice() -> None:
    client = Played(
        answer(b"01", None),
        answer(b"23", b"4", None, status=206, start="bytes 2-9/10"),
        answer(b"0", b"123456", b"78", None),  # of 200 all comes again
        answer(b"789", status=206, start="bytes 7-9/10"),  # a little earlier than asked for will do
    )
    assert await fetched(client) == b"0123456789"
    assert client.ranges == ["", "bytes=2-", "bytes=5-", "bytes=9-"]


async def test_before_the_first_byte_all_is_asked_for_again() -> None:
    client = Played(answer(None), answer(b"0123"))
    assert await fetched(client) == b"0123"
    assert client.ranges == ["", ""]


@pytest.mark.parametrize(
    "start", ["bytes 3-9/10", "bytes -9/10", "", "pages 2-9/10", "bytes 99999999999999999999-9/10"]
)
async def test_a_part_of_elsewhere_is_refused(start: str) -> None:
    client = Played(answer(b"01", None), answer(b"xx", status=206, start=start))
    with pytest.raises(TriokerError, match="a part of the layer that was not asked for"):
        await fetched(client)
    assert client.open == 0


async def test_breaks_without_progress_are_counted() -> None:
    client = Played(*(answer(None) for _ in range(100)))
    with pytest.raises(TriokerError, match="the connection broke"):
        await fetched(client)
    assert len(client.ranges) == BREAKS + 1


async def test_progress_makes_breaks_forgotten() -> None:
    part = bytes(PROGRESS)
    rounds = 3 * BREAKS
    client = Played(
        *(answer(part, None, status=206, start=f"bytes {n * PROGRESS}-9/*") for n in range(rounds)),
        answer(b"", status=206, start=f"bytes {rounds * PROGRESS}-9/*"),
    )
    assert len(await fetched(client)) == rounds * PROGRESS


async def test_a_busy_server_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    assert await fetched(Played(answer(status=503), answer(status=429), answer(b"0"))) == b"0"


async def test_a_refusal_in_the_middle_ends_it() -> None:
    client = Played(answer(b"01", None), answer(b"{}", status=401))
    with pytest.raises(Unauthorized):
        await fetched(client)
    assert client.open == 0


async def test_who_stops_reading_leaves_no_connection() -> None:
    client: Any = Played(answer(b"01", b"23"))
    async with download(client, URL, []) as layer:
        assert await anext(layer.chunks) == b"01"
    assert client.open == 0
