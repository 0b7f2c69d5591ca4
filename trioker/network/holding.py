"""Ports of the host held by a socket, so that nobody else gets them and everybody sees that they are taken."""

import socket
from ipaddress import ip_address

import attrs

from trioker.model.network import PublishedPort

_BACKLOG = 128


@attrs.frozen
class Held:
    """A socket on a published port. With rules in place no packet ever reaches it; a forwarder accepts from it."""

    socket: socket.socket

    def close(self) -> None:
        """Let go of the port."""
        self.socket.close()


def hold(port: PublishedPort) -> Held:
    """Take the port, of IPv4 where it is for all addresses. Raises OSError: EADDRINUSE, EADDRNOTAVAIL for an address the host has not.

    TCP listens: SO_REUSEADDR, which is needed to get past connections of an earlier holder, lets others bind it too as long as nobody listens.
    """
    host = ip_address(port.host or "0.0.0.0")
    family = socket.AF_INET if host.version == 4 else socket.AF_INET6
    kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
    sock = socket.socket(family, kind | socket.SOCK_CLOEXEC)
    try:
        if port.protocol == "tcp":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((str(host), port.public))
        if port.protocol == "tcp":
            sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return Held(sock)
