"""URLs: what is refused, where they lead, and how much of them may be shown."""

import re
import string
from base64 import b64encode
from ipaddress import IPv6Address
from urllib.parse import SplitResult, quote, unquote_to_bytes, urljoin, urlsplit

import attrs

from trioker.http.addresses import is_internal
from trioker.http.client.errors import BadUrl, Hopeless

PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\.?")
_SHOWN = 300
"""Characters of a URL in a message; a server may redirect to one of 64 KiB."""


@attrs.frozen
class Origin:
    """Who answers for a URL (RFC 6454): what is told to one is not told to another."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_url(url: str) -> SplitResult:
    """Split an http or https URL. Raises BadUrl."""
    if not url.isascii() or not url.isprintable() or " " in url:
        raise BadUrl(f"bad URL {_guarded(url)!r}: blanks and other than ASCII must be percent-encoded")
    try:
        parts = urlsplit(url)
        sound = parts.scheme in PORTS and parts.port != 0 and _sound_host(parts.hostname or "")
    except ValueError:  # its text may quote the password
        sound = False
    if not sound:
        raise BadUrl(f"bad URL {_guarded(url)!r}: use http://HOST[:PORT]/... or https://HOST[:PORT]/...")
    return parts


def _sound_host(host: str) -> bool:
    if ":" in host:
        return "%" not in host and bool(IPv6Address(host))
    return _HOST.fullmatch(host) is not None


def _guarded(url: str) -> str:
    """What may be shown of a text that is no URL: nothing that could be a password or a query."""
    start, at, rest = url.rpartition("@")
    return ("..." * bool(start) + at + re.split("[?#&]", rest)[0])[:_SHOWN]


def origin_of(parts: SplitResult) -> Origin:
    """Scheme, host in lower case and port of a parsed URL."""
    return Origin(parts.scheme, parts.hostname or "", parts.port or PORTS[parts.scheme])


def authority(parts: SplitResult) -> str:
    """Host and port as they were written: the Host header."""
    return parts.netloc.rpartition("@")[2]


def target(parts: SplitResult) -> str:
    """Path and query: what is asked of the server."""
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def bare(parts: SplitResult) -> str:
    """The URL without user, password and fragment."""
    return f"{parts.scheme}://{authority(parts)}{target(parts)}"


def shown(parts: SplitResult) -> str:
    """The URL for people: without what may be secret in it (user, query)."""
    return f"{parts.scheme}://{authority(parts)}{parts.path}"[:_SHOWN]


def basic(parts: SplitResult) -> bytes:
    """User and password of a URL as Basic credentials (RFC 7617), empty if it names no user."""
    if parts.username is None:
        return b""
    return b"Basic " + b64encode(unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or ""))


def leads_inside(here: str, there: str) -> bool:
    """Whether a server at ``here``, which is elsewhere, names a URL of this machine or its link: what listens there trusts us, not that server."""
    return is_internal(urlsplit(there).hostname or "") and not is_internal(urlsplit(here).hostname or "")


def redirected(parts: SplitResult, location: bytes) -> SplitResult:
    """Where a Location leads from here. Raises Hopeless."""
    try:
        # Some servers send blanks and UTF-8 as they are; every browser encodes them.
        there = parse_url(urljoin(parts.geturl(), quote(location, safe=string.punctuation)))
    except (ValueError, BadUrl) as error:
        raise Hopeless(f"{shown(parts)}: redirected to nowhere: {error}") from None
    if parts.scheme == "https" and there.scheme == "http":
        raise Hopeless(f"{shown(parts)}: redirected from https to {shown(there)}, which anybody on the way can change")
    if leads_inside(parts.geturl(), there.geturl()):
        raise Hopeless(f"{shown(parts)}: redirected to {shown(there)}, which is this machine's own")
    return there
