"""Connections: made, kept for the next request, closed."""

import select

import trio

from trioker.http.client.limits import IDLE_LINKS, IDLE_LINKS_PER_ORIGIN, IDLE_TIME
from trioker.http.client.tls import TlsWire, Wire
from trioker.http.client.urls import Origin


class Link:
    """A connection to a server."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._socket = stream.socket
        self.wire: Wire = stream
        """The outermost stream: TLS, once it is spoken."""
        self.idle_since = 0.0

    def is_quiet(self) -> bool:
        """Whether the server has neither closed it nor said anything unasked."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0) and (not isinstance(self.wire, TlsWire) or self.wire.is_quiet())

    def close(self) -> None:
        """At once, and without TLS's farewell: what was said is framed by HTTP."""
        self._socket.close()


class IdleLinks:
    """Connections waiting for the next request to their servers, a bounded number for a bounded time."""

    def __init__(self) -> None:
        self._links: list[tuple[Origin, Link]] = []
        """The one that waits longest comes first."""
        self._reaper: trio.CancelScope | None = None

    def take(self, origin: Origin) -> Link | None:
        """The connection to this server that was used last, if there is one and it lives."""
        for index in range(len(self._links) - 1, -1, -1):
            if self._links[index][0] != origin:
                continue
            _, link = self._links.pop(index)
            if link.is_quiet():
                return link
            link.close()
        return None

    def put(self, origin: Origin, link: Link) -> None:
        """Keep it for a while."""
        link.idle_since = trio.current_time()
        self._links.append((origin, link))
        same = [index for index, (each, _) in enumerate(self._links) if each == origin]
        if len(same) > IDLE_LINKS_PER_ORIGIN:
            self._drop(same[0])
        elif len(self._links) > IDLE_LINKS:
            self._drop(0)
        if self._reaper is None:
            self._reaper = trio.CancelScope()
            trio.lowlevel.spawn_system_task(self._reap, self._reaper)

    def close(self) -> None:
        """Close them all."""
        if self._reaper is not None:
            self._reaper.cancel()
        while self._links:
            self._drop(0)

    def _drop(self, index: int) -> None:
        self._links.pop(index)[1].close()

    async def _reap(self, life: trio.CancelScope) -> None:
        """Runs while there are idle connections. A system task, so that a client needs no nursery."""
        try:
            with life:
                while self._links:
                    await trio.sleep_until(self._links[0][1].idle_since + IDLE_TIME)
                    while self._links and self._links[0][1].idle_since + IDLE_TIME <= trio.current_time():
                        self._drop(0)
        finally:
            self.close()
            self._reaper = None
