"""The body of a streamed reply, on its way out."""

from collections.abc import Callable

import trio

from trioker.http.hangup import Watch
from trioker.http.streams import deliver


class BodyWriter:
    """Frames and sends what ``Stream.write`` produces: chunked, of a known length, or until the connection's end."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        watch: Watch,
        head: Callable[[], bytes],
        *,
        length: int | None,
        chunked: bool,
    ) -> None:
        self._stream = stream
        self._watch = watch
        self._head: Callable[[], bytes] | None = head
        self._left = length
        self._chunked = chunked

    @property
    def begun(self) -> bool:
        """Whether the head is on its way, or more."""
        return self._head is None

    async def start(self) -> None:
        """Send the head, unless a first piece took it along."""
        if self._head:
            await deliver(self._stream, self._take_head(), self._watch)

    async def send(self, data: bytes) -> None:
        """Send a piece; returns when there is room for more. The client's leaving cancels the caller."""
        self._count(len(data))
        framed = self._take_head() + self._frame(data)
        await deliver(self._stream, framed, self._watch)

    async def finish(self) -> None:
        """Mark the end. Raises ValueError when fewer bytes than announced were sent."""
        if self._left:
            raise ValueError(f"the reply's body is {self._left} bytes short")
        await deliver(self._stream, self._take_head() + (b"0\r\n\r\n" if self._chunked else b""), self._watch)

    def _count(self, size: int) -> None:
        if self._left is not None:
            self._left -= size
            if self._left < 0:
                raise ValueError("the reply's body is longer than announced")

    def _frame(self, data: bytes) -> bytes:
        if self._chunked and data:  # an empty chunk would be the end
            return b"%x\r\n%b\r\n" % (len(data), data)
        return data

    def _take_head(self) -> bytes:
        head, self._head = self._head, None
        return head() if head else b""
