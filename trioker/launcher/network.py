"""A container's link: a pair of which one end, eth0, is in its network namespace and the other a port of the host's bridge.

Made by init from inside whatever network namespace it is in, and where it can be before there is an order: that is the longer part of it. And a
link that has just come up loses what is sent until the kernel has looked at it again, which on a busy host may take a while. Who loses its first
packet that way asks again after a second.
"""

import os
import time
from contextlib import suppress
from ipaddress import ip_address, ip_interface
from typing import NamedTuple

from trioker.launcher.spec import LinkSpec
from trioker.linux import links, netlink
from trioker.linux.netlink import Netlink

INSIDE = "eth0"
"""The link's name in the container."""

_RUNS_WITHIN = 1.0  # seconds; it takes none, and what is sent earlier is lost, no more
_LOOK_AGAIN_AFTER = 0.001  # seconds
_IPV6 = f"/proc/sys/net/ipv6/conf/{INSIDE}"


class Port(NamedTuple):
    """How host's ends are put on the bridge: the same for all containers of a daemon."""

    bridge: int
    """Index of the link."""
    mtu: int
    isolated: bool
    """Whether frames reach no other container."""
    hairpin: bool
    """Whether frames may return to where they came from."""
    prefix: str
    """Of the names of host's ends; eight digits follow."""


class Uplink(NamedTuple):
    """The way to make links on the host, taken along into other network namespaces."""

    host: Netlink
    port: Port

    @classmethod
    def open(cls, port: Port | None) -> "Uplink | None":
        """To be called in the host's network namespace; None where there is no bridge."""
        return cls(Netlink(netlink.ROUTE), port) if port else None

    def fds(self) -> tuple[int, ...]:
        """What must stay open."""
        return (self.host.fileno(),)


class Pair(NamedTuple):
    """A pair that is up and has no addresses. The host's end goes with the network namespace of the other."""

    host: Netlink
    outside: int
    """Index of the host's end."""
    own: Netlink
    inside: int
    """Index of eth0."""

    def fds(self) -> tuple[int, ...]:
        """What must stay open."""
        return self.host.fileno(), self.own.fileno()


def make_pair(uplink: Uplink) -> Pair:
    """Make a pair with eth0 in the network namespace this process is in. Wants the host's /proc. Raises OSError; then there is no pair."""
    name = uplink.port.prefix + os.urandom(4).hex()
    netns = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        uplink.host.request(links.add_veth(name, uplink.port.bridge, uplink.port.mtu, peer=INSIDE, netns=netns))
    finally:
        os.close(netns)
    try:
        return _bring_up(uplink, name)
    except BaseException:
        with suppress(OSError):
            uplink.host.request(links.delete_link(name))
        raise


def _bring_up(uplink: Uplink, name: str) -> Pair:
    _set_ipv6("disable_ipv6", b"1")  # until it has its own MAC address, of which others are made, or for ever
    own = Netlink(netlink.ROUTE)
    inside = links.link(own, INSIDE).number
    own.request(links.set_up(inside))
    outside = _running(uplink.host, name)
    if uplink.port.isolated or uplink.port.hairpin:
        uplink.host.request(links.set_port(outside, isolated=uplink.port.isolated, hairpin=uplink.port.hairpin))
    return Pair(uplink.host, outside, own, _running(own, INSIDE))


def connect(pair: Pair, wanted: LinkSpec) -> None:
    """Give eth0 its addresses: from now on the container has its place on the bridge. Wants the host's /proc. Raises OSError."""
    pair.host.request(links.add_name(pair.outside, wanted.name))
    pair.own.request(
        links.set_mac(pair.inside, wanted.mac),
        links.add_address(pair.inside, ip_interface(wanted.address)),
        links.add_default_route(pair.inside, ip_address(wanted.gateway)),
    )
    if wanted.address6:
        _set_ipv6("accept_ra", b"0")  # nobody on the bridge may play the router
        _set_ipv6("disable_ipv6", b"0")
        pair.own.request(
            links.add_address(pair.inside, ip_interface(wanted.address6)),
            links.add_default_route(pair.inside, ip_address(wanted.gateway6)),
        )


def remove_pair(pair: Pair) -> None:
    """Leave the bridge. Raises OSError."""
    pair.own.request(links.delete_link(INSIDE))


def _running(sock: Netlink, name: str) -> int:
    """The link's index, once packets pass. Newer kernels have seen to that by the time they answer."""
    deadline = time.monotonic() + _RUNS_WITHIN
    while True:
        found = links.link(sock, name)
        if found.running or time.monotonic() > deadline:
            return found.number
        time.sleep(_LOOK_AGAIN_AFTER)


def _set_ipv6(setting: str, value: bytes) -> None:
    """A setting of eth0's, which a host without IPv6 has not."""
    try:
        fd = os.open(f"{_IPV6}/{setting}", os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.write(fd, value)
    finally:
        os.close(fd)
