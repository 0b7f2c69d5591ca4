"""The body of an answer."""

from collections.abc import AsyncGenerator

import h11

from trioker.http.client.errors import FetchError, Hopeless
from trioker.http.client.exchange import Exchange
from trioker.http.client.limits import PIECE, READ_TIME
from trioker.http.client.reasons import explained, quoted


class Body:
    """What follows an answer's head. Bodies of known length and without end go around h11, which would copy each byte three times."""

    def __init__(self, exchange: Exchange, head: h11.Response, method: str) -> None:
        self._label = exchange.label
        self._wire = exchange.wire
        self._parser = exchange.parser
        self._early = exchange.parser.trailing_data[0]
        headers = dict(head.headers)
        self._chunked = b"transfer-encoding" in headers
        self.announced = int(headers[b"content-length"]) if b"content-length" in headers else None
        """Bytes by Content-Length."""
        self._length = 0 if method == "HEAD" or head.status_code in {204, 304} else self.announced
        self.whole = self._length == 0 and not self._early
        """Whether all of it was read, and nothing beyond it."""

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes as they come. Raises FetchError."""
        if self._length is not None:
            return self._counted(self._length)
        return self._unchunked() if self._chunked else self._until_the_end()

    def skip(self) -> None:
        """Read no more. If all of the body is here already, that counts as read."""
        self.whole = self.whole or (self._length is not None and len(self._early) == self._length)

    async def _counted(self, length: int) -> AsyncGenerator[bytes, None]:
        rest = length
        data, self._early = self._early, b""
        while True:
            rest -= len(data)
            if rest < 0:
                raise Hopeless(f"{self._label}: the body is longer than the {length} bytes announced")
            self.whole = rest == 0
            if data:
                yield data
            if rest == 0:
                return
            if not (data := await self._receive()):
                raise FetchError(f"{self._label}: the body ended after {length - rest} of {length} bytes")

    async def _unchunked(self) -> AsyncGenerator[bytes, None]:
        while True:
            data, ended = self._parsed()
            self.whole = ended and not self._parser.trailing_data[0]
            if data:
                yield data
            if ended:
                return
            if not (more := await self._receive()):
                raise FetchError(f"{self._label}: the body ended before its last chunk")
            self._parser.receive_data(more)

    def _parsed(self) -> tuple[bytes, bool]:
        """What the bytes that are here give, and whether it is the end. In one piece: a server may send chunks of one byte."""
        pieces = []
        try:
            while isinstance(event := self._parser.next_event(), h11.Data):
                pieces.append(event.data)
        except h11.RemoteProtocolError as error:
            raise Hopeless(f"{self._label}: the body is no sound HTTP: {quoted(error)}") from None
        return b"".join(pieces), isinstance(event, h11.EndOfMessage)

    async def _until_the_end(self) -> AsyncGenerator[bytes, None]:
        data, self._early = self._early, b""
        while data or (data := await self._receive()):
            yield data
            data = b""

    async def _receive(self) -> bytes:
        with explained(self._label, READ_TIME):
            return bytes(await self._wire.receive_some(PIECE))
