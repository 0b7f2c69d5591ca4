"""Sockets that keep published ports from other programs of the host."""

import errno
import socket
from contextlib import closing

import pytest

from trioker.model.network import PublishedPort
from trioker.network.holding import hold


def bound(family: int, kind: int, port: int = 0) -> socket.socket:
    """A program's socket, of this family alone."""
    sock = socket.socket(family, kind)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        sock.bind(("", port))
    except OSError:
        sock.close()
        raise
    return sock


def free_port(kind: int) -> int:
    with bound(socket.AF_INET6, kind) as probe:
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(("protocol", "kind"), [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
def test_a_port_of_all_addresses_is_one_of_both_families_where_containers_have_both(protocol, kind):
    port = PublishedPort(protocol, "", free_port(kind), 80)
    with closing(hold(port)), bound(socket.AF_INET6, kind, port.public), pytest.raises(OSError, match="in use"):
        bound(socket.AF_INET, kind, port.public)
    with closing(hold(port, ipv6=True)):
        for family in (socket.AF_INET, socket.AF_INET6):
            with pytest.raises(OSError, match="in use"):
                bound(family, kind, port.public)


def test_where_one_family_is_taken_the_other_is_let_go():
    port = PublishedPort("tcp", "", free_port(socket.SOCK_STREAM), 80)
    with bound(socket.AF_INET6, socket.SOCK_STREAM, port.public) as program:
        program.listen()
        with pytest.raises(OSError, match="in use") as refused:
            hold(port, ipv6=True)
        assert refused.value.errno == errno.EADDRINUSE
        bound(socket.AF_INET, socket.SOCK_STREAM, port.public).close()


def test_a_port_of_one_address_is_held_there_alone():
    port = PublishedPort("tcp", "::1", free_port(socket.SOCK_STREAM), 80)
    with closing(hold(port)) as held:
        assert [each.getsockname()[:2] for each in held.sockets] == [("::1", port.public)]
