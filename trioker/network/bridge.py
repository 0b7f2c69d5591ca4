"""The bridge: what it shall be is planned and written down first, then made, and in the end undone by what was written."""

import re
import secrets
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, ip_address, ip_network
from typing import NamedTuple

from trioker.linux import links
from trioker.linux.links import Interface, Link, Network, Route
from trioker.linux.netlink import Netlink
from trioker.model.errors import Conflict, InvalidParameter
from trioker.model.network import Before, NetworkOptions, NetworkRecord
from trioker.network import addresses, endpoint, ownership, sysctls
from trioker.network.endpoint import mac_of
from trioker.network.firewall import DEFAULT_BRIDGE

_NAME = re.compile(r"(?!\.\.?$)[^\s/:%]{1,15}")
_USUAL_MTU = 1500
_BRIDGED_FILTERED = "net/bridge/bridge-nf-call-iptables"


class Host(NamedTuple):
    """What there is on the host, as the kernel tells it."""

    links: Sequence[Link]
    addresses: Sequence[tuple[int, Interface]]
    routes: Sequence[Route]

    @classmethod
    def seen_by(cls, sock: Netlink) -> "Host":
        """As it is now."""
        return cls(links.all_links(sock), links.all_addresses(sock), links.all_routes(sock))


class Bridge(NamedTuple):
    """A bridge that is ready."""

    number: int
    """Of its link."""
    mtu: int
    filtered: bool
    """Whether what is bridged passes the host's packet filter too (br_netfilter)."""


def plan(host: Host, options: NetworkOptions, record: NetworkRecord | None, resolvers: Iterable[str]) -> NetworkRecord:
    """What the network shall be; ``record`` is what an earlier daemon planned. Nothing is changed by this. Raises InvalidParameter, Conflict."""
    name = checked_name(options.bridge or DEFAULT_BRIDGE)
    if record and record.bridge != name:
        record = None
    found = links.find(host.links, name)
    if found and found.kind != "bridge":
        raise Conflict(f"{name} is no bridge but another kind of link: choose another name with -b")
    ours = found is None or bool(record and record.made) or (record is None and name == DEFAULT_BRIDGE)
    if found:
        ownership.check(found, host.links, options)
    address = _address(host, options, record, found, [ip_address(each) for each in resolvers], ours=ours)
    return NetworkRecord(
        bridge=name,
        made=ours,
        address=str(address),
        address6=_address6(options, record),
        mtu=options.mtu or uplink_mtu(host, found.number if found else 0),
        before=_settings(options, record if found else None, name, ours=ours),
        owner=ownership.ourselves(options).mark(),
    )


def checked_name(name: str) -> str:
    """A name the kernel takes for a link. Raises InvalidParameter."""
    if not _NAME.fullmatch(name):
        raise InvalidParameter(f"bad bridge name {name!r}: 1 to 15 characters without spaces, '/', ':' and '%'")
    return name


def uplink_mtu(host: Host, bridge: int) -> int:
    """Of the link that leads to the world; what containers send shall fit through it."""
    for route in host.routes:
        if route.destination is None and route.link != bridge:
            return next((each.mtu for each in host.links if each.number == route.link), _USUAL_MTU)
    return _USUAL_MTU


def build(sock: Netlink, record: NetworkRecord, options: NetworkOptions) -> Bridge:
    """Make what is planned, as far as it is not there. Raises OSError."""
    address, address6 = IPv4Interface(record.address), IPv6Interface(record.address6) if record.address6 else None
    found = links.find(links.all_links(sock), record.bridge)
    if found is None:
        sock.request(links.add_bridge(record.bridge, mac_of(address.ip), record.mtu))
        found = links.find(links.all_links(sock), record.bridge)
    if found is None:
        raise Conflict(f"the bridge {record.bridge} was removed while it was set up")
    if record.made:
        sock.request(links.set_alias(found.number, record.owner))
        _make_ours(sock, found, [address, *([address6] if address6 else [])], localnet=options.firewall)
    sysctls.apply(each for each in record.before if _is_wanted(each, options))
    filtered = sysctls.read(_BRIDGED_FILTERED)
    if not options.icc and options.firewall and filtered == "1" and record.made:
        sock.request(links.filter_bridged(found.number))  # so that it stays so whatever becomes of that setting
    return Bridge(found.number, record.mtu, filtered=filtered == "1")


def undo(sock: Netlink, record: NetworkRecord) -> None:
    """The host's links, addresses, routes and settings as they were before; what is gone already is fine."""
    if record.made:
        endpoint.remove(sock, record.bridge)  # first: without it a launcher that is ending can make no further link
    for each in ownership.endpoints(links.all_links(sock), record):
        endpoint.remove(sock, each.name)
    sysctls.restore(record.before)


def is_anothers(sock: Netlink, record: NetworkRecord) -> bool:
    """Whether another store has taken over what is told by ``record``."""
    found = links.find(links.all_links(sock), record.bridge)
    return found is not None and ownership.is_anothers(found, record.owner)


def _make_ours(sock: Netlink, bridge: Link, wanted: Sequence[Interface], *, localnet: bool) -> None:
    """Addresses and settings of a bridge that is nobody else's.

    ``localnet`` lets what the host sends from 127.0.0.1 reach containers, but also what they send to it: only rules hold that back.
    """
    has6 = any(each.version == 6 for each in wanted)
    _set_if_there(f"net/ipv6/conf/{bridge.name}/disable_ipv6", "0" if has6 else "1")
    _set_if_there(f"net/ipv6/conf/{bridge.name}/accept_ra", "0")
    present = [address for index, address in links.all_addresses(sock) if index == bridge.number]
    stale = [each for each in present if each not in wanted and not each.is_link_local]
    sock.request(*(links.delete_address(bridge.number, each) for each in stale), links.set_up(bridge.number))
    sock.request(*(links.add_address(bridge.number, each) for each in wanted))
    _set_if_there(_localnet(bridge.name), "1" if localnet else "0")


def _set_if_there(path: str, value: str) -> None:
    if sysctls.read(path) not in (None, value):
        sysctls.write(path, value)


def _is_wanted(noted: Before, options: NetworkOptions) -> bool:
    """Whether this daemon needs the setting too, and not only an earlier one with other options."""
    if noted.path.endswith("/route_localnet"):
        return options.firewall
    return options.forward and (options.ipv6 or not noted.path.startswith("net/ipv6/"))


def _localnet(name: str) -> str:
    return f"net/ipv4/conf/{name}/route_localnet"


def _settings(options: NetworkOptions, record: NetworkRecord | None, name: str, *, ours: bool) -> tuple[Before, ...]:
    """What an earlier daemon noted is the truth of before, as long as its bridge stands; what is needed beyond that is noted now."""
    kept = record.before if record else ()
    wanted = sysctls.forwarding(ipv6=options.ipv6) if options.forward else []
    if not ours and options.firewall:  # our own bridge's settings go with it
        value = sysctls.read(_localnet(name))
        wanted += [Before(_localnet(name), value, "1")] if value == "0" else []
    known = {each.path for each in kept}
    return (*kept, *(each for each in wanted if each.path not in known))


def _address(
    host: Host,
    options: NetworkOptions,
    record: NetworkRecord | None,
    found: Link | None,
    resolvers: Iterable[links.Address],
    *,
    ours: bool,
) -> IPv4Interface:
    chosen = addresses.bridge_address(options.address) if options.address else None
    present = [each for index, each in host.addresses if found and index == found.number and each.version == 4]
    if found and not ours:
        return _given(found.name, present, chosen)
    if chosen:
        return _apart(chosen, [each for index, each in host.addresses if not found or index != found.number])
    taken = _taken(host, found.number if found else 0, resolvers)
    if found and present:
        return IPv4Interface(present[0])
    if record and not any(IPv4Interface(record.address).network.overlaps(each) for each in _v4(taken)):
        return IPv4Interface(record.address)
    return addresses.free_range(taken)


def _apart(chosen: IPv4Interface, others: Iterable[Interface]) -> IPv4Interface:
    """The range that a user chose. It may be a part of a network that the host is routed to; but the host's own neighbours would be lost in it."""
    for each in others:
        if each.ip in chosen.network:
            raise Conflict(
                f"the range {chosen.network} has an address of this host, {each.ip}: choose another with --bip"
            )
    return chosen


def _given(name: str, present: Sequence[Interface], chosen: IPv4Interface | None) -> IPv4Interface:
    if not present:
        raise Conflict(
            f"the bridge {name} has no IPv4 address: give it one, or have trioker make a bridge of another name"
        )
    if chosen and chosen not in present:
        raise Conflict(f"the bridge {name} exists and has the address {present[0]}, not {chosen}: leave --bip away")
    return chosen or IPv4Interface(present[0])


def _taken(host: Host, bridge: int, resolvers: Iterable[links.Address]) -> list[Network]:
    routed = [each.destination for each in host.routes if each.destination and each.link != bridge]
    owned = [address.network for index, address in host.addresses if index != bridge]
    return [*routed, *owned, *(ip_network(each) for each in resolvers)]


def _v4(networks: Iterable[Network]) -> list[IPv4Network]:
    return [each for each in networks if isinstance(each, IPv4Network)]


def _address6(options: NetworkOptions, record: NetworkRecord | None) -> str:
    """Made once and kept: what was published in names or rules elsewhere shall stay true."""
    if not options.ipv6:
        return ""
    if record and record.address6:
        return record.address6
    return str(addresses.local_range6(secrets.token_bytes(32)))
