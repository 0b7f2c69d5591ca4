"""Who may speak to a listener: what keeps browsers, and pages that pretend to be us, from the API.

And what keeps us from ourselves: a registry, or a Dockerfile's ADD, may name any URL for the daemon to fetch, and here it would be root.

A page in a browser can make the browser send requests to 127.0.0.1. It cannot stop it from adding an Origin (or Sec-Fetch-Site) header to
those that matter, nor from putting the page's own host name into Host when its DNS entry is turned to 127.0.0.1 (DNS rebinding).
"""

import ipaddress
import re
from enum import Enum
from functools import lru_cache

import attrs

from trioker.http.heads import Head
from trioker.http.messages import Response
from trioker.http.replies import plain

CORS_HEADERS = (
    b"Access-Control-Allow-Origin: *\r\n"
    b"Access-Control-Allow-Headers: Origin, X-Requested-With, Content-Type, Accept\r\n"
    b"Access-Control-Allow-Methods: GET, POST, DELETE, PUT, OPTIONS\r\n"
)
"""As the original daemon sent them (behaviour.md section 1)."""

DAEMON_AGENT = b"trioker/"
"""Begins the User-Agent of all that a daemon fetches for others. Our own command line has another."""

_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::[0-9]*)?")


class Kind(Enum):
    """What a listener listens on."""

    TCP = "tcp"
    UNIX = "unix"


@attrs.frozen
class Access:
    """The policy of one listener."""

    kind: Kind
    cors: bool = False
    host_names: frozenset[str] = frozenset()
    """Lower-case names that pass in Host besides addresses and localhost."""

    @property
    def headers(self) -> bytes:
        """Header lines that every reply carries."""
        return CORS_HEADERS if self.cors else b""

    def refusal(self, head: Head) -> Response | None:
        """The answer to a request that may not pass."""
        host = origin = site = agent = b""
        for name, value in head.headers:
            if name == b"host":
                host = value
            elif name == b"origin":
                origin = value or b"null"
            elif name == b"sec-fetch-site":
                site = value
            elif name == b"user-agent":
                agent = value
        if agent.startswith(DAEMON_AGENT):
            return plain(403, "a trioker daemon fetches nothing from an API like its own")
        if self.kind is Kind.TCP:
            for name in (host, head.authority):
                if not host_passes(name, self.host_names):
                    return plain(403, _host_refused(name.decode("latin-1")))
        if not self.cors and (origin or site in {b"cross-site", b"same-site"}):
            return plain(403, "requests from web pages are refused (the daemon's flag --api-enable-cors allows them)")
        return None


@lru_cache(maxsize=256)
def host_passes(value: bytes, names: frozenset[str]) -> bool:
    """Whether a Host header names us: empty, any IP address, localhost or one of ``names``, with any port."""
    if not value:
        return True
    host = _host_of(value.decode("latin-1"))
    return host == "localhost" or host in names or _is_address(host)


def _host_of(value: str) -> str:
    match = _HOST.fullmatch(value)
    return match[1].lower().removesuffix(".") if match else ""


def _is_address(host: str) -> bool:
    bracketed = host.startswith("[")
    try:
        return ipaddress.ip_address(host[1:-1] if bracketed else host).version == (6 if bracketed else 4)
    except ValueError:
        return False


def _host_refused(value: str) -> str:
    return f"the host name {value!r} is not known here (the daemon's flag --host-name {_host_of(value) or 'NAME'} allows it)"
