"""TLS for requests: whom to believe, and a stream that speaks it.

trio.SSLStream is not used, for two reasons. It is broken for good, in both directions, once a send was cancelled or failed, and then the
answer that tells why a server takes no more of an upload could not be read. And it gives one record (16 KiB) at a time.
"""

import contextlib
import ssl
from typing import Protocol

import trio

from trioker.http.tls import BadCertificate

_RECORD = 16 * 1024
"""The most one TLS record holds (RFC 8446, section 5.1)."""


def system_context() -> ssl.SSLContext:
    """The authorities of this host, TLS 1.2 or newer. Reads them from the disk: takes 10 ms and more."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # As Go has it, under every Python (3.13 has other defaults than 3.11): a certificate that is trusted need not be an authority's, and
    # one made by hand need not have every extension that RFC 5280 wants.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def ca_context(ca_file: str) -> ssl.SSLContext:
    """The authorities of this host and those of a PEM file. Raises BadCertificate naming the file."""
    context = system_context()
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError as error:
        raise BadCertificate(f"{ca_file}: no certificates in PEM form ({error.reason})") from None
    except OSError as error:
        raise BadCertificate(f"{ca_file}: {error.strerror}") from None
    return context


def unchecked_context() -> ssl.SSLContext:
    """Takes every certificate. Reads nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Wire(Protocol):
    """A stream of bytes in both directions; one task may send while another receives."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Raises trio.BrokenResourceError."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """At least one byte, fewer only at the end. Raises trio.BrokenResourceError."""


class TlsWire:
    """TLS as a client on another wire.

    An end without TLS's own word for it is a failure (RFC 9112, section 9.8): anybody on the way could have cut the stream there.
    """

    def __init__(self, below: Wire, context: ssl.SSLContext, host: str) -> None:
        self._below = below
        self._received = ssl.MemoryBIO()
        self._to_send = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._to_send, server_hostname=host)
        self._sending = trio.Lock()
        self._torn = False
        """A send ended half-way; what would come after it makes no sense to the server."""

    async def handshake(self) -> None:
        """Raises ssl.SSLError, trio.BrokenResourceError."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed(_RECORD)
            except ssl.SSLError:
                with contextlib.suppress(trio.BrokenResourceError):
                    await self._flush()  # the alert: the server shall know why
                raise
            else:
                return await self._flush()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Raises trio.BrokenResourceError, then and for ever; what comes in can still be read."""
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            raise trio.BrokenResourceError("the server ended TLS") from error
        await self._flush()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """At least one byte, fewer only at the end. Raises ssl.SSLError, trio.BrokenResourceError."""
        wanted = max_bytes or _RECORD
        while True:
            try:
                return self._decrypted(wanted)
            except ssl.SSLWantReadError:
                with contextlib.suppress(trio.BrokenResourceError):
                    await self._flush()  # the answer to a key update, if it was one
                await self._feed(wanted)

    def is_quiet(self) -> bool:
        """Whether nothing has come that nobody asked for."""
        return not self._received.pending and not self._tls.pending()

    def _decrypted(self, wanted: int) -> bytes:
        """What is here already, up to ``wanted`` bytes, nothing at the end. Raises ssl.SSLError."""
        pieces: list[bytes] = []
        try:
            while wanted > 0 and (piece := self._tls.read(min(wanted, _RECORD))):
                pieces.append(piece)
                wanted -= len(piece)
        except ssl.SSLError:
            if not pieces:
                raise
        return b"".join(pieces)

    async def _feed(self, size: int) -> None:
        data = await self._below.receive_some(size)
        if not data:
            raise trio.BrokenResourceError("the connection was cut")
        self._received.write(data)

    async def _flush(self) -> None:
        if not self._to_send.pending:
            return
        async with self._sending:
            if self._torn:
                raise trio.BrokenResourceError("an earlier piece was not sent whole")
            self._torn = True
            await self._below.send_all(self._to_send.read())
            self._torn = False
