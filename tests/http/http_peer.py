"""The other side of a connection, for tests."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import partial

import h11
import trio
import trio.testing

from trioker.http.access import Access, Kind
from trioker.http.connection import Connection, Service
from trioker.http.hangup import HangUps
from trioker.http.limits import Limits
from trioker.http.listeners import Listener
from trioker.http.messages import Handler, Request, Response
from trioker.http.server import serve

UNIX = Access(Kind.UNIX)
GUARD = 150
"""Seconds (of the test's clock) after which a test that hangs fails."""


async def echo(request: Request) -> Response:
    """What the server understood, in the reply."""
    return Response(200, f"{request.method} {request.path}".encode())


@asynccontextmanager
async def connected(
    handler: Handler = echo,
    *,
    limits: Limits | None = None,
    access: Access = UNIX,
    guard: float = GUARD,
    narrow: bool = False,
) -> AsyncIterator[trio.abc.HalfCloseableStream]:
    """A client's stream to a connection over memory; a ``narrow`` one sends only what is being received."""
    ours, theirs = trio.testing.lockstep_stream_pair() if narrow else trio.testing.memory_stream_pair()
    with trio.fail_after(guard):
        async with trio.open_nursery() as nursery:
            service = Service(handler, limits or Limits(), HangUps())
            nursery.start_soon(Connection(theirs, -1, access, service).run)
            yield ours
            await ours.aclose()


class Door:
    """A running server, seen from outside."""

    def __init__(self, address: tuple[str, int], clients: ExitStack) -> None:
        self._address = address
        self._clients = clients
        self.scope = trio.CancelScope()
        self.stopped = trio.Event()

    async def __call__(self) -> trio.SocketStream:
        """A new client, closed at the end at the latest."""
        stream = await trio.open_tcp_stream(*self._address)
        self._clients.callback(stream.socket.close)
        return stream

    async def run(self, serving: Callable[..., Awaitable[None]], *, task_status: trio.TaskStatus[None]) -> None:
        with self.scope:
            await serving(task_status=task_status)
        self.stopped.set()


@asynccontextmanager
async def serving(handler: Handler = echo, *, limits: Limits | None = None, tls=None) -> AsyncIterator[Door]:
    """A server on a loopback port."""
    (listening,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with trio.fail_after(GUARD), ExitStack() as clients:
        door = Door(listening.socket.getsockname(), clients)
        async with trio.open_nursery() as nursery:
            await nursery.start(door.run, partial(serve, [Listener(listening, UNIX, tls)], handler, limits=limits))
            yield door
            door.scope.cancel()


async def rest(stream: trio.abc.ReceiveStream) -> bytes:
    """Everything up to the end of file."""
    return b"".join([bytes(piece) async for piece in stream])


async def until(stream: trio.abc.ReceiveStream, mark: bytes) -> bytes:
    """Everything up to and with ``mark``."""
    received = b""
    while mark not in received:
        piece = await stream.receive_some()
        assert piece, received
        received += piece
    return received


async def ask(stream: trio.abc.HalfCloseableStream, request: bytes) -> bytes:
    """Send, say no more, read all."""
    await stream.send_all(request)
    await stream.send_eof()
    return await rest(stream)


async def exchange(request: bytes, handler: Handler = echo, **options) -> bytes:
    """All bytes that answer ``request``."""
    async with connected(handler, **options) as stream:
        return await ask(stream, request)


def parse(answer: bytes, method: str = "GET") -> list[tuple[int, dict[bytes, bytes], bytes]]:
    """Read replies as an independent client would: status, headers, body of each."""
    found = []
    while answer:
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        parser.send(h11.EndOfMessage())
        parser.receive_data(answer)
        parser.receive_data(b"")
        head = parser.next_event()
        assert isinstance(head, h11.Response), head
        body = b""
        while isinstance(event := parser.next_event(), h11.Data):
            body += event.data
        assert isinstance(event, h11.EndOfMessage)
        found.append((head.status_code, dict(head.headers), body))
        answer = parser.trailing_data[0]
    return found
