"""Names inside containers of a daemon, on a host whose resolver listens only on the loopback."""

import socket
import struct

import pytest
from network_daemon import (
    GATEWAY,
    TCP,
    UDP,
    Way,
    in_namespace,
    in_thread,
    inside,
    on_a_host,
    reached,
    said,
    socket_in,
    start,
    write_resolv_conf,
)
from network_lab import HOST, SOON

pytestmark = pytest.mark.root

FOUND = "192.0.2.77"
QUESTION = b"id\1\0\0\1\0\0\0\0\0\0\4some\4name\0\0\1\0\1"


def answered(question: bytes) -> bytes:
    """An answer by which each name has one IPv4 address and none of IPv6 (RFC 1035, 4.1)."""
    end = question.index(b"\0", 12) + 5
    wanted = question[end - 4 : end - 2] == b"\0\1"
    record = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(FOUND) if wanted else b""
    return question[:2] + b"\x81\x80\0\1\0" + bytes([wanted]) + bytes(4) + question[12:end] + record


def resolve(netns: int, host: str = "127.0.0.1") -> None:
    """Be a name server, by UDP and by TCP, until the process ends."""
    datagrams, streams = socket_in(netns, UDP, host, 53), socket_in(netns, TCP, host, 53)

    def by_datagram():
        while True:
            question, client = datagrams.recvfrom(1000)
            datagrams.sendto(answered(question), client)

    def by_stream():
        while True:
            with streams.accept()[0] as client:
                answer = answered(client.recv(1000)[2:])
                client.sendall(struct.pack(">H", len(answer)) + answer)

    in_thread(by_datagram)
    in_thread(by_stream)


def asked(netns: int, kind: int) -> bytes:
    """What the bridge answers to a question."""
    with in_namespace(netns, lambda: socket.socket(socket.AF_INET, kind)) as sock:
        sock.settimeout(SOON)
        sock.connect((GATEWAY, 53))
        sock.sendall(QUESTION if kind == UDP else struct.pack(">H", len(QUESTION)) + QUESTION)
        return sock.recv(1000)


@on_a_host
def test_a_resolver_on_the_hosts_loopback_answers_containers_and_nobody_else(lab, running):
    resolve(lab.host)
    with running(resolv_conf="nameserver 127.0.0.53\nsearch example.test\n") as daemon:
        write_resolv_conf(daemon.directory, "nameserver 127.0.0.1\nsearch example.test\noptions ndots:2\n")
        text = said(daemon, "cat /etc/resolv.conf; busybox nslookup -type=a some.name")
        assert f"search example.test\noptions ndots:2\nnameserver {GATEWAY}\n" in text
        assert FOUND in text
        own = inside(daemon, start(daemon))
        for kind in (UDP, TCP):
            assert asked(own, kind).endswith(socket.inet_aton(FOUND))
        assert not reached(*(Way(lab.world, host, 53, kind) for host in (HOST, GATEWAY) for kind in (UDP, TCP)))
        daemon.kill()
        daemon.start()
        assert asked(own, UDP).endswith(socket.inet_aton(FOUND)), "as soon as there is a daemon again"


@on_a_host
def test_a_container_asks_its_own_servers_else_the_daemons_else_the_hosts(lab, running):
    host = "search example.test\nnameserver 127.0.0.53\nnameserver 192.0.2.1\n"
    with running(resolv_conf=host) as daemon:
        assert said(daemon, "cat /etc/resolv.conf") == "search example.test\nnameserver 192.0.2.1\n"
        daemon.stop()
        daemon.flags = ("-b", "", "--dns", "192.0.2.2", "--dns", "192.0.2.3")
        daemon.start()
        assert said(daemon, "cat /etc/resolv.conf").endswith("\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n")
        assert said(daemon, "cat /etc/resolv.conf", Dns=["192.0.2.4"]).endswith("test\nnameserver 192.0.2.4\n")


@on_a_host
def test_a_container_knows_its_own_name_by_both_families(lab, running):
    with running("--ipv6") as daemon:
        text = said(daemon, "hostname; cat /etc/hostname /etc/hosts; ip -6 addr show eth0 scope global", Hostname="me")
        assert text.startswith("me\nme\n127.0.0.1\tlocalhost\n::1\tlocalhost ")
        own6 = text.split("inet6 ")[1].split("/")[0]
        assert f"\n10.213.0.2\tme\n{own6}\tme\n" in text
