"""Noticing that a client has gone, without reading from it.

Bytes a client sends early (its next request, or the first keys of an attach) stay in the kernel, bounded by its buffer and lost to nobody:
the epoll set here is asked for hang-ups only. It is itself pollable, so one task serves all connections and a request costs two
epoll_ctl calls, no task of its own.
"""

import select

import attrs
import trio


@attrs.define
class Watch:
    """One exchange: its scope is cancelled when the client goes, or takes no bytes of the reply."""

    grace: float
    """Seconds left to a handler whose client ended its side."""
    stall: float
    """Seconds for a piece of the reply to be taken."""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _half_closed: bool = False
    _reading: bool = False

    def gone(self) -> None:
        """Nobody is there to be answered."""
        self.scope.cancel()

    def half_closed(self) -> None:
        """The client sends no more. Whether it still reads, TCP does not say."""
        self._half_closed = True
        self._wait()

    def reading(self, *, still: bool) -> None:
        """The body is being read, so the end of file behind it says nothing yet; or it no longer is."""
        self._reading = still
        self._wait()

    def sending(self) -> None:
        """A piece of the reply is on its way."""
        self.scope.deadline = trio.current_time() + self.stall

    def sent(self) -> None:
        """The piece was taken. That a half-closed client lives shows in its taking more, so the grace starts anew."""
        self._wait()

    def _wait(self) -> None:
        patient = self._reading or not self._half_closed
        self.scope.deadline = float("inf") if patient else trio.current_time() + self.grace


class HangUps:
    """All connections that have a handler running."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watches: dict[int, Watch] = {}

    def add(self, fd: int, watch: Watch) -> None:
        """Tell ``watch`` when the socket ``fd`` is hung up, also if it is already. Undo with ``remove`` before closing it."""
        self._watches[fd] = watch
        # Edge-triggered: level-triggered, a half-closed client would wake us for ever. EPOLLHUP and EPOLLERR come unasked.
        self._epoll.register(fd, select.EPOLLRDHUP | select.EPOLLET)

    def remove(self, fd: int) -> None:
        """Forget ``fd``."""
        del self._watches[fd]
        self._epoll.unregister(fd)

    async def run(self) -> None:
        """Serve until cancelled."""
        with self._epoll:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for fd, events in self._epoll.poll(0):
                    self._tell(self._watches[fd], events)

    @staticmethod
    def _tell(watch: Watch, events: int) -> None:
        if events & (select.EPOLLHUP | select.EPOLLERR):
            watch.gone()
        else:
            watch.half_closed()
