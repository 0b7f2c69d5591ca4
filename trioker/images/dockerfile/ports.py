"""The ports of EXPOSE."""

import re
from collections.abc import Iterable

from trioker.images.dockerfile.words import shown

_SPEC = re.compile(r"(?:.*:)?([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/([A-Za-z]+))?", re.ASCII)
_PROTOCOLS = ("tcp", "udp", "sctp")
_LAST_PORT = 65535
_MOST = 3 * _LAST_PORT
"""Every port of every protocol: a row of ranges longer than that only repeats itself."""


def exposed_ports(specs: Iterable[str]) -> tuple[str, ...]:
    """``80``, ``80/udp``, ``8000-8010`` as ``80/tcp``... each once. What publishes (``8080:80`` of 2013) counts by the container's side.

    Raises ValueError.
    """
    found: dict[str, None] = {}
    count = 0
    for spec in specs:
        first, last, protocol = _range(spec)
        count += last - first + 1
        if count > _MOST:
            raise ValueError("EXPOSE names more ports than there are")
        found |= dict.fromkeys(f"{port}/{protocol}" for port in range(first, last + 1))
    return tuple(found)


def _range(spec: str) -> tuple[int, int, str]:
    match = _SPEC.fullmatch(spec)
    if not match:
        raise ValueError(f"invalid containerPort: {shown(spec)}")
    first, last = int(match[1]), int(match[2] or match[1])
    protocol = (match[3] or "tcp").lower()
    if not 0 <= first <= last <= _LAST_PORT:
        raise ValueError(f"invalid containerPort: {shown(spec)}")
    if protocol not in _PROTOCOLS:
        raise ValueError(f"invalid proto: {shown(protocol)}")
    return first, last, protocol
