"""Clients that go away, over real sockets: a hang-up is the kernel's to tell."""

import socket
import struct

import pytest
import trio
from http_peer import UNIX, parse, rest, serving, until

from trioker.http.connection import Connection, Service
from trioker.http.hangup import HangUps
from trioker.http.limits import Limits
from trioker.http.messages import Request, Response, Stream, Takeover

WAIT = b"POST /wait HTTP/1.1\r\nHost: x\r\n\r\n"


class Waiting:
    """A handler that waits, and tells what becomes of it."""

    def __init__(self) -> None:
        self.began = trio.Event()
        self.go_on = trio.Event()
        self.cancelled = trio.Event()

    async def __call__(self, _: Request) -> Response:
        self.began.set()
        try:
            await self.go_on.wait()
        except trio.Cancelled:
            self.cancelled.set()
            raise
        return Response(200, b"done")

    def stream(self):
        async def handler(request: Request) -> Stream:
            async def write(_send):
                await self(request)

            return Stream(200, write)

        return handler


def reset(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_reset_cancels_the_handler(streaming):
    waiting = Waiting()
    async with serving(waiting.stream() if streaming else waiting) as dial:
        client = await dial()
        await client.send_all(WAIT)
        await waiting.began.wait()
        reset(client)
        await waiting.cancelled.wait()


async def test_a_reset_cancels_the_handler_whatever_the_client_sent_before():
    waiting = Waiting()
    async with serving(waiting) as dial:
        client = await dial()
        await client.send_all(WAIT + b"x" * 200_000)
        await waiting.began.wait()
        reset(client)
        await waiting.cancelled.wait()


async def test_a_closed_connection_cancels_the_handler_after_the_grace(autojump_clock):
    waiting = Waiting()
    async with serving(waiting) as dial:
        client = await dial()
        await client.send_all(WAIT)
        await waiting.began.wait()
        before = trio.current_time()
        await client.aclose()
        await waiting.cancelled.wait()
        assert trio.current_time() - before >= Limits().hangup_grace


async def test_a_client_that_only_ended_its_side_is_answered_within_the_grace():
    waiting = Waiting()
    async with serving(waiting) as dial:
        client = await dial()
        await client.send_all(WAIT)
        await client.send_eof()
        await waiting.began.wait()
        waiting.go_on.set()
        assert parse(await rest(client))[0][2] == b"done"


async def test_pipelined_requests_before_an_end_of_file_are_all_answered():
    async with serving() as dial:
        client = await dial()
        await client.send_all(WAIT * 20)
        await client.send_eof()
        assert len(parse(await rest(client))) == 20


async def test_a_half_closed_client_that_takes_bytes_is_served_to_the_end(autojump_clock):
    async def slow(_: Request) -> Stream:
        async def write(send):
            for _ in range(10):
                await trio.sleep(0.9)
                await send(b"tick")

        return Stream(200, write)

    async with serving(slow) as dial:
        client = await dial()
        await client.send_all(WAIT)
        await client.send_eof()
        assert parse(await rest(client))[0][2] == b"tick" * 10


async def test_an_upload_that_is_still_being_read_has_time_after_its_end_of_file(autojump_clock):
    async def slow(request: Request) -> Response:
        size = 0
        async for piece in request.body:
            await trio.sleep(5)
            size += len(piece)
        return Response(200, str(size).encode())

    async with serving(slow) as dial:
        client = await dial()
        await client.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + bytes(200_000))
        await client.send_eof()
        assert parse(await rest(client))[0][2] == b"200000"


async def unix_pair(handler, nursery: trio.Nursery) -> trio.SocketStream:
    ours, theirs = (trio.SocketStream(trio.socket.from_stdlib_socket(each)) for each in socket.socketpair())
    hangups = HangUps()
    nursery.start_soon(hangups.run)
    service = Service(handler, Limits(hangup_grace=10_000), hangups)
    nursery.start_soon(Connection(theirs, theirs.socket.fileno(), UNIX, service).run)
    return ours


async def test_on_a_unix_socket_a_close_cancels_at_once_and_a_half_close_does_not():
    for ending in ("close", "half-close"):
        waiting = Waiting()
        async with trio.open_nursery() as nursery:
            client = await unix_pair(waiting, nursery)
            await client.send_all(WAIT)
            await waiting.began.wait()
            if ending == "close":
                await client.aclose()
                await waiting.cancelled.wait()
            else:
                await client.send_eof()
                waiting.go_on.set()
                assert parse(await rest(client))[0][2] == b"done"
                await client.aclose()
            nursery.cancel_scope.cancel()


async def test_a_reset_within_a_body_cancels_the_handler():
    began, ended = trio.Event(), trio.Event()

    async def upload(request: Request) -> Response:
        try:
            async for _ in request.body:
                began.set()
        finally:
            ended.set()
        return Response(200)

    async with serving(upload) as dial:
        client = await dial()
        await client.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nx")
        await began.wait()
        reset(client)
        await ended.wait()


async def test_a_reset_cancels_a_stream_that_is_blocked_in_a_send():
    ended = trio.Event()

    async def flood(_: Request) -> Stream:
        async def write(send):
            try:
                while True:
                    await send(bytes(100_000))
            finally:
                ended.set()

        return Stream(200, write)

    async with serving(flood) as dial:
        client = await dial()
        await client.send_all(WAIT)
        await until(client, b"\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        reset(client)
        await ended.wait()


async def test_a_taken_connection_gets_every_byte_and_then_the_end_though_input_is_unread():
    async def attach(_: Request) -> Takeover:
        async def run(stream):
            await stream.send_all(b"x" * 300_000)

        return Takeover(run)

    async with serving(attach) as dial:
        client = await dial()
        await client.send_all(WAIT + b"unread" * 1000)
        assert len(await rest(client)) == 300_000


async def test_the_client_of_a_large_refused_upload_gets_the_refusal():
    async with serving() as dial:
        client = await dial()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                client.send_all, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n" + bytes(2_000_000)
            )
            assert parse(await rest(client))[0][0] == 200


async def test_the_watching_of_a_connection_ends_with_its_reply():
    async with serving() as dial:
        client = await dial()
        for _ in range(3):
            await client.send_all(b"GET /again HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(client, b"/again")
