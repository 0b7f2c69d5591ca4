"""A request's body: through h11 where it is chunked, straight from the socket where its length is known."""

from collections.abc import AsyncIterator

import h11
import trio

from trioker.http.hangup import Watch
from trioker.http.heads import Head
from trioker.http.limits import COUNTED_PIECE, PIECE, Limits
from trioker.http.messages import BadBody, BodyTooLarge, BodyTooSlow
from trioker.http.replies import CONTINUE
from trioker.http.streams import Inbox, deliver


class RequestBody:
    """The pieces of one request's body.

    An iterator and no generator: one left half-read by its handler needs no asynchronous cleaning up.
    """

    def __init__(self, head: Head, inbox: Inbox, stream: trio.abc.Stream, watch: Watch, limits: Limits) -> None:
        self._parser = head.parser
        self._length = head.length
        self._left = head.length
        self._inbox = inbox
        self._stream = stream
        self._watch = watch
        self._limits = limits
        self.client_waits = head.expects_continue and head.has_body
        """For a 100-continue that was not sent."""
        self._started = False
        self.failed = False
        """The rest cannot be had."""
        self.finished = not head.has_body
        """Every byte has been read."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The pieces."""
        return self

    async def __anext__(self) -> bytes:
        """The next piece."""
        if self.finished:
            raise StopAsyncIteration
        if self.failed:
            raise BadBody("the request's body is broken")
        if not self._started:
            await self._start()
        try:
            return await self._next_piece()
        except BadBody:
            self.failed = True
            raise

    async def read(self, limit: int) -> bytes:
        """The whole body."""
        if self._length > limit:
            raise _too_large(limit)
        with trio.move_on_after(self._limits.read_time):
            return await self._collect(limit)
        self.failed = True
        raise BodyTooSlow(f"the request's body took longer than {self._limits.read_time:g} s")

    async def drain(self) -> bool:
        """Throw the rest away, so that another request can follow. False when that takes too long or too much."""
        if self.finished:
            return True
        if self.failed or self.client_waits:
            return False
        left = self._limits.drain_bytes
        try:
            with trio.move_on_after(self._limits.drain_time):
                async for piece in self:
                    left -= len(piece)
                    if left < 0:
                        return False
        except BadBody:
            return False
        return self.finished

    async def _collect(self, limit: int) -> bytes:
        collected = bytearray()
        async for piece in self:
            collected += piece
            if len(collected) > limit:
                raise _too_large(limit)
        return bytes(collected)

    async def _start(self) -> None:
        self._started = True
        self._watch.reading(still=True)
        if self.client_waits:
            self.client_waits = False
            if not self._inbox.early:
                await deliver(self._stream, CONTINUE, self._watch)

    async def _next_piece(self) -> bytes:
        if self._length:  # h11 would copy each byte twice, and find nothing in it
            return await self._next_counted()
        while True:
            event = self._next_event()
            if isinstance(event, h11.Data):
                return bytes(event.data)
            if isinstance(event, h11.EndOfMessage):
                self._finish()
                raise StopAsyncIteration
            self._parser.receive_data(await self._receive(PIECE))

    async def _next_counted(self) -> bytes:
        if not self._left:
            self._finish()
            raise StopAsyncIteration
        piece = await self._receive(min(self._left, COUNTED_PIECE))
        if not piece:
            raise BadBody(f"bad request body: it ends {self._left} bytes before the {self._length} it should have")
        self._left -= len(piece)
        return piece

    def _next_event(self) -> object:
        try:
            return self._parser.next_event()
        except h11.RemoteProtocolError as error:
            raise BadBody(f"bad request body: {error}") from None

    async def _receive(self, most: int) -> bytes:
        with trio.move_on_after(self._limits.body_idle_time):
            try:
                return await self._inbox.receive(most)
            except trio.BrokenResourceError:
                self._watch.gone()
                raise BadBody("the client is gone") from None
        raise BodyTooSlow(f"no byte of the request's body came for {self._limits.body_idle_time:g} s")

    def _finish(self) -> None:
        self.finished = True
        self._watch.reading(still=False)
        self._inbox.early[:0] = self._parser.trailing_data[0]


def _too_large(limit: int) -> BodyTooLarge:
    """The error for a body of more than ``limit`` bytes."""
    return BodyTooLarge(f"the request's body is longer than {limit} bytes")
