"""The daemon's options about containers' network."""

import argparse
import re
from argparse import ArgumentTypeError
from ipaddress import ip_address

from trioker.model.errors import InvalidParameter
from trioker.model.network import NetworkOptions
from trioker.network.addresses import bridge_address
from trioker.network.bridge import checked_name

_RANGE = re.compile(r"([0-9]{1,5})-([0-9]{1,5})", re.ASCII)
_SMALLEST_MTU, _LARGEST_MTU = 576, 65535  # RFC 791: what every host must take; what the length of a packet can say
_SMALLEST_MTU6 = 1280  # RFC 8200, section 5


def add_networking(group: argparse._ArgumentGroup) -> None:
    """Declare them."""
    group.add_argument("-b", "--bridge", type=_bridge, default="", metavar="NAME",
                       help="the bridge containers are on, made where missing; 'none' for no network (default: trioker0)")  # fmt: skip
    group.add_argument("--bip", type=_address, default="", metavar="ADDRESS/LENGTH",
                       help="the bridge's own address (default: the first of a private range that nothing here uses)")  # fmt: skip
    group.add_argument(
        "--ipv6", action="store_true", help="give containers an IPv6 address too, of a range that is this store's own"
    )
    _add_switch(group, "--icc", "whether containers reach ports of each other that are not published")
    _add_switch(group, "--ip-forward", "whether the kernel is told to forward packets")
    _add_switch(
        group,
        "--iptables",
        "whether there is an nftables table of rules; without, the daemon itself serves published ports",
    )
    group.add_argument("--port-range", type=_ports, metavar="FIRST-LAST",
                       help="where ports are published that ask for none (default: 49153-65535)")  # fmt: skip
    group.add_argument("--mtu", type=_mtu, default=0, metavar="BYTES",
                       help="of the largest packet (default: as the link to the world)")  # fmt: skip
    group.add_argument("--dns", action="append", default=[], type=_server, metavar="ADDRESS",
                       help="name server for containers; may be repeated (default: the host's)")  # fmt: skip
    group.add_argument("--cleanup", action="store_true",
                       help="at the end, when no container runs, leave the host's links, rules and settings as they were")  # fmt: skip


def network_options(given: argparse.Namespace) -> NetworkOptions:
    """What was given. Raises InvalidParameter for what does not go together."""
    if given.ipv6 and 0 < given.mtu < _SMALLEST_MTU6:
        raise InvalidParameter(f"--ipv6 needs an --mtu of at least {_SMALLEST_MTU6}")
    defaults = NetworkOptions()
    first, last = given.port_range or (defaults.first_port, defaults.last_port)
    return NetworkOptions(
        bridge=given.bridge,
        address=given.bip,
        ipv6=given.ipv6,
        icc=given.icc == "true",
        forward=given.ip_forward == "true",
        firewall=given.iptables == "true",
        first_port=first,
        last_port=last,
        mtu=given.mtu,
        dns=tuple(given.dns),
    )


def _add_switch(group: argparse._ArgumentGroup, flag: str, meaning: str) -> None:
    group.add_argument(
        flag, nargs="?", const="true", default="true", choices=("true", "false"), help=f"{meaning} (default: true)"
    )


def _bridge(text: str) -> str:
    try:
        return checked_name(text) if text else ""
    except InvalidParameter as error:
        raise ArgumentTypeError(str(error)) from None


def _address(text: str) -> str:
    try:
        return str(bridge_address(text)) if text else ""
    except InvalidParameter as error:
        raise ArgumentTypeError(str(error)) from None


def _ports(text: str) -> tuple[int, int]:
    match = _RANGE.fullmatch(text)
    first, last = map(int, match.groups()) if match else (0, 0)
    if not 1 <= first <= last <= 65535:
        raise ArgumentTypeError(f"{text!r} is not a range of ports, as in 49153-65535")
    return first, last


def _mtu(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not _SMALLEST_MTU <= int(text) <= _LARGEST_MTU:
        raise ArgumentTypeError(f"{text!r} is not a number of bytes from {_SMALLEST_MTU} to {_LARGEST_MTU}")
    return int(text)


def _server(text: str) -> str:
    """A zone behind % would be written into resolv.conf as it is, and may hold anything."""
    try:
        return str(ip_address(text.replace("%", " ")))
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not an IP address") from None
