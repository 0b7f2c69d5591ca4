"""Serving listeners: a task for each connection, a limit on their number, an orderly end."""

import logging
import socket
from collections import Counter
from collections.abc import Sequence
from functools import partial

import trio

from trioker.http import replies
from trioker.http.connection import Connection, Service
from trioker.http.hangup import HangUps
from trioker.http.limits import Limits
from trioker.http.listeners import Listener
from trioker.http.messages import Handler
from trioker.http.streams import close_gracefully

log = logging.getLogger("trioker.http")


async def serve(
    listeners: Sequence[Listener],
    handler: Handler,
    *,
    limits: Limits | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer every request on ``listeners`` with ``handler``, until cancelled; the listeners are closed then.

    Once cancelled, nobody new is accepted; idle connections, streams and taken-over connections are cut at once; handlers at work have
    ``limits.stop_grace`` seconds to answer.
    """
    server = _Server(handler, limits or Limits())
    async with trio.open_nursery() as nursery:
        connections = await nursery.start(server.hold)
        try:
            async with trio.open_nursery() as accepting:
                for listener in listeners:
                    welcome = partial(server.welcome, listener)
                    accepting.start_soon(
                        partial(trio.serve_listeners, welcome, [listener.socket], handler_nursery=connections)
                    )
                task_status.started()
        finally:
            server.stop()


class _Server:
    def __init__(self, handler: Handler, limits: Limits) -> None:
        self._limits = limits
        self._service = Service(handler, limits, HangUps())
        self._connections: set[Connection] = set()
        self._count: Counter[Listener] = Counter()
        self._turning_away = 0
        self._stopped = trio.Event()

    async def hold(self, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        """Keep the nursery of the connections: apart from the accepting tasks, to outlive them by the grace."""
        with trio.CancelScope(shield=True) as scope:
            async with trio.open_nursery() as watching:
                watching.start_soon(self._service.hangups.run)
                async with trio.open_nursery() as connections:
                    task_status.started(connections)
                    await self._stopped.wait()
                    scope.deadline = trio.current_time() + self._limits.stop_grace
                watching.cancel_scope.cancel()

    def stop(self) -> None:
        """Begin the end."""
        for connection in self._connections:
            connection.stop()
        self._stopped.set()

    async def welcome(self, listener: Listener, stream: trio.SocketStream) -> None:
        """One connection's life. Whatever happens in it stays in it."""
        try:
            if self._count[listener] >= self._limits.connections:
                await self._turn_away(listener, stream)
                return
            self._count[listener] += 1
            try:
                await self._serve(listener, stream)
            finally:
                self._count[listener] -= 1
        except Exception:
            log.exception("a connection failed")

    async def _serve(self, listener: Listener, stream: trio.SocketStream) -> None:
        detect_dead_peers(stream)
        secured = await self._secure(listener, stream)
        if secured is None or self._stopped.is_set():
            return
        fd = stream.socket.fileno()
        connection = Connection(secured, fd, listener.access, self._service)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.remove(connection)

    async def _secure(self, listener: Listener, stream: trio.SocketStream) -> trio.abc.Stream | None:
        if listener.tls is None:
            return stream
        # HTTPS peers end connections without close_notify as often as with it; HTTP's own framing tells what is whole.
        secured = trio.SSLStream(stream, listener.tls, server_side=True, https_compatible=True)
        try:
            with trio.move_on_after(self._limits.handshake_time):
                await secured.do_handshake()
                return secured
            log.info("a client did not finish its TLS handshake in time")
        except trio.BrokenResourceError as error:
            log.info("a client was refused at its TLS handshake: %s", error.__cause__ or error)
        return None

    async def _turn_away(self, listener: Listener, stream: trio.SocketStream) -> None:
        if self._turning_away == 0:
            log.warning("over %d connections: one more is turned away", self._limits.connections)
        if listener.tls is not None or self._turning_away >= self._limits.turned_away:
            return
        answer = replies.plain(503, f"over {self._limits.connections} connections are open here, try again later")
        self._turning_away += 1
        try:
            await stream.send_all(replies.response(answer, None, keep=False))  # fits into the empty send buffer
            await close_gracefully(stream, self._limits)
        except trio.BrokenResourceError:
            pass
        finally:
            self._turning_away -= 1


def detect_dead_peers(stream: trio.SocketStream) -> None:
    """Have the kernel probe silent TCP peers: one whose host vanished would keep a waiting handler for ever. Dead after about two minutes."""
    if stream.socket.family in {socket.AF_INET, socket.AF_INET6}:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
