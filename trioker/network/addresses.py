"""Addresses: which range a new bridge takes, and which address each container gets. Pure: nothing here asks the kernel."""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface

from trioker.linux.links import Interface, Network
from trioker.model.errors import Conflict, InvalidParameter

_USUAL_ELSEWHERE = (
    # Docker's, Podman's, CNI's, libvirt's, LXC's and Kubernetes' own ranges: they may be taken tomorrow.
    *map(IPv4Network, ("172.17.0.0/16", "10.88.0.0/15", "10.42.0.0/15", "10.96.0.0/12", "10.244.0.0/16")),
    *map(IPv4Network, ("192.168.122.0/24", "10.0.3.0/24", "192.168.0.0/23")),
)
_NOWHERE = (
    # "This" network and the loopback (RFC 1122, 3.2.1.3), groups (RFC 5771) and what is reserved (RFC 1112, 4): no host may have these addresses.
    *map(IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4")),
)
_SMALL = 4
"""Below this many addresses there is none for a container: network, bridge, broadcast."""


def _candidates() -> Iterator[IPv4Network]:
    """Private ranges (RFC 1918) of 65,534 addresses from where few people look; then smaller ones."""
    yield from (IPv4Network((f"10.{each}.0.0", 16)) for each in range(213, 256))
    yield from (IPv4Network((f"172.{each}.0.0", 16)) for each in range(31, 15, -1))
    yield from (IPv4Network((f"10.{each}.0.0", 16)) for each in range(212, -1, -1))
    yield from (IPv4Network((f"192.168.{each}.0", 24)) for each in range(213, 256))
    yield from (IPv4Network((f"192.168.{each}.0", 24)) for each in range(2, 213))


def free_range(taken: Iterable[Network]) -> IPv4Interface:
    """The bridge's address in a private range that touches nothing of ``taken``. Raises Conflict where all are taken."""
    occupied = [each for each in (*taken, *_USUAL_ELSEWHERE) if isinstance(each, IPv4Network)]
    for candidate in _candidates():
        if not any(candidate.overlaps(each) for each in occupied):
            return IPv4Interface((candidate.network_address + 1, candidate.prefixlen))
    raise Conflict("no private address range is free on this host: choose one with --bip")


def local_range6(seed: bytes) -> IPv6Interface:
    """The bridge's address in a range of IPv6 that is ours alone, made of a host's random ``seed`` (RFC 4193, 3.2.2)."""
    network = b"\xfd" + sha256(seed).digest()[:5] + bytes(10)
    return IPv6Interface((IPv6Address(network) + 1, 64))


def bridge_address(text: str) -> IPv4Interface:
    """``ADDRESS/LENGTH`` as a user gives it. Raises InvalidParameter."""
    try:
        found = IPv4Interface(text)
    except ValueError as error:
        raise InvalidParameter(f"bad bridge address {text!r}: {error}") from None
    if "/" not in text:
        raise InvalidParameter(f"bad bridge address {text!r}: the length of the prefix is missing, as in 10.1.0.1/16")
    if any(found.network.overlaps(each) for each in _NOWHERE):
        raise InvalidParameter(f"bad bridge address {text!r}: no host may have an address of this range")
    if found.network.num_addresses < _SMALL:
        raise InvalidParameter(f"bad bridge address {text!r}: there is no room for a container in this range")
    if found.ip in (found.network.network_address, found.network.broadcast_address):
        raise InvalidParameter(f"bad bridge address {text!r}: it is the network's own or its broadcast address")
    return found


def partner6(bridge: IPv6Interface, address: IPv4Interface) -> IPv6Interface:
    """The IPv6 address of a container, made of the same number in its range as its IPv4 address has in its own."""
    number = int(address.ip) - int(address.network.network_address)
    return IPv6Interface((bridge.network.network_address + number, bridge.network.prefixlen))


class Addresses:
    """The containers' addresses of one range, handed out one after another, so that one is used again as late as can be."""

    def __init__(self, bridge: Interface) -> None:
        self._network = bridge.network
        self._ours = int(bridge.ip)
        self._taken: set[int] = set()
        self._last = int(self._network.network_address)

    def take(self) -> IPv4Address:
        """The next free address. Raises Conflict where all are taken."""
        first, last = int(self._network.network_address) + 1, int(self._network.broadcast_address) - 1
        room = last - first + 1
        for step in range(room):
            number = first + (self._last + 1 - first + step) % room
            if number != self._ours and number not in self._taken:
                self._taken.add(number)
                self._last = number
                return IPv4Address(number)
        raise Conflict(f"all addresses of {self._network} are taken")

    def adopt(self, address: IPv4Address) -> bool:
        """Note that a container of an earlier daemon has the address; whether that can be."""
        number = int(address)
        if number in self._taken or number == self._ours or address not in self._network:
            return False
        self._taken.add(number)
        self._last = max(self._last, number)
        return True

    def release(self, address: IPv4Address) -> None:
        """The address is free again. Idempotent."""
        self._taken.discard(int(address))
