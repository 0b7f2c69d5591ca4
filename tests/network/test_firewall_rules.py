"""The rules as bytes; what they do is seen in tests/privileged/test_network_traffic.py."""

from ipaddress import IPv4Interface, IPv6Interface

import attrs
import pytest

from trioker.linux import netlink
from trioker.model.network import Endpoint, PublishedPort
from trioker.network import nftables as nft
from trioker.network.firewall import Policy, chains, redirects, table_name

POLICY = Policy("trioker0", IPv4Interface("10.1.0.1/16"), None, own=True, icc=True)
PLACE = Endpoint("c" * 64, "trioker0", "vethc", "02:42:0a:01:00:02", "10.1.0.2", 16, "10.1.0.1")
PLACE6 = attrs.evolve(PLACE, address6="fd00::2", prefix6=64, gateway6="fd00::1")


def elements(place, *ports):
    return [
        (each.map, each.element.key.hex(), each.element.value.hex())
        for each in redirects(attrs.evolve(place, ports=ports))
    ]


def test_a_published_port_is_one_element_of_a_map():
    port = PublishedPort("tcp", "", 4500, 80)
    assert elements(PLACE, port) == [("any4", "06000000" + "11940000", "0a010002" + "00500000")]


def test_a_port_of_one_address_has_it_in_its_key():
    port = PublishedPort("udp", "127.0.0.1", 53, 5353)
    assert elements(PLACE, port) == [("at4", "11000000" + "7f000001" + "00350000", "0a010002" + "14e90000")]


def test_a_container_with_two_families_is_published_on_both():
    everywhere, one = PublishedPort("tcp", "", 80, 80), PublishedPort("tcp", "fd00::9", 80, 80)
    assert [name for name, _, _ in elements(PLACE6, everywhere, one)] == ["any4", "any6", "at6"]
    assert len(elements(PLACE, one)) == 0


@pytest.mark.parametrize("prefix", [1, 8, 12, 16, 23, 24, 32])
def test_a_networks_mask_has_as_many_bits_as_its_prefix(prefix):
    mask = ((1 << prefix) - 1 << 32 - prefix).to_bytes(4)
    assert mask in nft.source(bytes(4), prefix)


def test_somebodys_bridge_has_no_rule_that_drops_what_he_forwards():
    theirs = POLICY._replace(own=False)
    passing = {each.name: each.rules for each in chains(theirs)}["passing"]
    assert passing == []
    assert {each.name: each.rules for each in chains(theirs._replace(icc=False))}["passing"] != []


def test_rules_of_ipv6_are_there_with_ipv6_alone():
    marks = [nft.family(nft.IPV6) in rule for chain in chains(POLICY) for rule in chain.rules]
    assert not any(marks)
    both = POLICY._replace(address6=IPv6Interface("fd00::1/64"))
    assert any(nft.family(nft.IPV6) in rule for chain in chains(both) for rule in chain.rules)


def test_many_elements_are_sent_in_pieces_that_an_attribute_can_hold():
    messages = list(nft.add_elements("t", "m", [nft.Element(bytes(24), bytes(20))] * 1200))
    assert len(messages) == 3
    assert all(len(each.body) < 65536 for each in messages)
    assert list(nft.add_elements("t", "m", [])) == []


def test_a_key_of_several_parts_is_as_wide_as_their_registers():
    key = nft.PROTOCOL.and_then(nft.ADDRESS6).and_then(nft.PORT)
    assert key.size == 24
    assert key.number == 12 << 12 | 8 << 6 | 13


def test_a_drop_is_in_network_order():
    body = netlink.attributes(netlink.attributes(nft.verdict(nft.ACCEPT))[1])
    assert netlink.string(body[1]) == "immediate"


def test_another_bridges_table_is_another():
    assert table_name("trioker0") == "trioker"
    assert table_name("lab1") == "trioker-lab1"
