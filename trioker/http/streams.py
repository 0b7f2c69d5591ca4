"""A connection's byte stream: read ahead, sent with a deadline, taken over, closed without losing the last bytes."""

import trio

from trioker.http.hangup import Watch
from trioker.http.heads import BadRequest, find_end
from trioker.http.limits import PIECE, Limits


class Inbox:
    """What comes from the client. ``early`` holds bytes received but not yet asked for, at most a head's worth and a piece."""

    def __init__(self, stream: trio.abc.Stream, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self.early = bytearray()

    async def receive(self, most: int) -> bytes:
        """The next bytes, at most so many; empty at the end."""
        if self.early:
            return self.take(most)
        return bytes(await self._stream.receive_some(most))

    def take(self, count: int) -> bytes:
        """Remove and return the first ``count`` of the early bytes."""
        taken = bytes(self.early[:count])
        del self.early[:count]
        return taken

    async def read_head(self) -> bytes:
        """The next request's head; empty when the client leaves between requests. How long it may idle is the caller's to limit.

        Raises BadRequest.
        """
        self._skip_empty_lines()
        while not self.early:
            if not await self._fill():
                return b""
        if end := find_end(self.early, 0, self._limits):
            return self.take(end)
        with trio.move_on_after(self._limits.head_time):
            return await self._finish_head()
        raise BadRequest(408, f"the request's head took longer than {self._limits.head_time:g} s")

    async def _finish_head(self) -> bytes:
        while True:
            searched = len(self.early)
            if not await self._fill():
                raise BadRequest(400, "the connection ended within a request's head")
            if end := find_end(self.early, searched, self._limits):
                return self.take(end)

    async def _fill(self) -> bool:
        received = await self._stream.receive_some(PIECE)
        self.early += received
        self._skip_empty_lines()
        return bool(received)

    def _skip_empty_lines(self) -> None:
        """Forgive them before a request (RFC 9112 section 2.2)."""
        while self.early.startswith(b"\r\n"):
            del self.early[:2]


async def deliver(stream: trio.abc.Stream, data: bytes, watch: Watch) -> None:
    """Send a part of a reply. A client that has gone, or takes nothing for too long, cancels the exchange and so the caller."""
    try:
        for start in range(0, len(data), PIECE):
            watch.sending()
            await stream.send_all(data if len(data) <= PIECE else data[start : start + PIECE])
    except trio.BrokenResourceError:
        watch.gone()
        await trio.lowlevel.checkpoint()  # the caller ends here, unless it is shielded
        raise
    finally:
        watch.sent()


class TakenStream(trio.abc.HalfCloseableStream):
    """A connection that speaks HTTP no more: the bytes that came early, then the rest."""

    def __init__(self, stream: trio.abc.Stream, early: bytes, limits: Limits) -> None:
        self._stream = stream
        self._early = early
        self._limits = limits
        self._ended = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See trio.abc.ReceiveStream."""
        if self._early:
            await trio.lowlevel.checkpoint()
            count = len(self._early) if max_bytes is None else max_bytes
            taken, self._early = self._early[:count], self._early[count:]
            return taken
        if self._ended:
            return b""
        return bytes(await self._stream.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See trio.abc.SendStream."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """See trio.abc.SendStream."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """End our side. TLS through Python's ssl ends both at once: reading then finds the end of file."""
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()
        else:
            self._ended = True
            await end_sending(self._stream, self._limits)

    async def aclose(self) -> None:
        """See trio.abc.AsyncResource."""
        await self._stream.aclose()


async def end_sending(stream: trio.abc.Stream, limits: Limits) -> None:
    """Send the end of file that the transport has: close_notify, FIN. Raises trio.BrokenResourceError."""
    if isinstance(stream, trio.SSLStream):
        # unwrap sends close_notify, then waits for the client's, which many never send.
        with trio.move_on_after(limits.linger_time):
            await stream.unwrap()
        stream = stream.transport_stream
    if isinstance(stream, trio.abc.HalfCloseableStream):
        await stream.send_eof()


async def close_gracefully(stream: trio.abc.Stream, limits: Limits) -> None:
    """Close so that the client gets every byte and then the end of file, waiting for it no longer than ``linger_time``.

    Closing a TCP socket with unread input sends a reset, and a reset makes the client's kernel throw away what it had not read yet.
    """
    try:
        await end_sending(stream, limits)
        with trio.move_on_after(limits.linger_time):
            await _discard(stream, limits.linger_bytes)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        await trio.aclose_forcefully(stream)


async def _discard(stream: trio.abc.Stream, most: int) -> None:
    raw = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    while most > 0 and (received := await raw.receive_some(PIECE)):
        most -= len(received)
