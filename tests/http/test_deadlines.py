"""Slow and silent clients. The clock jumps: nothing here takes as long as it says."""

from contextlib import suppress

import trio
import trio.testing
from http_peer import connected, parse, rest, until

from trioker.http.limits import Limits
from trioker.http.messages import Request, Response, Stream

LIMITS = Limits()
GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


async def swallow(request: Request) -> Response:
    return Response(200, await request.body.read(1 << 20))


async def test_an_idle_connection_is_closed_without_a_word(autojump_clock):
    async with connected() as stream:
        assert await rest(stream) == b""
        assert trio.current_time() >= LIMITS.idle_time


async def test_a_connection_idle_after_a_request_is_closed(autojump_clock):
    async with connected(guard=1000) as stream:
        await trio.sleep(LIMITS.idle_time - 1)
        await stream.send_all(GET)
        await until(stream, b"GET /a")
        await trio.sleep(LIMITS.idle_time - 1)
        await stream.send_all(GET)
        assert (await rest(stream)).endswith(b"GET /a")


async def test_a_head_that_drips_is_408(autojump_clock):
    async def drip(stream):
        with suppress(trio.BrokenResourceError):
            while True:
                await stream.send_all(b"A: b\r\n")
                await trio.sleep(1)

    async with connected() as stream:
        await stream.send_all(GET[:-2])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip, stream)
            assert parse(await rest(stream))[0][0] == 408
            assert trio.current_time() <= LIMITS.head_time + LIMITS.linger_time + 1
            nursery.cancel_scope.cancel()


async def test_a_body_that_stops_is_408(autojump_clock):
    async def pieces(request: Request) -> Response:
        return Response(200, b"".join([piece async for piece in request.body]))

    async with connected(pieces) as stream:
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        await trio.sleep(LIMITS.body_idle_time - 1)
        await stream.send_all(b"12345678")
        await trio.sleep(LIMITS.body_idle_time - 1)
        ((status, headers, _),) = parse(await rest(stream))
        assert (status, headers[b"connection"]) == (408, b"close")


async def test_a_small_body_that_drips_is_408(autojump_clock):
    async with connected(swallow) as stream:
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        for _ in range(3):
            await trio.sleep(LIMITS.read_time / 4)
            await stream.send_all(b"1")
        assert parse(await rest(stream))[0][0] == 408


async def test_an_unread_body_that_does_not_come_ends_the_connection_after_the_reply(autojump_clock):
    async with connected() as stream:
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        assert parse(await rest(stream))[0][0] == 200
        assert trio.current_time() <= LIMITS.drain_time + LIMITS.linger_time


async def test_a_silent_handler_is_waited_for(autojump_clock):
    async def slow(_: Request) -> Response:
        await trio.sleep(86400)
        return Response(200)

    async with connected(slow, guard=100_000) as stream:
        await stream.send_all(GET)
        await until(stream, b"\r\n\r\n")


async def test_a_silent_stream_goes_on(autojump_clock):
    async def slow(_: Request) -> Stream:
        async def write(send):
            await send(b"a")
            await trio.sleep(86400)
            await send(b"b")

        return Stream(200, write)

    async with connected(slow, guard=100_000) as stream:
        await stream.send_all(GET)
        await until(stream, b"\r\n0\r\n\r\n")


async def test_a_client_that_takes_no_bytes_is_cut_and_the_stream_cancelled(autojump_clock):
    ended = trio.Event()

    async def flood(_: Request) -> Stream:
        async def write(send):
            try:
                while True:
                    await send(bytes(1000))
            finally:
                ended.set()

        return Stream(200, write)

    async with connected(flood, narrow=True) as stream:
        await stream.send_all(GET)
        await until(stream, b"\r\n\r\n")
        await ended.wait()
        assert LIMITS.send_stall_time <= trio.current_time() <= LIMITS.send_stall_time + 1


async def test_a_client_that_takes_bytes_slowly_gets_them_all(autojump_clock):
    async def large(_: Request) -> Response:
        return Response(200, bytes(1000))

    async with connected(large, narrow=True, limits=Limits(send_stall_time=2000), guard=10_000) as stream:
        await stream.send_all(GET)
        received = b""
        while len(received) < 1000:
            await trio.sleep(1)
            received += await stream.receive_some(1)
