import pytest
import trio

from trioker.engine.flow import carry


async def collect(pieces):
    return b"".join([piece async for piece in pieces])


async def test_what_is_sent_is_what_is_read():
    async def produce(send):
        for each in (b"a", b"b", b"c"):
            await send(each)

    assert await carry(produce, collect) == b"abc"


async def test_a_reader_of_a_failed_producer_never_sees_an_end():
    ended = []

    async def produce(send):
        await send(b"half")
        raise KeyError("producer")

    async def consume(pieces):
        await collect(pieces)
        ended.append(True)

    with pytest.raises(KeyError, match="producer"):
        await carry(produce, consume)
    assert ended == []


async def test_a_failed_reader_ends_the_producer():
    async def produce(send):
        while True:
            await send(b"more")

    async def consume(pieces):
        raise KeyError("consumer")

    with pytest.raises(KeyError, match="consumer"):
        await carry(produce, consume)


async def test_a_reader_that_has_enough_ends_the_producer():
    async def produce(send):
        while True:
            await send(b"more")

    async def consume(pieces):
        return await anext(pieces)

    assert await carry(produce, consume) == b"more"


async def test_a_cancellation_passes_through():
    with trio.CancelScope() as scope:

        async def produce(send):
            scope.cancel()
            await trio.sleep_forever()

        await carry(produce, collect)
    assert scope.cancelled_caught
