import random
import socket
import struct

import trio
from http_peer import echo, exchange, parse, rest, serving, until
from hypothesis import given, settings
from hypothesis import strategies as st

from trioker.http.limits import Limits
from trioker.http.messages import Request, Response, Stream, Takeover

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_a_connection_over_the_limit_is_told_so_and_one_that_leaves_makes_room():
    async with serving(limits=Limits(connections=2)) as dial:
        guests = [await dial() for _ in range(2)]
        for guest in guests:
            await guest.send_all(GET)
            await until(guest, b"GET /a")
        extra = await dial()
        await extra.send_all(GET)
        ((status, headers, body),) = parse(await rest(extra))
        assert (status, headers[b"connection"]) == (503, b"close")
        assert b"over 2 connections" in body
        await guests[0].send_eof()
        assert await rest(guests[0]) == b""
        answer = b" 503 "
        while b" 503 " in answer:  # until the server has closed its side
            late = await dial()
            await late.send_all(GET)
            answer = await until(late, b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")


async def test_a_thousand_idle_connections_leave_the_next_one_served():
    async with serving(limits=Limits(connections=1001)) as dial:
        idle = [await dial() for _ in range(1000)]
        client = await dial()
        await client.send_all(GET)
        await until(client, b"GET /a")
        for each in idle:
            each.socket.close()


async def test_stopping_cuts_the_idle_and_the_streaming_at_once_and_lets_a_working_handler_answer(autojump_clock):
    began, streaming = trio.Event(), trio.Event()

    async def handler(request: Request) -> Response | Stream | Takeover:
        async def write(_send):
            streaming.set()
            await trio.sleep_forever()

        async def run(_stream):
            await trio.sleep_forever()

        if request.path == "/stream":
            return Stream(200, write)
        if request.path == "/attach":
            return Takeover(run)
        if request.path == "/work":
            began.set()
            await trio.sleep(0.5)
        return Response(200, b"worked")

    async with serving(handler) as dial:
        clients = {}
        for path in ("idle", "stream", "attach", "work"):
            clients[path] = await dial()
            await clients[path].send_all(b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
        await began.wait()
        await streaming.wait()
        await until(clients["idle"], b"worked")
        before = trio.current_time()
        dial.scope.cancel()
        for path in ("idle", "stream", "attach"):
            await rest(clients[path])
        assert trio.current_time() == before
        ((_, headers, body),) = parse(await rest(clients["work"]))
        assert (headers[b"connection"], body) == (b"close", b"worked")


async def test_stopping_waits_no_longer_than_the_grace(autojump_clock):
    began, cancelled = trio.Event(), trio.Event()

    async def handler(_: Request) -> Response:
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with serving(handler) as dial:
        client = await dial()
        await client.send_all(GET)
        await began.wait()
        before = trio.current_time()
        dial.scope.cancel()
        await dial.stopped.wait()
        assert cancelled.is_set()
        assert trio.current_time() - before <= Limits().stop_grace


async def test_a_connection_that_fails_does_not_take_others_along(caplog):
    async def handler(_: Request) -> Takeover:
        async def run(_stream):
            raise RuntimeError("attach broke")

        return Takeover(run)

    async with serving(handler) as dial:
        for _ in range(2):
            client = await dial()
            await client.send_all(GET)
            assert await rest(client) == b""
    assert "attach broke" in caplog.text


async def test_resets_at_any_moment_leave_the_server_whole():
    chance = random.Random(4243)

    async def handler(request: Request) -> Response | Stream:
        async def write(send):
            for _ in range(20):
                await send(bytes(10_000))

        if request.method == "POST":
            return Response(200, await request.body.read(1 << 20))
        return Stream(200, write)

    session = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + GET * 3

    async def abuse(dial):
        for _ in range(10):
            client = await dial()
            await client.send_all(session[: chance.randrange(len(session))])
            for _ in range(chance.randrange(4)):
                await trio.lowlevel.checkpoint()
            if chance.random() < 0.7:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.socket.close()

    async with serving(handler) as dial:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(abuse, dial)
        client = await dial()
        await client.send_all(session)
        await client.send_eof()
        assert len(parse(await rest(client))) == 4


PIECES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"POST /x HTTP/1.1\r\n",
        b"Host: x\r\n",
        b"\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: 99999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: close\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"abc",
        b"\n",
        b"fffffffffffffff\r\n",
        b"Upgrade: tcp\r\nConnection: upgrade\r\n",
        b"HEAD / HTTP/1.0\r\n",
        b"\0",
        b": ",
        b"\xff",
    ]
)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=25), st.booleans())
def test_any_bytes_are_answered_in_whole_replies_and_the_connection_ends(pieces, reading):
    async def reader(request: Request) -> Response:
        return Response(200, await request.body.read(100))

    async def run() -> bytes:
        with trio.fail_after(1000):
            return await exchange(b"".join(pieces), reader if reading else echo, limits=Limits(linger_time=0.001))

    answer = trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    if b"HEAD" not in b"".join(pieces):
        replies = parse(answer.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b""))
        assert all(status in {200, 400, 408, 413, 431, 501, 505} for status, _, _ in replies)
