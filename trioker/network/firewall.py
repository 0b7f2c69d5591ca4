"""trioker's own table of packet rules, and nobody else's.

A published port is one element of a map, not a rule; each change is one transaction. The kernel keeps the table without us, so published ports
work while the daemon is down. What others' tables drop stays dropped: a verdict of ours to accept ends our chain, not theirs; ``obstacles``
finds those whose policy that is.
"""

import errno
import struct
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Interface, IPv6Interface, ip_address
from typing import NamedTuple

from trioker.linux import netlink
from trioker.linux.netlink import Message, Netlink
from trioker.model.network import Endpoint, PublishedPort
from trioker.network import nftables as nft

DEFAULT_BRIDGE = "trioker0"
_LOOPBACK = bytes((127, 0, 0, 0)), 8
_LOOPBACK6 = bytes(15) + b"\1"
_LINK_LOCAL = bytes.fromhex("fe80").ljust(16, b"\0"), 10
_NUMBERS = {"tcp": 6, "udp": 17}
_MISSING = {errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOENT}

_KEY4 = nft.PROTOCOL.and_then(nft.ADDRESS4).and_then(nft.PORT)
_KEY6 = nft.PROTOCOL.and_then(nft.ADDRESS6).and_then(nft.PORT)
_KEY = nft.PROTOCOL.and_then(nft.PORT)
_GOAL4, _GOAL6 = nft.ADDRESS4.and_then(nft.PORT), nft.ADDRESS6.and_then(nft.PORT)
_SETS = (
    nft.Set("at4", _KEY4, _GOAL4),
    nft.Set("any4", _KEY, _GOAL4),
    nft.Set("at6", _KEY6, _GOAL6),
    nft.Set("any6", _KEY, _GOAL6),
    nft.Set("guarded", nft.SINGLE_PORT),
)


Deed = Callable[[str, str, list[nft.Element]], Iterable[Message]]
"""Puts elements of a table's set in, or takes them out."""


class Missing(Exception):
    """The kernel has no nf_tables, or not all that is needed of it."""


class Policy(NamedTuple):
    """What the rules are made of."""

    bridge: str
    address: IPv4Interface
    address6: IPv6Interface | None
    own: bool
    """Whether only our containers are on the bridge. On somebody's own, which may have a whole LAN behind it, nothing is held back."""
    icc: bool
    guarded: tuple[int, ...] = ()
    """TCP ports of the host that containers must not reach."""


class Redirect(NamedTuple):
    """One element of one map."""

    map: str
    element: nft.Element


def table_name(bridge: str) -> str:
    """``trioker``; for another bridge than the usual one, which may be another daemon's, with its name."""
    return "trioker" if bridge == DEFAULT_BRIDGE else f"trioker-{bridge}"


def redirects(endpoint: Endpoint) -> Iterator[Redirect]:
    """The elements that publish a container's ports."""
    for port in endpoint.ports:
        host = ip_address(port.host) if port.host else None
        for version, address in ((4, endpoint.address), (6, endpoint.address6)):
            if address and (host is None or host.version == version):
                yield _redirect(version, port, host.packed if host else b"", ip_address(address).packed)


def _redirect(version: int, port: PublishedPort, host: bytes, address: bytes) -> Redirect:
    key = bytes([_NUMBERS[port.protocol], 0, 0, 0]) + host + _port(port.public)
    return Redirect(f"{'at' if host else 'any'}{version}", nft.Element(key, address + _port(port.private)))


def _port(number: int) -> bytes:
    return struct.pack(">Hxx", number)


def open_firewall(policy: Policy, endpoints: Iterable[Endpoint]) -> "Firewall":
    """The table of a bridge, made anew with these containers' ports. Raises Missing, OSError."""
    try:
        opened = Firewall(policy)
    except OSError as error:
        raise Missing(f"nfnetlink: {error.strerror}") from error
    try:
        opened.replace(endpoints)
    except BaseException as error:
        opened.close()
        if isinstance(error, OSError) and error.errno in _MISSING:
            raise Missing(f"nf_tables: {error.strerror}") from error
        raise
    return opened


def remove_table(bridge: str) -> None:
    """Delete the table of a bridge; one that is not there, or in this kernel cannot be, is fine. Raises OSError."""
    name = table_name(bridge)
    try:
        with Netlink(netlink.NETFILTER) as sock:
            nft.commit(sock, [nft.add_table(name), nft.delete_table(name)])
    except OSError as error:
        if error.errno not in _MISSING:
            raise


class Firewall:
    """The table of one bridge. Synchronous, one thread at a time."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.table = table_name(policy.bridge)
        self._socket = Netlink(netlink.NETFILTER)

    @property
    def port(self) -> int:
        """The netlink port all changes of ours come from."""
        return self._socket.port

    def close(self) -> None:
        """Let go; the rules stay."""
        self._socket.close()

    def replace(self, endpoints: Iterable[Endpoint]) -> None:
        """Make the whole table anew, with these containers' ports, in one transaction. Raises OSError."""
        nft.commit(self._socket, self._whole(endpoints))

    def publish(self, endpoint: Endpoint) -> None:
        """Publish a container's ports. Raises OSError where the table is not as we left it."""
        self._change(nft.add_elements, endpoint)

    def withdraw(self, endpoint: Endpoint) -> None:
        """The reverse."""
        self._change(nft.delete_elements, endpoint)

    def obstacles(self) -> list[str]:
        """Others' chains that drop what they do not know, and with it what containers send and get: ``ip filter FORWARD``."""
        names = {nft.INET: "inet", nft.IPV4: "ip", nft.IPV6: "ip6"}
        return [
            f"{names[each.family]} {each.table} {each.chain}"
            for each in nft.base_chains(self._socket)
            if each.family in names and each.hook == nft.FORWARD and each.policy == nft.DROP
        ]

    def _change(self, deed: Deed, endpoint: Endpoint) -> None:
        messages = [message for each in redirects(endpoint) for message in deed(self.table, each.map, [each.element])]
        if messages:
            nft.commit(self._socket, messages)

    def _whole(self, endpoints: Iterable[Endpoint]) -> Iterator[Message]:
        yield nft.add_table(self.table)  # so that there is one to delete
        yield nft.delete_table(self.table)
        yield nft.add_table(self.table)
        for number, each in enumerate(_SETS, 1):
            yield nft.add_set(self.table, number, each)
        for chain in chains(self._policy):
            yield from nft.add_chain(self.table, chain)
        yield from nft.add_elements(
            self.table, "guarded", [nft.Element(each.to_bytes(2)) for each in sorted(set(self._policy.guarded))]
        )
        wanted: dict[str, list[nft.Element]] = {}
        for endpoint in endpoints:
            for redirect in redirects(endpoint):
                wanted.setdefault(redirect.map, []).append(redirect.element)
        for name, elements in wanted.items():
            yield from nft.add_elements(self.table, name, elements)


def chains(policy: Policy) -> list[nft.Chain]:
    """The whole table's chains."""
    return [
        nft.Chain("arriving", "filter", nft.PREROUTING, nft.RAW, list(_arriving(policy))),
        nft.Chain("published", "nat", nft.PREROUTING, nft.DSTNAT, list(_published(policy, from_here=False))),
        nft.Chain("published_here", "nat", nft.OUTPUT, nft.DSTNAT, list(_published(policy, from_here=True))),
        nft.Chain("entering", "filter", nft.INPUT, nft.FILTER, list(_entering(policy))),
        nft.Chain("passing", "filter", nft.FORWARD, nft.FILTER, list(_passing(policy))),
        nft.Chain("leaving", "nat", nft.POSTROUTING, nft.SRCNAT, list(_leaving(policy))),
    ]


def _arriving(policy: Policy) -> Iterator[bytes]:
    """From a container nothing may come for the host's loopback, which the bridge lets through, nor in somebody else's name."""
    inside = nft.interface_in(policy.bridge)
    v4 = nft.family(nft.IPV4)
    yield nft.rule(inside, v4, nft.destination(*_LOOPBACK), nft.verdict(nft.DROP))
    if not policy.own:
        return
    yield nft.rule(inside, v4, nft.source(*_network(policy.address), same=False), nft.verdict(nft.DROP))
    if policy.address6:
        foreign = nft.source(*_network(policy.address6), same=False) + nft.source(*_LINK_LOCAL, same=False)
        unknown_yet = nft.source(bytes(16), 128, same=False)
        yield nft.rule(inside, nft.family(nft.IPV6), foreign, unknown_yet, nft.verdict(nft.DROP))


def _published(policy: Policy, *, from_here: bool) -> Iterator[bytes]:
    """Ports of one address, then those of all.

    What comes from outside for 127.0.0.0/8 is left to the kernel, which throws it away. What the host sends to ::1 cannot leave it.
    """
    v4 = nft.family(nft.IPV4) + (b"" if from_here else nft.destination(*_LOOPBACK, same=False))
    yield nft.rule(v4, nft.redirect(nft.IPV4, "at4", by_address=True))
    yield nft.rule(v4, nft.to_this_host(), nft.redirect(nft.IPV4, "any4", by_address=False))
    if policy.address6:
        v6 = nft.family(nft.IPV6) + nft.destination(_LOOPBACK6, 128, same=False)
        yield nft.rule(v6, nft.redirect(nft.IPV6, "at6", by_address=True))
        yield nft.rule(v6, nft.to_this_host(), nft.redirect(nft.IPV6, "any6", by_address=False))


def _entering(policy: Policy) -> Iterator[bytes]:
    yield nft.rule(nft.interface_in(policy.bridge), nft.tcp(), nft.port_in("guarded"), nft.verdict(nft.DROP))


def _passing(policy: Policy) -> Iterator[bytes]:
    """To containers goes what they asked for, what is published, and, unless that is forbidden, what others of the bridge send."""
    inside = nft.interface_out(policy.bridge)
    between = nft.interface_in(policy.bridge) + inside
    ours = inside if policy.own else between
    if policy.own or not policy.icc:
        yield nft.rule(ours, nft.answered(), nft.verdict(nft.ACCEPT))
        yield nft.rule(ours, nft.redirected(), nft.verdict(nft.ACCEPT))
    if policy.own and policy.icc:
        yield nft.rule(between, nft.verdict(nft.ACCEPT))
    if policy.own or not policy.icc:
        yield nft.rule(ours, nft.verdict(nft.DROP))


def _leaving(policy: Policy) -> Iterator[bytes]:
    """The world sees the host's address; so does a container that is reached by a published port from its own network, or from 127.0.0.1."""
    away = nft.interface_out(policy.bridge, same=False)
    back = nft.interface_out(policy.bridge)
    v4 = nft.family(nft.IPV4) + nft.source(*_network(policy.address))
    yield nft.rule(v4, away, nft.masquerade())
    yield nft.rule(v4, back, nft.redirected(), nft.masquerade())
    yield nft.rule(nft.family(nft.IPV4), nft.source(*_LOOPBACK), back, nft.masquerade())
    if policy.address6:
        v6 = nft.family(nft.IPV6) + nft.source(*_network(policy.address6))
        yield nft.rule(v6, away, nft.masquerade())
        yield nft.rule(v6, back, nft.redirected(), nft.masquerade())


def _network(address: IPv4Interface | IPv6Interface) -> tuple[bytes, int]:
    return address.network.network_address.packed, address.network.prefixlen
