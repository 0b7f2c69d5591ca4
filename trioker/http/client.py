"""A small GET client, for images that are imported from a URL."""

import ssl
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import attrs
import h11
import trio

from trioker import __version__
from trioker.http.limits import PIECE

CONNECT_TIME = 30.0
"""Seconds for name, connection and TLS: Go's default dialler."""
READ_TIME = 60.0
"""Seconds without one byte before a server is given up."""
REDIRECTS = 5
"""Followed at most; mirrors use one or two."""
HEAD_BYTES = 64 * 1024
"""Of a reply, against a server that sends headers for ever."""
_PORTS = {"http": 80, "https": 443}
_REDIRECTING = {301, 302, 303, 307, 308}


class BadUrl(Exception):
    """A URL that cannot be fetched whatever the server says."""


class FetchError(Exception):
    """A fetch that failed. ``status`` is the server's answer, 0 if there was none."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


@attrs.frozen
class Fetched:
    """A reply being read."""

    length: int
    """Bytes to come, 0 if the server did not say."""
    chunks: AsyncIterator[bytes]
    """Raises FetchError when the body ends early or stalls."""


@asynccontextmanager
async def fetch(url: str, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Fetched]:
    """GET an http or https URL; ``tls`` replaces the system's authorities. Raises BadUrl, FetchError.

    A user and password in the URL are sent (Basic, RFC 7617), and not to the hosts it redirects to.
    """
    context = tls or ssl.create_default_context()
    for _ in range(REDIRECTS + 1):
        parts = parse_url(url)
        async with _exchange(parts, context) as (stream, parser, head):
            location = dict(head.headers).get(b"location")
            if head.status_code in _REDIRECTING and location is not None:
                url = _redirect(parts, location)
                continue
            if head.status_code != 200:
                raise FetchError(f"{shown(parts)}: the server answered {head.status_code}", head.status_code)
            length = int(dict(head.headers).get(b"content-length", b"0"))
            async with aclosing(_body(parts, stream, parser)) as chunks:
                yield Fetched(length, chunks)
                return
    raise FetchError(f"{shown(parts)}: more than {REDIRECTS} redirects")


def parse_url(url: str) -> SplitResult:
    """Split an http or https URL. Raises BadUrl."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in _PORTS and parts.hostname and parts.port != 0
    except ValueError as error:
        raise BadUrl(f"bad URL {url!r}: {error}") from None
    if not sound:
        raise BadUrl(f"bad URL {url!r}: use http://HOST/... or https://HOST/...")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise BadUrl(f"bad URL {url!r}: blanks and other than ASCII must be percent-encoded")
    return parts


def shown(parts: SplitResult) -> str:
    """The URL for people: without what may be secret in it (user, query)."""
    return f"{parts.scheme}://{_authority(parts)}{parts.path}"


def _authority(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _redirect(parts: SplitResult, location: bytes) -> str:
    try:
        target = urljoin(parts.geturl(), location.decode("latin-1"))
        redirected = parse_url(target)
    except (ValueError, BadUrl) as error:
        raise FetchError(f"{shown(parts)}: redirected to nowhere: {error}") from None
    if parts.scheme == "https" and redirected.scheme == "http":
        raise FetchError(
            f"{shown(parts)}: redirected from https to {shown(redirected)}, which anybody on the way can change"
        )
    return target


@asynccontextmanager
async def _exchange(
    parts: SplitResult, context: ssl.SSLContext
) -> AsyncIterator[tuple[trio.abc.Stream, h11.Connection, h11.Response]]:
    stream = await _connect(parts, context)
    try:
        parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
        with _explained(parts, READ_TIME):
            await stream.send_all(_request(parts, parser))
        head = await _next_event(parts, stream, parser)
        while isinstance(head, h11.InformationalResponse):
            head = await _next_event(parts, stream, parser)
        assert isinstance(head, h11.Response)  # noqa: S101 - nothing else may come first, or h11 raised
        yield stream, parser, head
    finally:
        await trio.aclose_forcefully(stream)


@contextmanager
def _explained(parts: SplitResult, seconds: float) -> Iterator[None]:
    """Turn what can fail on the way into FetchError naming the URL."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise FetchError(f"{shown(parts)}: nothing happened for {seconds:g} s") from None
    except (OSError, trio.BrokenResourceError) as error:
        raise FetchError(f"{shown(parts)}: {error.__cause__ or error}") from error
    except h11.RemoteProtocolError as error:
        raise FetchError(f"{shown(parts)}: {error}") from error


async def _connect(parts: SplitResult, context: ssl.SSLContext) -> trio.abc.Stream:
    host = parts.hostname or ""
    with _explained(parts, CONNECT_TIME):
        stream = await trio.open_tcp_stream(host, parts.port or _PORTS[parts.scheme])
        if parts.scheme == "http":
            return stream
        secured = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
        try:
            await secured.do_handshake()
            return secured
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise


def _request(parts: SplitResult, parser: h11.Connection) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = [("Host", _authority(parts)), ("User-Agent", f"trioker/{__version__}"), ("Connection", "close")]
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers.append(("Authorization", f"Basic {b64encode(user).decode()}"))
    return parser.send(h11.Request(method="GET", target=target, headers=headers)) + parser.send(h11.EndOfMessage())


async def _next_event(parts: SplitResult, stream: trio.abc.Stream, parser: h11.Connection) -> object:
    with _explained(parts, READ_TIME):
        while (event := parser.next_event()) is h11.NEED_DATA:
            received = bytes(await stream.receive_some(PIECE))
            if not received and parser.their_state is h11.SEND_RESPONSE:
                raise FetchError(f"{shown(parts)}: the server closed the connection without an answer")
            parser.receive_data(received)
        return event


async def _body(parts: SplitResult, stream: trio.abc.Stream, parser: h11.Connection) -> AsyncGenerator[bytes, None]:
    while isinstance(event := await _next_event(parts, stream, parser), h11.Data):
        yield bytes(event.data)
