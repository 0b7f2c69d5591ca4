"""The way to a server: by TCP or a unix socket, straight or by a proxy, with TLS or without."""

import math
import ssl
from collections.abc import Collection
from urllib.parse import SplitResult

import h11
import trio

from trioker.http.client.errors import FetchError, Hopeless, Unreached
from trioker.http.client.exchange import Exchange
from trioker.http.client.limits import CONNECT_TIME
from trioker.http.client.links import Link
from trioker.http.client.proxies import Proxies
from trioker.http.client.reasons import failure, reason
from trioker.http.client.tls import TlsWire, system_context, unchecked_context
from trioker.http.client.urls import Origin, basic, origin_of


class Dialer:
    """Makes connections, as it was told once."""

    def __init__(self, tls: ssl.SSLContext | None, insecure: Collection[str], proxies: Proxies, unix_path: str) -> None:
        self._tls = tls
        self._insecure = frozenset(each.lower() for each in insecure)
        self._proxies = proxies
        self._unix_path = unix_path

    def proxy(self, origin: Origin) -> SplitResult | None:
        """The proxy on the way to ``origin``. Raises Hopeless."""
        return None if self._unix_path else self._proxies.choose(origin)

    async def dial(self, origin: Origin, label: str) -> Link:
        """A new connection that is ready for requests, within CONNECT_TIME. Raises FetchError beginning with ``label``."""
        proxy = self.proxy(origin)
        place = origin_of(proxy) if proxy else origin
        name = self._unix_path or ("the proxy " * bool(proxy) + str(place))
        link = None
        try:
            with trio.fail_after(CONNECT_TIME):
                link = Link(await self._reach(place))
                await self._prepare(link, origin, proxy, label)
                return link
        except BaseException as error:
            if link is not None:
                link.close()
            if isinstance(error, trio.TooSlowError):
                raise Unreached(f"{label}: no connection to {name} within {CONNECT_TIME:g} s") from None
            if isinstance(error, OSError):
                raise Unreached(f"{label}: no connection to {name}: {reason(error)}") from error
            raise

    async def _reach(self, place: Origin) -> trio.SocketStream:
        if self._unix_path:
            return await trio.open_unix_socket(self._unix_path)
        return await trio.open_tcp_stream(place.host, place.port)

    async def _prepare(self, link: Link, origin: Origin, proxy: SplitResult | None, label: str) -> None:
        if proxy is not None and proxy.scheme == "https":
            await self._secure(link, origin_of(proxy), label)
        if proxy is not None and origin.scheme == "https":
            await _tunnel(link, origin, proxy, label)
        if origin.scheme == "https":
            await self._secure(link, origin, label)

    async def _secure(self, link: Link, origin: Origin, label: str) -> None:
        context = await self._context(origin)
        wire = TlsWire(link.wire, context, origin.host.removesuffix("."))
        try:
            await wire.handshake()
        except (OSError, trio.BrokenResourceError) as error:
            raise failure(label, error) from error
        link.wire = wire

    async def _context(self, origin: Origin) -> ssl.SSLContext:
        if not self._insecure.isdisjoint({origin.host, f"[{origin.host}]", str(origin)}):
            return unchecked_context()
        if self._tls is None:
            self._tls = await trio.to_thread.run_sync(system_context)
        return self._tls


async def _tunnel(link: Link, origin: Origin, proxy: SplitResult, label: str) -> None:
    """Ask a proxy for a connection that it does not look into (RFC 9110, section 9.3.6)."""
    headers = [("Host", str(origin))]
    if credentials := basic(proxy):
        headers.append(("Proxy-Authorization", credentials.decode()))
    exchange = Exchange(link.wire, f"{label}: the proxy {origin_of(proxy)}")
    answer = await exchange.ask(h11.Request(method="CONNECT", target=str(origin), headers=headers), None, math.inf)
    if not 200 <= answer.status_code < 300:
        # Not as the error's status: it would be taken for the server's.
        kind = FetchError if answer.status_code >= 500 else Hopeless
        raise kind(f"{label}: the proxy {origin_of(proxy)} answered {answer.status_code} when asked for {origin}")
    if exchange.parser.trailing_data[0]:
        raise Hopeless(f"{label}: the proxy {origin_of(proxy)} speaks before the server does")
