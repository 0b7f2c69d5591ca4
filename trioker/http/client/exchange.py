"""One request on a wire, and the head of its answer."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager

import h11
import trio

from trioker.http.client.answers import Upload
from trioker.http.client.errors import FetchError, Hopeless, Unanswered
from trioker.http.client.limits import HEAD_BYTES, HEAD_PIECE, INTERIM_ANSWERS, PIECE, WRITE_TIME
from trioker.http.client.reasons import failure, quoted
from trioker.http.client.tls import Wire


class Exchange:
    """Sends a request and reads the answer's head. ``label``, the URL as it may be shown, begins every error.

    The answer is waited for while the body is sent, and ends the sending: a server that refuses an upload says so early and closes, and
    what it said must not be lost in our broken pipe. ``Expect: 100-continue`` would save no more than the pieces on their way, and
    costs a round trip, or a second where a server does not know it.
    """

    def __init__(self, wire: Wire, label: str) -> None:
        self.wire = wire
        self.label = label
        self.parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
        self.sent_whole = False
        self._answered = False

    async def ask(self, request: h11.Request, body: Upload | None, patience: float) -> h11.Response:
        """The final answer's head, at most ``patience`` seconds after the request was sent. Raises FetchError, what ``body`` raises."""
        head = self.parser.send(request)
        if body is not None:
            return await self._ask_at_length(head, body, patience)
        self.sent_whole = await self._send(head)
        answer = None
        with trio.move_on_after(patience):
            answer = await self._read_head()
        return answer or self._give_up(patience)

    async def _ask_at_length(self, head: bytes, body: Upload, patience: float) -> h11.Response:
        reading = trio.CancelScope()
        failures: list[Exception] = []
        answer = None

        async def send() -> None:
            try:
                self.sent_whole = await self._send(head) and await self._send_body(body)
                reading.deadline = trio.current_time() + patience
            except Exception as error:  # noqa: BLE001 - raised below, outside of the nursery, which would wrap it
                failures.append(error)
                reading.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            with reading:
                try:
                    answer = await self._read_head()
                except FetchError as error:
                    failures.append(error)
            nursery.cancel_scope.cancel()
        if answer is None and failures:
            raise failures[0]
        return answer or self._give_up(patience)

    def _give_up(self, patience: float) -> h11.Response:
        raise FetchError(f"{self.label}: nothing happened for {patience:g} s")

    async def _send(self, data: bytes | memoryview) -> bool:
        """False if the server takes no more: then it may have said why."""
        try:
            with trio.fail_after(WRITE_TIME):
                await self.wire.send_all(data)
        except trio.TooSlowError:
            raise FetchError(f"{self.label}: the server took nothing for {WRITE_TIME:g} s") from None
        except trio.BrokenResourceError:
            return False
        return True

    async def _send_body(self, body: Upload) -> bool:
        sent = 0
        async with _opened(body) as pieces:
            async for piece in pieces:
                sent += len(piece)
                if body.length is not None and sent > body.length:
                    raise Hopeless(f"{self.label}: the body to send is longer than its {body.length} bytes")
                if not await self._send_piece(piece, chunked=body.length is None):
                    return False
        if body.length is None:
            return await self._send(b"0\r\n\r\n")
        if sent < body.length:
            raise Hopeless(f"{self.label}: the body to send ended after {sent} of {body.length} bytes")
        return True

    async def _send_piece(self, data: bytes, *, chunked: bool) -> bool:
        view = memoryview(data)
        for start in range(0, len(data), PIECE):
            piece = view[start : start + PIECE]
            if not await self._send(b"".join((b"%x\r\n" % len(piece), piece, b"\r\n")) if chunked else piece):
                return False
        return True

    async def _read_head(self) -> h11.Response:
        for _ in range(INTERIM_ANSWERS + 1):
            head = await self._next_head()
            if isinstance(head, h11.Response):
                return self._checked(head)
        raise Hopeless(f"{self.label}: more than {INTERIM_ANSWERS} answers that something will follow (status 1xx)")

    async def _next_head(self) -> object:
        try:
            while (event := self.parser.next_event()) is h11.NEED_DATA:
                self.parser.receive_data(await self._receive())
        except h11.RemoteProtocolError as error:
            raise Hopeless(f"{self.label}: the answer is no sound HTTP: {quoted(error)}") from None
        return event

    async def _receive(self) -> bytes:
        try:
            data = bytes(await self.wire.receive_some(HEAD_PIECE))
        except (OSError, trio.BrokenResourceError) as error:
            known = failure(self.label, error)
            raise known if self._answered or isinstance(known, Hopeless) else Unanswered(str(known)) from error
        if not data:
            if self._answered:
                raise FetchError(f"{self.label}: the connection ended within the head of the answer")
            raise Unanswered(f"{self.label}: the server closed the connection without an answer")
        self._answered = True
        return data

    def _checked(self, head: h11.Response) -> h11.Response:
        # RFC 9112, section 6.1: one of both is a lie, and who believes the other one reads another body.
        names = {name for name, _ in head.headers}
        if b"transfer-encoding" in names and (b"content-length" in names or head.http_version != b"1.1"):
            raise Hopeless(f"{self.label}: the answer has both a Content-Length (or HTTP/1.0) and a Transfer-Encoding")
        return head


@asynccontextmanager
async def _opened(body: Upload) -> AsyncIterator[AsyncIterable[bytes]]:
    pieces = body.open()
    try:
        yield pieces
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()
