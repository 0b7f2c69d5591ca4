"""Connections and datagrams passed on by the daemon itself: names for containers, and published ports where the kernel has no rules for them.

What is served here is down while the daemon is down. Both serve until cancelled and close the socket they were given.
"""

import math
import socket
from collections.abc import Callable

import trio

Target = Callable[[], tuple[str, int] | None]
"""Where to, asked anew for each client; None for nowhere."""

MOST_CLIENTS = 1024
"""At a time, of one port. Further connections are turned away; a further client of UDP takes the place of the one that was silent longest."""
_CONNECTED_WITHIN = 10.0  # seconds
_PIECE = 65536  # bytes, of a stream or the largest datagram
_IDLE = 90.0  # seconds without a datagram end what clients of UDP have for a connection; conntrack gives streams 120


async def forward_tcp(listener: socket.socket, target: Target, lifetime: float = math.inf) -> None:
    """Pass connections on, each for ``lifetime`` seconds at most. Dead peers are found by keep-alive."""
    places = trio.CapacityLimiter(MOST_CLIENTS)

    async def serve(client: trio.SocketStream) -> None:
        async with client:
            if places.available_tokens < 1:
                return
            async with places:
                with trio.move_on_after(lifetime):
                    await _pass_on(client, target())

    listening = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
    async with listening:
        await trio.serve_listeners(serve, [listening])


async def _pass_on(client: trio.SocketStream, target: tuple[str, int] | None) -> None:
    server = await _connect(target) if target else None
    if server is None:
        return
    async with server, trio.open_nursery() as nursery:
        for each in (client, server):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        nursery.start_soon(_pump, client, server)
        nursery.start_soon(_pump, server, client)


async def _connect(target: tuple[str, int]) -> trio.SocketStream | None:
    sock = _socket(target, socket.SOCK_STREAM)
    if sock is None:
        return None
    try:
        with trio.fail_after(_CONNECTED_WITHIN):
            await sock.connect(target)
    except (OSError, trio.TooSlowError):
        sock.close()
        return None
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


def _socket(target: tuple[str, int], kind: socket.SocketKind) -> trio.socket.SocketType | None:
    """One that can reach the target; None where too many files are open, which only this client shall feel."""
    try:
        return trio.socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET, kind)
    except OSError:
        return None


async def _pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    """One direction; its end is passed on, the other direction may last."""
    try:
        while data := await source.receive_some(_PIECE):
            await sink.send_all(data)
        await sink.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        await trio.aclose_forcefully(source)
        await trio.aclose_forcefully(sink)


async def forward_udp(listener: socket.socket, target: Target, idle: float = _IDLE) -> None:
    """Pass datagrams on, and back what comes in answer to them, until a client and its server are silent for ``idle`` seconds."""
    listener.setblocking(False)
    with trio.socket.from_stdlib_socket(listener) as sock:
        async with trio.open_nursery() as nursery:
            await _Datagrams(sock, nursery, target, idle).serve()


class _Flow:
    """One client's datagrams."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self.socket = sock
        self.scope = trio.CancelScope()


class _Datagrams:
    def __init__(self, sock: trio.socket.SocketType, nursery: trio.Nursery, target: Target, idle: float) -> None:
        self._socket = sock
        self._nursery = nursery
        self._target = target
        self._idle = idle
        self._flows: dict[tuple[str, int], _Flow] = {}
        """The one that was used last is last."""

    async def serve(self) -> None:
        while True:
            try:
                data, client = await self._socket.recvfrom(_PIECE)
            except OSError:  # the echo of an earlier datagram nobody wanted
                continue
            flow = self._flows.pop(client, None) or await self._begin(client)
            if flow:
                self._flows[client] = flow
                await self._send(flow, data)

    async def _begin(self, client: tuple[str, int]) -> _Flow | None:
        target = self._target()
        if target is None:
            return None
        if (
            len(self._flows) >= MOST_CLIENTS
        ):  # a question for a name takes a port of its own, so a busy container has that many
            self._flows.pop(next(iter(self._flows))).scope.cancel()
        sock = _socket(target, socket.SOCK_DGRAM)
        if sock is None:
            return None
        try:
            await sock.connect(target)
        except OSError:
            sock.close()
            return None
        except BaseException:
            sock.close()
            raise
        flow = _Flow(sock)
        self._nursery.start_soon(self._answer, client, flow)
        return flow

    async def _send(self, flow: _Flow, data: bytes) -> None:
        flow.scope.deadline = trio.current_time() + self._idle
        try:
            await flow.socket.send(data)
        except (OSError, trio.ClosedResourceError):  # refused, or idle for too long just now: datagrams may be lost
            pass

    async def _answer(self, client: tuple[str, int], flow: _Flow) -> None:
        with flow.socket, flow.scope:
            while True:
                try:
                    data = await flow.socket.recv(_PIECE)
                    await self._socket.sendto(data, client)
                except OSError:  # nobody listens there; maybe later
                    continue
                flow.scope.deadline = trio.current_time() + self._idle
        if self._flows.get(client) is flow:
            del self._flows[client]
