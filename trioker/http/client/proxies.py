"""Which way to a server: straight or by a proxy, as the environment has it."""

import ipaddress
from collections.abc import Mapping
from urllib.parse import SplitResult

import attrs

from trioker.http.client.errors import BadUrl, Hopeless
from trioker.http.client.urls import Origin, parse_url


@attrs.frozen
class Proxies:
    """Proxy URLs (they may hold a password, so they are not shown) and who is reached without; empty: straight to everybody."""

    http: str = attrs.field(default="", repr=False)
    https: str = attrs.field(default="", repr=False)
    bypass: tuple[str, ...] = ()
    """Entries of NO_PROXY."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Proxies":
        """HTTP_PROXY, HTTPS_PROXY and NO_PROXY or their lower-case forms, as curl and Go read them.

        HTTP_PROXY counts for nothing beside REQUEST_METHOD: a CGI server puts the client's Proxy header there ("httpoxy", CVE-2016-5385).
        """
        http = "" if "REQUEST_METHOD" in environment else environment.get("HTTP_PROXY", "")
        return cls(
            http or environment.get("http_proxy", ""),
            environment.get("HTTPS_PROXY") or environment.get("https_proxy", ""),
            tuple((environment.get("NO_PROXY") or environment.get("no_proxy", "")).replace(",", " ").lower().split()),
        )

    def choose(self, origin: Origin) -> SplitResult | None:
        """The proxy to ask for what is at ``origin``, None for the straight way. Raises Hopeless for one that is none."""
        url = self.https if origin.scheme == "https" else self.http
        if not url or _is_loopback(origin.host) or any(_covers(entry, origin) for entry in self.bypass):
            return None
        try:
            return parse_url(url if "://" in url else f"http://{url}")
        except BadUrl as error:
            raise Hopeless(f"{origin.scheme.upper()}_PROXY: {error}") from None


STRAIGHT = Proxies()
"""No proxy for anybody."""


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address else host.removesuffix(".") == "localhost"


def _covers(entry: str, origin: Origin) -> bool:
    """Whether an entry of NO_PROXY means this origin.

    It is ``*``, or a host with or without port, or a network; a name means its subdomains too, and only them if it begins with a dot.
    """
    if entry == "*":
        return True
    address = _address(origin.host)
    if "/" in entry:
        return address is not None and _within(address, entry)
    host, port = _split_port(entry)
    if port not in {"", str(origin.port)}:
        return False
    if address is not None:
        return _address(host) == address
    return _is_under(origin.host.removesuffix("."), host.removeprefix("*"))


def _within(address: ipaddress.IPv4Address | ipaddress.IPv6Address, network: str) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _split_port(entry: str) -> tuple[str, str]:
    """``host``, ``host:port``, ``::1``, ``[::1]`` or ``[::1]:port`` as host and port."""
    if entry.startswith("["):
        host, _, port = entry[1:].partition("]")
        return host, port.removeprefix(":")
    if entry.count(":") > 1:
        return entry, ""
    host, _, port = entry.partition(":")
    return host, port


def _is_under(host: str, domain: str) -> bool:
    if domain.startswith("."):
        return host.endswith(domain)
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))
