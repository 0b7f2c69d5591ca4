"""What a user may write for a published port. Here because a dialect refuses what is none, and the network serves it."""

import re
from ipaddress import ip_address

import attrs

from trioker.model.errors import InvalidParameter

_FORM = re.compile(r"(?:(?:(?P<host>\[[^]]*\]|[^][:]*):)?(?P<public>[^:]*):)?(?P<private>[^:]*)", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,5}", re.ASCII)
_PROTOCOLS = ("tcp", "udp")
_HIGHEST = 65535


@attrs.frozen
class PortSpec:
    """A wish for a published port."""

    private: int
    public: int | None = None
    """None for any of the range."""
    protocol: str = "tcp"
    host: str = ""
    """Address of the host; "" for all."""


def parse_port(text: str) -> PortSpec:
    """``80`` (any public port), ``:80`` (the same), ``4500:80``, ``127.0.0.1:4500:80``, ``127.0.0.1::80``, each with ``/tcp`` or ``/udp``.

    An IPv6 address is written in brackets. Raises InvalidParameter.
    """
    numbers, slash, protocol = text.strip().partition("/")
    found = _FORM.fullmatch(numbers)
    if not found or (slash and protocol not in _PROTOCOLS):
        raise InvalidParameter(f"Invalid port format: {text!r}")
    private = _number(found["private"], text)
    public = found["public"]
    if found["host"] is None:
        wanted = None if public is None else private if public == "" else _number(public, text)
        return PortSpec(private, wanted, protocol or "tcp")
    wanted = _number(public, text) if public else None
    return PortSpec(private, wanted, protocol or "tcp", _host(found["host"], text))


def _number(digits: str, text: str) -> int:
    value = int(digits) if _NUMBER.fullmatch(digits) else 0
    if not 1 <= value <= _HIGHEST:
        raise InvalidParameter(f"Invalid port format: {text!r}: a port is a number from 1 to 65535")
    return value


def _host(written: str, text: str) -> str:
    if not written:
        return ""
    try:
        found = ip_address(written.strip("[]"))
    except ValueError:
        raise InvalidParameter(f"Invalid port format: {text!r}: {written!r} is not an address") from None
    if (found.version == 6) != written.startswith("["):
        raise InvalidParameter(f"Invalid port format: {text!r}: an IPv6 address stands in brackets, no other does")
    if found.is_multicast:
        raise InvalidParameter(f"Invalid port format: {text!r}: nothing can be published on a multicast address")
    return "" if found.is_unspecified else str(found)
