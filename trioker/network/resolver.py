"""Names inside containers: what their resolv.conf and hosts files say, and a way to a resolver that only the host itself can reach."""

import os
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import attrs
import trio

from trioker.network.forwarder import Target, forward_tcp, forward_udp

PORT = 53
_IDLE = 15.0  # seconds; a client asks again after five
_LIFETIME = 30.0  # seconds of one TCP connection
_LOCAL_MACHINE = "127.0.0.1"  # what the C library asks where nothing is said (resolv.conf(5))
_BACKLOG = 64


@attrs.frozen
class ResolvConf:
    """A container's resolv.conf."""

    text: str
    forwarded: bool
    """Whether it names the bridge, where ``serve_names`` must answer."""


def name_servers(text: str) -> list[str]:
    """The servers that a resolv.conf names, as it names them; those that are no address are left out."""
    lines = (line.split() for line in text.splitlines())
    found = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
    return [each for each in found if _address(each)] or [_LOCAL_MACHINE]


def container_resolv_conf(host: str, chosen: Sequence[str], gateway: str, *, ipv6: bool) -> ResolvConf:
    """What a container gets: the ``chosen`` servers, else those of the host's file ``host`` that it can reach from where it is.

    Where all of them listen only on the host itself it asks the bridge (``gateway``). Search lists and options are the host's.
    """
    servers = list(chosen) or [each for each in name_servers(host) if _reachable(each, ipv6=ipv6)]
    forwarded = not servers
    kept = [line for line in host.splitlines() if line.split()[:1] in (["search"], ["domain"], ["options"])]
    lines = [*kept, *(f"nameserver {each}" for each in servers or [gateway])]
    return ResolvConf("\n".join(lines) + "\n", forwarded)


def hosts_file(name: str, address: str, address6: str = "") -> str:
    """A container's /etc/hosts: its own name beside the usual ones; ``address`` is "" without a network."""
    usual = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    own = [f"{each}\t{name}" for each in (address or "127.0.0.1", address6) if each]
    return "\n".join([*usual, *own]) + "\n"


def host_text(path: str = "/etc/resolv.conf") -> str:
    """The host's own resolv.conf, "" where there is none. Read anew each time as it may change."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def host_resolver(path: str = "/etc/resolv.conf") -> tuple[str, int] | None:
    """The first server of the host, read anew as it may change."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return name_servers(file.read())[0], PORT
    except FileNotFoundError:
        return _LOCAL_MACHINE, PORT
    except OSError:
        return None


async def serve_names(gateway: str, bridge: str, target: Target = host_resolver) -> None:
    """Pass the questions that come by the bridge to its address on to the host's resolver. Raises OSError where port 53 is taken."""
    with (
        _listen(gateway, bridge, socket.SOCK_DGRAM) as datagrams,
        _listen(gateway, bridge, socket.SOCK_STREAM) as streams,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(forward_udp, datagrams, target, _IDLE)
            nursery.start_soon(forward_tcp, streams, target, _LIFETIME)


def _listen(gateway: str, bridge: str, kind: socket.SocketKind) -> socket.socket:
    """Bound to the bridge, not only to its address, which the kernel would answer for on every link: no open resolver for the world."""
    sock = socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, os.fsencode(bridge))
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((gateway, PORT))
        if kind == socket.SOCK_STREAM:
            sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _reachable(server: str, *, ipv6: bool) -> bool:
    address = ip_address(server)
    return not (address.is_loopback or address.is_unspecified or address.is_link_local) and (
        ipv6 or address.version == 4
    )
