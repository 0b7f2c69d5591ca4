"""Ports of the host held by a socket, so that nobody else gets them and everybody sees that they are taken."""

import socket
from ipaddress import ip_address

import attrs

from trioker.model.network import PublishedPort

_BACKLOG = 128


@attrs.frozen
class Held:
    """Sockets on a published port, one of each family it is open on. With rules no packet ever reaches them; without, a forwarder serves them."""

    sockets: tuple[socket.socket, ...]

    def close(self) -> None:
        """Let go of the port."""
        for each in self.sockets:
            each.close()


def hold(port: PublishedPort, *, ipv6: bool = False) -> Held:
    """Take the port: where it is for all addresses those of IPv4, with ``ipv6`` of both families.

    Raises OSError: EADDRINUSE, EADDRNOTAVAIL for an address the host has not.
    """
    hosts = [port.host] if port.host else ["0.0.0.0", "::"] if ipv6 else ["0.0.0.0"]
    held: list[socket.socket] = []
    try:
        held.extend(_socket(port, host) for host in hosts)
    except BaseException:
        Held(tuple(held)).close()
        raise
    return Held(tuple(held))


def _socket(port: PublishedPort, host: str) -> socket.socket:
    """TCP listens: SO_REUSEADDR, which is needed to get past connections of an earlier holder, lets others bind it too as long as nobody listens."""
    family = socket.AF_INET if ip_address(host).version == 4 else socket.AF_INET6
    kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
    sock = socket.socket(family, kind | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if port.protocol == "tcp":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port.public))
        if port.protocol == "tcp":
            sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock
