"""Links, addresses and routes: the messages of rtnetlink(7) that a bridge and its containers need."""

import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from socket import AF_BRIDGE, AF_INET, AF_INET6, AF_UNSPEC
from typing import NamedTuple

from trioker.linux import netlink
from trioker.linux.netlink import Message, Netlink

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

# linux/rtnetlink.h
_NEWLINK, _DELLINK, _GETLINK, _SETLINK, _NEWLINKPROP = 16, 17, 18, 19, 108
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_NEWROUTE, _GETROUTE = 24, 26
_TABLE_MAIN, _PROTO_STATIC, _SCOPE_UNIVERSE, _UNICAST, _LOCAL = 254, 4, 0, 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY = 1, 4, 5, 6
# linux/if_link.h
_ADDRESS, _IFNAME, _MTU, _MASTER, _PROTINFO, _LINKINFO, _IFALIAS = 1, 3, 4, 10, 12, 18, 20
_NET_NS_FD, _PROP_LIST, _ALT_IFNAME = 28, 52, 53
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
_BRIDGE_CALL_IPTABLES, _BRIDGE_CALL_IP6TABLES = 36, 37
_PORT_MODE, _PORT_ISOLATED = 4, 33
_UP, _RUNNING = 0x1, 0x40
# linux/if_addr.h
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_NO_DUPLICATE_CHECK = 0x2

_IFINFO = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, mask of flags
_IFADDR = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix, flags, scope, index
_ROUTE = struct.Struct("=8BI")  # struct rtmsg: family, two prefixes, tos, table, protocol, scope, type, flags


class Link(NamedTuple):
    """An interface."""

    number: int
    name: str
    kind: str
    """``bridge``, ``veth`` ...; "" for hardware."""
    master: int
    """Index of the bridge it is a port of, or 0."""
    mtu: int
    mac: str
    further_names: tuple[str, ...] = ()
    alias: str = ""
    """A note for people, which the kernel keeps."""
    running: bool = False
    """Whether packets pass: it is up, and its partner or cable too."""


class Route(NamedTuple):
    """A route of any table; None for the default one."""

    destination: Network | None
    link: int


def add_bridge(name: str, mac: str, mtu: int) -> Message:
    """A bridge, not up yet. With a MAC of its own it does not change with its ports."""
    info = netlink.nested(_LINKINFO, netlink.text(_INFO_KIND, "bridge"))
    body = _ifinfo() + netlink.text(_IFNAME, name) + _mac(mac) + netlink.u32(_MTU, mtu) + info
    return Message(_NEWLINK, netlink.CREATE | netlink.EXCL, body)


def filter_bridged(index: int) -> Message:
    """Have what is bridged here pass the host's packet filter, whatever the host's own setting says of bridges."""
    data = netlink.nested(_INFO_DATA, netlink.u8(_BRIDGE_CALL_IPTABLES, 1), netlink.u8(_BRIDGE_CALL_IP6TABLES, 1))
    info = netlink.nested(_LINKINFO, netlink.text(_INFO_KIND, "bridge"), data)
    return Message(_NEWLINK, 0, _ifinfo(index) + info)


def add_veth(name: str, bridge: int, mtu: int, *, peer: str, netns: int) -> Message:
    """A pair of links: one is a port of ``bridge`` and up, the other is born in the namespace behind the descriptor ``netns``.

    Born there it takes a twentieth of the time of moving it there. It cannot be born up: by then it has no partner yet.
    """
    inside = netlink.text(_IFNAME, peer) + netlink.u32(_MTU, mtu) + netlink.u32(_NET_NS_FD, netns)
    pair = netlink.nested(_INFO_DATA, netlink.nested(_VETH_PEER, _ifinfo() + inside))
    info = netlink.nested(_LINKINFO, netlink.text(_INFO_KIND, "veth"), pair)
    body = _ifinfo(up=True) + netlink.text(_IFNAME, name) + netlink.u32(_MTU, mtu) + netlink.u32(_MASTER, bridge) + info
    return Message(_NEWLINK, netlink.CREATE | netlink.EXCL, body)


def set_up(index: int) -> Message:
    """Set a link up."""
    return Message(_SETLINK, 0, _ifinfo(index, up=True))


def set_mac(index: int, mac: str) -> Message:
    """Give a link another MAC address."""
    return Message(_SETLINK, 0, _ifinfo(index) + _mac(mac))


def set_alias(index: int, alias: str) -> Message:
    """Note something with a link, of at most 255 bytes."""
    return Message(_SETLINK, 0, _ifinfo(index) + netlink.text(_IFALIAS, alias))


def add_name(index: int, name: str) -> Message:
    """A further name for a link. Unlike a new name it is given in no time, and to a link that is up."""
    return Message(
        _NEWLINKPROP, netlink.EXCL, _ifinfo(index) + netlink.nested(_PROP_LIST, netlink.text(_ALT_IFNAME, name))
    )


def put_on_bridge(index: int, bridge: int) -> Message:
    """Make a link a port of a bridge, if it is not."""
    return Message(_SETLINK, 0, _ifinfo(index) + netlink.u32(_MASTER, bridge))


def set_port(index: int, *, isolated: bool, hairpin: bool) -> Message:
    """What a port of a bridge lets through: nothing to other isolated ports; back to where it came from."""
    port = netlink.nested(_PROTINFO, netlink.u8(_PORT_MODE, hairpin), netlink.u8(_PORT_ISOLATED, isolated))
    return Message(_SETLINK, 0, _IFINFO.pack(AF_BRIDGE, 0, index, 0, 0) + port)


def delete_link(name: str) -> Message:
    """Remove a link, by any of its names; of a pair both."""
    return Message(_DELLINK, 0, _ifinfo() + netlink.text(_IFNAME, name))


def add_address(index: int, address: Interface) -> Message:
    """Give a link an address and the route to its network. An IPv6 one is valid at once: nobody else makes such addresses."""
    return Message(_NEWADDR, netlink.CREATE | netlink.REPLACE, _address(index, address))


def delete_address(index: int, address: Interface) -> Message:
    """Take an address away."""
    return Message(_DELADDR, 0, _address(index, address))


def add_default_route(index: int, gateway: Address) -> Message:
    """Send everything that has no other way to ``gateway``."""
    family = AF_INET if gateway.version == 4 else AF_INET6
    head = _ROUTE.pack(family, 0, 0, 0, _TABLE_MAIN, _PROTO_STATIC, _SCOPE_UNIVERSE, _UNICAST, 0)
    body = head + netlink.attribute(_RTA_GATEWAY, gateway.packed) + netlink.u32(_RTA_OIF, index)
    return Message(_NEWROUTE, netlink.CREATE | netlink.EXCL, body)


def link(sock: Netlink, name: str) -> Link:
    """A link by any of its names, seen when the kernel has done all that its last change brings (from 6.8 on). Raises OSError (ENODEV).

    Not by an ioctl as if_nametoindex(3): for a name that is no link's it would have the kernel look for a module.
    """
    return _link(sock.ask(Message(_GETLINK, 0, _ifinfo() + netlink.text(_IFNAME, name))).body)


def all_links(sock: Netlink) -> list[Link]:
    """Every link of the namespace."""
    return [_link(each.body) for each in sock.dump(Message(_GETLINK, 0, _ifinfo())) if each.kind == _NEWLINK]


def all_addresses(sock: Netlink) -> list[tuple[int, Interface]]:
    """Every address with the index of its link."""
    request = Message(_GETADDR, 0, _IFADDR.pack(AF_UNSPEC, 0, 0, 0, 0))
    found = (_read_address(each.body) for each in sock.dump(request) if each.kind == _NEWADDR)
    return [each for each in found if each]


def all_routes(sock: Netlink) -> list[Route]:
    """Every route to one host or many, of all tables, the most preferred of the default ones first."""
    found: list[tuple[int, Route]] = []
    for family in (AF_INET, AF_INET6):
        request = Message(_GETROUTE, 0, _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0))
        found += [_read_route(each.body) for each in sock.dump(request) if each.body[7] in (_UNICAST, _LOCAL)]
    return [route for _, route in sorted(found, key=lambda each: each[0])]


def find(links: Sequence[Link], name: str) -> Link | None:
    """The link of that name."""
    return next((each for each in links if each.name == name), None)


def _ifinfo(index: int = 0, *, up: bool = False) -> bytes:
    return _IFINFO.pack(AF_UNSPEC, 0, index, _UP if up else 0, _UP if up else 0)


def _mac(mac: str) -> bytes:
    return netlink.attribute(_ADDRESS, bytes.fromhex(mac.replace(":", "")))


def _address(index: int, address: Interface) -> bytes:
    family = AF_INET if address.version == 4 else AF_INET6
    head = _IFADDR.pack(family, address.network.prefixlen, 0, 0, index)
    packed = address.packed
    flags = b"" if address.version == 4 else netlink.u32(_IFA_FLAGS, _NO_DUPLICATE_CHECK)
    return head + netlink.attribute(_IFA_LOCAL, packed) + netlink.attribute(_IFA_ADDRESS, packed) + flags


def _link(body: bytes) -> Link:
    _, _, index, flags, _ = _IFINFO.unpack_from(body)
    found = netlink.attributes(body[_IFINFO.size :])
    info = netlink.attributes(found.get(_LINKINFO, b""))
    return Link(
        index,
        netlink.string(found[_IFNAME]),
        netlink.string(info.get(_INFO_KIND, b"")),
        netlink.number(found.get(_MASTER, b"")),
        netlink.number(found.get(_MTU, b"")),
        found.get(_ADDRESS, b"").hex(":"),
        tuple(
            netlink.string(value)
            for kind, value in netlink.each_attribute(found.get(_PROP_LIST, b""))
            if kind == _ALT_IFNAME
        ),
        netlink.string(found.get(_IFALIAS, b"")),
        running=bool(flags & _RUNNING),
    )


def _read_address(body: bytes) -> tuple[int, Interface] | None:
    family, prefix, _, _, index = _IFADDR.unpack_from(body)
    found = netlink.attributes(body[_IFADDR.size :])
    packed = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
    if packed is None or family not in (AF_INET, AF_INET6):
        return None
    kind = IPv4Interface if family == AF_INET else IPv6Interface
    return index, kind((packed, prefix))


def _read_route(body: bytes) -> tuple[int, Route]:
    family, prefix, *_ = _ROUTE.unpack_from(body)
    found = netlink.attributes(body[_ROUTE.size :])
    kind = IPv4Network if family == AF_INET else IPv6Network
    destination = kind((found[_RTA_DST], prefix)) if _RTA_DST in found else None
    priority = netlink.number(found.get(_RTA_PRIORITY, b""))
    return priority, Route(destination, netlink.number(found.get(_RTA_OIF, b"")))
