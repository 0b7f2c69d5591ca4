"""A container's place on the bridge: made by two requests on the host's side and one batch inside the container's namespace."""

import errno
import os
import secrets
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv4Interface
from typing import NamedTuple, TypeVar

from trioker.linux import syscalls
from trioker.network import links, netlink
from trioker.network.links import Address, Interface
from trioker.network.netlink import Netlink

T = TypeVar("T")

INSIDE = "eth0"
"""The link's name in the container."""
_PREFIX = "veth"


class Port(NamedTuple):
    """How ends of pairs are put on the bridge."""

    bridge: int
    """Index of the link."""
    mtu: int
    isolated: bool
    """Whether frames reach other containers."""
    hairpin: bool
    """Whether frames may return to where they came from."""


class Place(NamedTuple):
    """What is set inside the container."""

    address: IPv4Interface
    gateway: Address
    address6: Interface | None = None
    gateway6: Address | None = None


def mac_of(address: IPv4Address) -> str:
    """The locally administered MAC address that belongs to an IPv4 address: who gets the address again is found by old neighbour entries."""
    return (b"\x02\x42" + address.packed).hex(":")


def link_name(container_id: str) -> str:
    """A new name for the host's end: the last run's may still be there, while the kernel clears its namespace away."""
    return f"{_PREFIX}{container_id[:7]}{secrets.token_hex(2)}"


def is_endpoint(link: links.Link) -> bool:
    """Whether it looks like ours."""
    return link.kind == "veth" and link.name.startswith(_PREFIX)


def connect(host: Netlink, port: Port, name: str, place: Place, netns: int) -> None:
    """Make the pair and set addresses and routes inside ``netns``, a descriptor of a network namespace. Raises OSError; then there is no pair."""
    host.request(
        links.add_veth(name, port.bridge, port.mtu, peer=INSIDE, peer_mac=mac_of(place.address.ip), netns=netns)
    )
    try:
        if port.isolated or port.hairpin:
            host.request(links.set_port(number_of(name), isolated=port.isolated, hairpin=port.hairpin))
        in_namespace(netns, lambda: configure(place))
    except BaseException:
        disconnect(host, name)
        raise


def disconnect(host: Netlink, name: str) -> None:
    """Remove a pair; one that is gone is no error. Takes about 25 ms: a namespace that ends takes its links along for nothing."""
    number = number_of(name)
    if not number:
        return
    try:
        host.request(links.delete_link(number))
    except OSError as error:
        if error.errno != errno.ENODEV:  # gone just now
            raise


def number_of(name: str) -> int:
    """The link's index; 0 for one that is not there."""
    try:
        return socket.if_nametoindex(name)
    except OSError:  # without an errno
        return 0


def configure(place: Place) -> None:
    """Set eth0 up, in the namespace of this thread."""
    index = number_of(INSIDE)
    _set_ipv6(INSIDE, wanted=place.address6 is not None)
    requests = [
        links.set_up(index),
        links.add_address(index, place.address),
        links.add_default_route(index, place.gateway),
    ]
    if place.address6 and place.gateway6:
        requests += [links.add_address(index, place.address6), links.add_default_route(index, place.gateway6)]
    with Netlink(netlink.ROUTE) as sock:
        sock.request(*requests)


def in_namespace(netns: int, work: Callable[[], T]) -> T:
    """Call ``work`` in a network namespace. What it raises is raised here.

    In a fresh thread: a namespace belongs to a thread, and those of a pool are used again. Sockets made there stay there.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            syscalls.setns(netns, syscalls.CLONE_NEWNET)
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001  raised again by ``result``, in the caller's thread
            outcome.set_exception(error)

    thread = threading.Thread(target=run, name="in-network")
    thread.start()
    thread.join()
    return outcome.result()


def _set_ipv6(link: str, *, wanted: bool) -> None:
    """Without an address there shall not even be a link-local one; with one, nobody on the bridge may play the router."""
    directory = f"/proc/sys/net/ipv6/conf/{link}"
    if not os.path.isdir(directory):
        return
    setting, value = ("accept_ra", b"0") if wanted else ("disable_ipv6", b"1")
    fd = os.open(f"{directory}/{setting}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value)
    finally:
        os.close(fd)
