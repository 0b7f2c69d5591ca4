import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioker.model.errors import Conflict, InvalidParameter
from trioker.model.network import PublishedPort
from trioker.model.ports import PortSpec, parse_port
from trioker.network.ports import Ports


class HostPorts:
    """A host on which some programs have ports."""

    def __init__(self, *taken):
        self.taken = set(taken)

    def claim(self, port):
        if (port.protocol, port.public) in self.taken:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        if port.host == "192.0.2.9":
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        self.taken.add((port.protocol, port.public))
        return Claimed(self, port)


class Claimed:
    def __init__(self, host, port):
        self.host = host
        self.port = port

    def close(self):
        self.host.taken.remove((self.port.protocol, self.port.public))


def published(ports, *texts):
    return [(each.protocol, each.host, each.public, each.private) for each in ports.publish(map(parse_port, texts))]


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("80", PortSpec(80)),
        (":80", PortSpec(80, 80)),
        ("4500:80", PortSpec(80, 4500)),
        ("80/udp", PortSpec(80, protocol="udp")),
        ("4500:80/tcp", PortSpec(80, 4500)),
        (":53/udp", PortSpec(53, 53, "udp")),
        ("127.0.0.1:4500:80", PortSpec(80, 4500, host="127.0.0.1")),
        ("127.0.0.1::80/udp", PortSpec(80, None, "udp", "127.0.0.1")),
        ("0.0.0.0:4500:80", PortSpec(80, 4500)),
        (":4500:80", PortSpec(80, 4500)),
        ("[fd00::1]:4500:80", PortSpec(80, 4500, host="fd00::1")),
        ("[::]:4500:80", PortSpec(80, 4500)),
    ],
)
def test_every_form_is_understood(text, spec):
    assert parse_port(text) == spec


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ":",
            "x",
            "0",
            "65536",
            "-1",
            "80/",
            "80/sctp",
            "/udp",
            "1:2:3:4",
            "4500:",
            "a:80",
            "80:0",
            "+80",
            "8 0",
            "٨٠",
        ),
        *(
            "10.0.0:1:80",
            "localhost:1:80",
            "fd00::1:1:80",
            "[127.0.0.1]:1:80",
            "[fd00::1:1:80",
            "224.0.0.1:1:80",
            "1" * 5000,
        ),
    ],
)
def test_what_is_no_port_is_refused_by_the_originals_words(text):
    with pytest.raises(InvalidParameter, match="Invalid port format"):
        parse_port(text)


@given(st.text(alphabet="0123456789:./[]udptcf", max_size=30))
def test_any_text_is_a_port_or_refused(text):
    try:
        assert 1 <= parse_port(text).private <= 65535
    except InvalidParameter:
        pass


def test_random_ports_come_from_the_range_one_after_another():
    ports = Ports(50000, 50002, HostPorts().claim)
    assert published(ports, "80") == [("tcp", "", 50000, 80)]
    assert published(ports, "81", "82/udp") == [("tcp", "", 50001, 81), ("udp", "", 50002, 82)]


def test_a_random_port_never_is_one_that_somebody_has():
    ports = Ports(50000, 50002, HostPorts(("tcp", 50000)).claim)
    assert published(ports, "80", "50001:81") == [("tcp", "", 50001, 81), ("tcp", "", 50002, 80)]
    with pytest.raises(Conflict, match="all ports from 50000 to 50002 are in use"):
        published(ports, "83")


@pytest.mark.parametrize("again", ["4500:81", "127.0.0.1:4500:81"])
def test_a_port_of_ours_is_in_use(again):
    ports = Ports(1, 2, HostPorts().claim)
    published(ports, "4500:80")
    with pytest.raises(Conflict, match=r"^Port already in use: 4500$"):
        published(ports, again)


def test_a_port_of_all_addresses_is_in_use_by_one_address():
    ports = Ports(1, 2, HostPorts().claim)
    published(ports, "127.0.0.1:4500:80")
    with pytest.raises(Conflict, match="Port already in use: 4500"):
        published(ports, "4500:80")


def test_one_port_serves_two_addresses_and_two_protocols():
    host = HostPorts()
    ports = Ports(1, 2, lambda port: host.claim(port) if port.host != "10.0.0.1" else Nothing())
    assert len(published(ports, "127.0.0.1:4500:80", "10.0.0.1:4500:80", "4500:80/udp")) == 3


class Nothing:
    def close(self):
        pass


def test_a_port_of_a_program_of_the_host_is_in_use():
    with pytest.raises(Conflict, match="Port already in use: 22"):
        published(Ports(1, 2, HostPorts(("tcp", 22)).claim), "22:22")


def test_an_address_the_host_has_not_is_told():
    with pytest.raises(InvalidParameter, match=r"port 80 cannot be published on 192\.0\.2\.9: Cannot assign"):
        published(Ports(1, 2, HostPorts().claim), "192.0.2.9:80:80")


def test_all_are_published_or_none():
    host = HostPorts(("tcp", 22))
    ports = Ports(50000, 50010, host.claim)
    with pytest.raises(Conflict):
        published(ports, "80", "4500:80", "22:22")
    assert host.taken == {("tcp", 22)}
    assert published(ports, "4500:80")


def test_the_same_wish_twice_is_one_port():
    assert published(Ports(1, 2, HostPorts().claim), "4500:80", "4500:80") == [("tcp", "", 4500, 80)]


def test_released_ports_are_free_again():
    host = HostPorts()
    ports = Ports(1, 2, host.claim)
    made = ports.publish([parse_port("4500:80")])
    ports.release(made)
    ports.release(made)
    assert host.taken == set()
    assert published(ports, "4500:80")
    ports.close()
    assert host.taken == set()


def test_ports_of_a_container_that_lives_are_taken_even_where_a_program_took_them_too():
    ports = Ports(1, 2, HostPorts(("tcp", 4500)).claim)
    stolen, own = PublishedPort("tcp", "", 4500, 80), PublishedPort("tcp", "", 4501, 80)
    assert ports.adopt([stolen, own]) == [stolen]
    assert ports.claim_of(stolen) is None
    assert ports.claim_of(own)
    for text in ("4500:80", "4501:80"):
        with pytest.raises(Conflict):
            published(ports, text)
    ports.release([stolen, own])
    assert published(ports, "4501:80")
