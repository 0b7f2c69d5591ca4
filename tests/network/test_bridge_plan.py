from ipaddress import IPv4Interface, IPv4Network, IPv6Network, ip_interface

import attrs
import pytest

from trioker.linux.links import Link, Route
from trioker.model.errors import Conflict, InvalidParameter
from trioker.model.network import Before, NetworkOptions, NetworkRecord
from trioker.network.bridge import Host, checked_name, plan, uplink_mtu

LO = Link(1, "lo", "", 0, 65536, "")
ETH0 = Link(2, "eth0", "", 0, 9000, "")
OURS = Link(3, "trioker0", "bridge", 0, 1500, "")
HOST = Host([LO, ETH0], [(2, IPv4Interface("192.0.2.2/24"))], [Route(None, 2), Route(IPv4Network("10.213.0.0/20"), 2)])
RECORD = NetworkRecord("trioker0", made=True, address="10.214.0.1/16", address6="fd00::1/64")
STILL = NetworkOptions(forward=False)


def with_bridge(bridge=OURS, address="10.214.0.1/16"):
    addresses = [*HOST.addresses, (bridge.number, ip_interface(address))] if address else HOST.addresses
    return Host([*HOST.links, bridge], addresses, [*HOST.routes, Route(IPv4Network("10.214.0.0/16"), bridge.number)])


def test_a_new_bridge_is_ours_in_a_free_range_with_the_uplinks_mtu():
    found = plan(HOST, attrs.evolve(STILL, store="0123456789abcdef", root="/var/lib/trioker"), None, [])
    owner = "trioker 0123456789ab /var/lib/trioker"
    assert found == NetworkRecord("trioker0", made=True, address="10.214.0.1/16", mtu=9000, owner=owner)


def test_a_resolver_in_a_range_makes_it_not_free():
    assert plan(HOST, STILL, None, ["10.214.0.53", "::1"]).address == "10.215.0.1/16"


def test_what_was_planned_is_planned_again():
    record = plan(HOST, STILL, None, [])
    assert plan(HOST, STILL, record, []) == plan(with_bridge(), STILL, record, []) == record


def test_after_a_reboot_into_another_network_the_range_is_another():
    moved = HOST._replace(routes=[Route(None, 2), Route(IPv4Network("10.214.0.0/16"), 2)])
    assert plan(moved, STILL, RECORD, []).address == "10.213.0.1/16"


def test_the_address_asked_for_is_taken():
    assert (
        plan(with_bridge(), NetworkOptions(address="10.1.0.1/24", forward=False), RECORD, []).address == "10.1.0.1/24"
    )


def test_a_range_that_is_asked_for_and_has_an_address_of_the_host_is_refused():
    def asked(text):
        return plan(with_bridge(), NetworkOptions(address=text, forward=False), RECORD, []).address

    with pytest.raises(Conflict, match=r"192\.0\.2\.0/23 has an address of this host, 192\.0\.2\.2: choose another"):
        asked("192.0.3.1/23")
    assert asked("192.0.2.129/25") == "192.0.2.129/25", "a part of a network around the host"
    assert asked("10.214.0.7/16") == "10.214.0.7/16", "its own bridge's range"


def test_our_bridge_is_known_again_where_its_record_is_lost():
    found = plan(with_bridge(address="10.99.0.1/16"), STILL, None, [])
    assert (found.made, found.address) == (True, "10.99.0.1/16")


def test_somebodys_bridge_is_not_ours():
    lan = Link(7, "lan", "bridge", 0, 1500, "")
    options = NetworkOptions(bridge="lan", forward=False, firewall=False)
    found = plan(with_bridge(lan, "10.7.0.254/24"), options, None, [])
    assert (found.made, found.address) == (False, "10.7.0.254/24")
    with pytest.raises(Conflict, match="has no IPv4 address"):
        plan(with_bridge(lan, ""), options, None, [])
    with pytest.raises(Conflict, match=r"has the address 10\.7\.0\.254/24, not 10\.8\.0\.1/24"):
        plan(with_bridge(lan, "10.7.0.254/24"), NetworkOptions(bridge="lan", address="10.8.0.1/24"), None, [])


def test_a_record_of_another_bridge_says_nothing():
    assert plan(HOST, NetworkOptions(bridge="tk1", forward=False), RECORD, []).address == "10.214.0.1/16"


def test_a_link_of_another_kind_is_no_bridge():
    with pytest.raises(Conflict, match="eth0 is no bridge"):
        plan(HOST, NetworkOptions(bridge="eth0"), None, [])


def test_the_range_of_ipv6_is_chosen_once():
    options = NetworkOptions(ipv6=True, forward=False)
    first = plan(HOST, options, None, [])
    assert ip_interface(first.address6).network.subnet_of(IPv6Network("fd00::/8"))
    assert plan(HOST, options, first, []).address6 == first.address6
    assert plan(HOST, STILL, first, []).address6 == ""


def test_what_was_noted_of_before_holds_as_long_as_the_bridge_stands():
    noted = Before("net/ipv4/ip_forward", "0", "1")
    record = NetworkRecord("trioker0", made=True, address="10.214.0.1/16", before=(noted,))
    assert plan(with_bridge(), STILL, record, []).before == (noted,)
    assert plan(HOST, STILL, record, []).before == (), "a reboot since: the host is as its owner set it up"


def test_the_mtu_is_the_most_preferred_uplinks_and_never_the_bridges_own():
    assert uplink_mtu(HOST, 0) == 9000
    assert uplink_mtu(with_bridge()._replace(routes=[Route(None, 3), Route(None, 2)]), 3) == 9000
    assert uplink_mtu(HOST._replace(routes=[]), 0) == 1500


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "a:b", "x" * 16, "br%d", "a\nb"])
def test_a_name_the_kernel_refuses_is_refused(name):
    with pytest.raises(InvalidParameter, match="bad bridge name"):
        checked_name(name)


def test_a_bridge_with_containers_of_another_store_is_not_taken_over():
    theirs = Link(9, "tkabcdef0dead00", "veth", OURS.number, 1500, "")
    shared = with_bridge()._replace(links=[*with_bridge().links, theirs])
    for record in (None, RECORD):
        with pytest.raises(Conflict, match="has containers of another trioker on it: choose another name with -b"):
            plan(shared, STILL, record, [])
    assert plan(shared, attrs.evolve(STILL, store="abcdef00"), None, []).made


def marked(*words):
    return with_bridge(OURS._replace(alias=" ".join(words)))


def test_a_bridge_of_another_store_is_refused_by_the_name_of_that_store(tmp_path):
    ours = attrs.evolve(STILL, store="0123456789abcdef", root="/var/lib/trioker")
    belongs = f"the bridge trioker0 belongs to the trioker of {tmp_path} \\(store feedfacecafe\\)"
    with pytest.raises(Conflict, match=belongs):
        plan(marked("trioker", "feedfacecafe", str(tmp_path)), ours, RECORD, [])
    assert plan(marked("trioker", "0123456789ab", "/elsewhere"), ours, RECORD, []).made
    assert plan(marked("somebody's words"), ours, RECORD, []).made


def test_a_bridge_that_was_left_behind_by_a_store_that_is_gone_is_taken(tmp_path):
    gone = marked("trioker", "feedfacecafe", str(tmp_path / "gone"))
    assert plan(gone, STILL, None, []).made
    theirs = Link(9, "tkfeedf0dead000", "veth", OURS.number, 1500, "")
    with pytest.raises(Conflict, match="belongs to the trioker"):
        plan(gone._replace(links=[*gone.links, theirs]), STILL, None, [])
