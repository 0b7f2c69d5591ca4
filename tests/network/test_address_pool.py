from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioker.model.errors import Conflict, InvalidParameter
from trioker.network.addresses import Addresses, bridge_address, free_range, local_range6, partner6

BRIDGE = IPv4Interface("10.1.0.1/29")


def taken(pool, count):
    return [str(pool.take()) for _ in range(count)]


def test_addresses_come_one_after_another_from_the_second():
    assert taken(Addresses(BRIDGE), 5) == [f"10.1.0.{last}" for last in (2, 3, 4, 5, 6)]


def test_network_broadcast_and_the_bridges_own_are_never_given():
    pool = Addresses(IPv4Interface("10.1.0.3/29"))
    assert taken(pool, 5) == [f"10.1.0.{last}" for last in (1, 2, 4, 5, 6)]
    with pytest.raises(Conflict, match=r"all addresses of 10\.1\.0\.0/29 are taken"):
        pool.take()


def test_an_address_is_used_again_as_late_as_can_be():
    pool = Addresses(BRIDGE)
    taken(pool, 2)
    pool.release(IPv4Address("10.1.0.2"))
    pool.release(IPv4Address("10.1.0.2"))
    assert taken(pool, 4) == [f"10.1.0.{last}" for last in (4, 5, 6, 2)]


def test_an_address_of_a_container_that_lives_is_not_given_again():
    pool = Addresses(BRIDGE)
    assert pool.adopt(IPv4Address("10.1.0.3"))
    assert not pool.adopt(IPv4Address("10.1.0.3"))
    assert not pool.adopt(IPv4Address("10.1.0.1"))
    assert not pool.adopt(IPv4Address("10.2.0.1"))
    assert taken(pool, 4) == [f"10.1.0.{last}" for last in (4, 5, 6, 2)]


@given(st.lists(st.integers(-1, 30), max_size=60))
def test_no_address_is_ever_given_twice(steps):
    pool, live = Addresses(IPv4Interface("10.1.0.1/28")), []
    for step in steps:
        if step < 0 or not live:
            if len(live) < 13:
                live.append(pool.take())
        else:
            pool.release(live.pop(step % len(live)))
        assert len(live) == len(set(live))


def test_a_free_range_touches_no_route_no_resolver_and_no_other_engines_range():
    assert str(free_range([])) == "10.213.0.1/16"
    assert str(free_range([IPv4Network("10.213.7.0/24"), IPv6Network("fd00::/8")])) == "10.214.0.1/16"
    assert str(free_range([IPv4Network("10.0.0.0/8")])) == "172.31.0.1/16"
    assert str(free_range([IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12")])) == "192.168.213.1/24"


def test_a_host_whose_private_ranges_are_all_routed_says_so():
    with pytest.raises(Conflict, match="--bip"):
        free_range([IPv4Network("0.0.0.0/0")])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10.1.0.1", "prefix is missing"),
        ("10.1.0.1/33", "bad bridge address"),
        ("ten/8", "bad bridge address"),
        ("10.1.0.1/31", "no room"),
        ("10.1.0.0/24", "network's own"),
        ("10.1.0.255/24", "broadcast"),
        ("fd00::1/64", "bad bridge address"),
        *(
            (text, "no host may have")
            for text in ("127.0.0.1/8", "0.0.0.1/8", "1.1.1.1/1", "224.0.0.1/24", "255.255.255.253/30")
        ),
    ],
)
def test_a_bad_bridge_address_says_what_is_wrong(text, why):
    with pytest.raises(InvalidParameter, match=why):
        bridge_address(text)


def test_the_range_of_ipv6_is_local_and_a_seeds_own():
    first = local_range6(b"one host")
    assert first == local_range6(b"one host") != local_range6(b"another")
    assert first.network.subnet_of(IPv6Network("fd00::/8"))
    assert first.network.prefixlen == 64
    assert first.ip == first.network.network_address + 1


def test_a_containers_two_addresses_have_one_number():
    own = partner6(IPv6Interface("fd00::1/64"), IPv4Interface("10.1.1.2/16"))
    assert str(own) == "fd00::102/64"
