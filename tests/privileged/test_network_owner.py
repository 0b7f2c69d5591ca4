"""Whose a network is, and what becomes of it when its store wants none any more."""

import tempfile

import attrs
import pytest
import trio
from network_lab import HOST, WORLD, answer, ask, in_lab, join, listener, new_namespace, shown, state

from trioker.model.errors import Conflict
from trioker.model.network import NetworkOptions
from trioker.network.network import plan_network, remove_network
from trioker.network.opening import daemon_network

pytestmark = pytest.mark.root

NONE = NetworkOptions(bridge="none")


class Records:
    """What a store remembers."""

    def __init__(self):
        self.known = None

    def network(self):
        return self.known

    async def save_network(self, record):
        self.known = record


@in_lab
async def test_of_two_stores_that_name_the_same_bridge_the_second_is_refused_and_takes_nothing_away(lab):
    with tempfile.TemporaryDirectory() as root:
        first = NetworkOptions(store="feedfacecafe0000", root=root)
        second = NetworkOptions(store="0123456789ab0000", root="/var/lib/trioker")
        async with daemon_network(first, Records(), (), cleanup=False) as network:
            place, netns = network.reserve("c" * 64), new_namespace()
            join(network, place, netns)
            for record in (None, network.record):
                with pytest.raises(
                    Conflict, match=rf"trioker0 belongs to the trioker of {root} \(store feedfacecafe\)"
                ):
                    plan_network(second, record, "")
            before = state()
            remove_network(attrs.evolve(network.record, owner="trioker 0123456789ab /var/lib/trioker"))
            assert state() == before
            assert f"alias trioker feedfacecafe {root}" in shown("ip", "link", "show", "trioker0")


@in_lab
async def test_a_sweep_on_somebodys_bridge_leaves_the_links_of_others(lab):
    shown("sh", "-c", "ip link add lan type bridge; ip addr add 10.7.0.254/24 dev lan; ip link set lan up")
    shown("sh", "-c", "ip link add vethdocker0 type veth peer name other; ip link set vethdocker0 master lan")
    async with lab.network(bridge="lan", store="0123456789ab"):
        assert "vethdocker0" in shown("ip", "link")


@in_lab
async def test_without_a_network_an_earlier_one_is_removed_once_nobody_is_on_it(lab):
    before, records = state(), Records()
    async with daemon_network(NetworkOptions(), records, (), cleanup=False):
        pass
    assert state() != before
    async with daemon_network(NONE, records, (), cleanup=False):
        assert state() == before
        assert records.known is None


@in_lab
async def test_containers_of_an_earlier_network_keep_it_and_take_their_ports_along_when_they_end(lab):
    before, records = state(), Records()
    netns = new_namespace()
    async with daemon_network(NetworkOptions(), records, (), cleanup=False) as network:
        gone = network.reserve("d" * 64, ["4501:80"])
        await network.publish(gone)
        place = network.reserve("c" * 64, ["4500:80"])
        await network.publish(place)
        join(network, place, netns)
    async with daemon_network(NONE, records, [place], cleanup=False) as without, trio.open_nursery() as nursery:
        assert without.reserve("e" * 64) is None
        nursery.start_soon(answer, await listener(netns, 80), "c")
        assert await ask(lab.world, HOST, 4500) == f"c sees {WORLD}"
        assert "4501" not in shown("nft", "list", "ruleset")
        await without.disconnect(place)
        assert "4500" not in shown("nft", "list", "ruleset")
        nursery.cancel_scope.cancel()
    assert state() == before
    assert records.known is None
