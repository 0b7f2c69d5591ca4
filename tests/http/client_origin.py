"""A server on a plain socket that behaves as a test wants: each connection is served by the next of its plays."""

import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress

import trio

from trioker.http.client import Client

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Peer:
    """One connection, as the server has it."""

    def __init__(self, stream, server) -> None:
        self.stream = stream
        self.server = server
        self._early = b""

    async def _until(self, end: bytes) -> bytes:
        while end not in self._early:
            piece = await self.stream.receive_some()
            if not piece:
                raise EOFError
            self._early += piece
        got, _, self._early = self._early.partition(end)
        return got + end

    async def head(self) -> bytes:
        """The next request's head, also noted."""
        head = await self._until(b"\r\n\r\n")
        self.server.asked.append(head)
        return head

    async def request(self) -> tuple[bytes, bytes]:
        """The next request's head, and its body as it came."""
        head = await self.head()
        if b"transfer-encoding: chunked" in head.lower():
            return head, await self._until(b"0\r\n\r\n")
        length = int((re.findall(rb"(?i)content-length: (\d+)", head) or [b"0"])[0])
        while len(self._early) < length:
            self._early += await self.stream.receive_some()
        body, self._early = self._early[:length], self._early[length:]
        return head, body

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data.replace(b"PORT", b"%d" % self.server.port))

    async def closed(self) -> bool:
        """Wait until the client closes; whether it did so without another word."""
        try:
            return not await self.stream.receive_some() and not self._early
        except trio.BrokenResourceError:
            return True

    async def left(self) -> None:
        """Read and forget until the client has closed."""
        with suppress(trio.BrokenResourceError):
            while await self.stream.receive_some():
                pass

    def reset(self) -> None:
        """Close in a way that the client's next send fails."""
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()


Play = Callable[[Peer], Awaitable[None]]


class Origin:
    def __init__(self, plays) -> None:
        self.plays = list(plays)
        self.asked = []
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, stream) -> None:
        play = self.plays[self.connections]
        self.connections += 1
        async with stream:
            try:
                await play(Peer(stream, self))
            except EOFError:
                pass


def answering(*answers: bytes) -> Play:
    """Answers one request after the other, then closes."""

    async def play(peer: Peer) -> None:
        for answer in answers:
            await peer.request()
            await peer.send(answer)

    return play


def once(*answers: bytes) -> list[Play]:
    """Each answer on a connection of its own."""
    return [answering(answer) for answer in answers]


@asynccontextmanager
async def origin(*plays: Play, tls=None) -> AsyncIterator[Origin]:
    server = Origin(plays)

    async def serve(stream):
        await server.serve(trio.SSLStream(stream, tls, server_side=True) if tls else stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield server
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def client(**options) -> AsyncIterator[Client]:
    async with aclosing(Client(**options)) as each:
        yield each


async def ask(each: Client, url: str, method: str = "GET", **options) -> tuple[int, bytes]:
    """Status and body."""
    async with each.request(method, url, **options) as answer:
        return answer.status, await answer.read(1 << 20)
