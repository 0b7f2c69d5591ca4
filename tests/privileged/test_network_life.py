"""What the network makes of a host, keeps over the daemon's death, and puts back."""

import os
import socket
import subprocess

import attrs
import pytest
import trio
from network_lab import (
    HOST,
    MTU,
    NEVER,
    WORLD,
    answer,
    ask,
    in_lab,
    in_namespace,
    join,
    listener,
    new_namespace,
    shown,
    state,
)
from polling import PATIENCE

from trioker.linux import netlink
from trioker.linux.links import all_links
from trioker.linux.netlink import Netlink
from trioker.model.errors import Conflict, InvalidParameter
from trioker.network import sysctls
from trioker.network.network import NetworkOptions, open_network, plan_network, remove_network

pytestmark = pytest.mark.root


def links():
    with Netlink(netlink.ROUTE) as sock:
        return {name for each in all_links(sock) for name in (each.name, *each.further_names)}


def run(*command):
    subprocess.run(command, check=True, capture_output=True, timeout=20)


@in_lab
async def test_after_cleanup_the_host_is_as_it_was(lab):
    run("nft", "add table inet other; add chain inet other c { type filter hook input priority 0; }")
    sysctls.write("net/ipv6/conf/uplink/accept_ra", "1")
    before = state()
    async with lab.network(ipv6=True, icc=False) as network:
        await lab.container(network, "80", "81/udp")
        assert state() != before
    assert sysctls.read("net/ipv6/conf/uplink/accept_ra") == "2", "a router takes routes only when told to"
    for _ in range(2):
        remove_network(network.record)
        assert state() == before


@in_lab
async def test_a_setting_that_somebody_changed_since_is_left_alone(lab):
    async with lab.network() as network:
        assert sysctls.read("net/ipv4/conf/uplink/forwarding") == "1"
    sysctls.write("net/ipv4/ip_forward", "0")
    sysctls.write("net/ipv4/conf/uplink/forwarding", "1")
    remove_network(network.record)
    assert sysctls.read("net/ipv4/conf/uplink/forwarding") == "1"


@in_lab
async def test_a_link_that_has_gone_since_its_settings_were_noted_keeps_no_daemon_from_starting(lab):
    run("ip", "link", "add", "tunnel", "type", "bridge")
    sysctls.write("net/ipv6/conf/tunnel/accept_ra", "1")
    sysctls.write("net/ipv4/conf/tunnel/forwarding", "1")
    async with lab.network(ipv6=True) as network:
        assert {"net/ipv6/conf/tunnel/accept_ra", "net/ipv4/conf/tunnel/forwarding"} <= {
            each.path for each in network.record.before
        }
    run("ip", "link", "delete", "tunnel")
    async with lab.network(network.record, ipv6=True):
        assert sysctls.read("net/ipv6/conf/all/forwarding") == "1"


@in_lab
async def test_containers_of_a_bridge_that_somebody_deleted_are_put_on_the_new_one(lab):
    async with trio.open_nursery() as nursery:
        async with lab.network(icc=False) as network:
            place, netns = await lab.container(network, "4500:80")
            nursery.start_soon(answer, await listener(netns, 80), "c")
        run("ip", "link", "delete", "trioker0")
        async with lab.network(network.record, [place]):
            assert await ask(lab.world, HOST, 4500) == f"c sees {WORLD}"
        nursery.cancel_scope.cancel()


@in_lab
async def test_what_only_an_earlier_daemon_wanted_is_not_set_again(lab):
    async with lab.network(ipv6=True) as network:
        pass
    for each in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
        sysctls.write(each, "0")
    async with lab.network(network.record, ipv6=True, forward=False) as later:
        assert sysctls.read("net/ipv4/ip_forward") == sysctls.read("net/ipv6/conf/all/forwarding") == "0"
    async with lab.network(later.record):
        assert sysctls.read("net/ipv4/ip_forward") == "1"
        assert sysctls.read("net/ipv6/conf/all/forwarding") == "0"


@in_lab
async def test_published_ports_outlive_the_daemon_and_the_next_takes_them_up(lab):
    async with trio.open_nursery() as nursery:
        async with lab.network() as network:
            place, netns = await lab.container(network, "4500:80")
            gone, orphaned = await lab.container(network, "4501:80", name="d")
            nursery.start_soon(answer, await listener(netns, 80), "c")
            nursery.start_soon(answer, await listener(orphaned, 80), "d")
        rules = shown("nft", "list", "ruleset")
        assert await ask(lab.world, HOST, 4500) == f"c sees {WORLD}", "no daemon"
        assert await ask(lab.world, HOST, 4501) == f"d sees {WORLD}"
        async with lab.network(network.record, [place]) as later:
            assert later.record == network.record
            assert await ask(lab.world, HOST, 4500) == f"c sees {WORLD}"
            assert not await ask(lab.world, HOST, 4501, NEVER)
            assert gone.link not in links()
            with pytest.raises(Conflict, match="Port already in use: 4500"):
                later.reserve("e" * 64, ["4500:81"])
            assert later.reserve("e" * 64).address != place.address
            await later.disconnect(place)
        assert rules != shown("nft", "list", "ruleset")
        nursery.cancel_scope.cancel()


@in_lab
async def test_a_connection_goes_on_while_daemons_come_and_go(lab):
    async with lab.network() as network:
        place, netns = await lab.container(network, "4500:80")
        server = await listener(netns, 80)
        client = trio.socket.from_stdlib_socket(in_namespace(lab.world, socket.socket))
        await client.connect((HOST, 4500))
        inside, _ = await server.accept()
    async with lab.network(network.record, [place]):
        with trio.fail_after(5):
            await client.send(b"still there?")
            assert await inside.recv(100) == b"still there?"


@in_lab
async def test_rules_that_somebody_flushed_are_made_anew(lab):
    async with lab.network() as network, trio.open_nursery() as nursery:
        _, first = await lab.container(network, "4500:80")
        before = shown("nft", "list", "ruleset")
        run("nft", "flush", "ruleset")
        with trio.fail_after(PATIENCE):
            while shown("nft", "list", "ruleset") != before:
                await trio.sleep(0.01)
        await lab.container(network, "4501:80", name="d")
        nursery.start_soon(answer, await listener(first, 80), "c")
        assert await ask(lab.world, HOST, 4500) == f"c sees {WORLD}"
        nursery.cancel_scope.cancel()


@in_lab
async def test_an_ended_containers_link_goes_with_its_namespace_and_its_rules_at_once(lab):
    async with lab.network() as network:
        empty = shown("nft", "list", "ruleset")
        place, netns = await lab.container(network, "80", "127.0.0.1:90:90", "91/udp")
        assert place.link in links()
        await network.disconnect(place)
        await network.disconnect(place)
        assert shown("nft", "list", "ruleset") == empty
        os.close(netns)
        with trio.fail_after(20):
            while place.link in links():
                await trio.sleep(0.01)


@in_lab
async def test_a_namespace_that_outlives_its_container_does_not_keep_the_address(lab):
    async with lab.network(address="10.1.0.1/30") as network:
        place, held = await lab.container(network)
        await network.disconnect(place)
        again, _ = await lab.container(network, name="d")
        assert again.address == place.address
        assert place.link not in links()
        with pytest.raises(OSError, match="no interface"):
            in_namespace(held, lambda: socket.if_nametoindex("eth0"))


@in_lab
async def test_a_connection_that_fails_leaves_nothing(lab):
    async with lab.network() as network:
        before = links(), shown("nft", "list", "ruleset")
        place = network.reserve("c" * 64, ["4500:80"])
        occupied = new_namespace()
        in_namespace(occupied, lambda: run("ip", "link", "add", "eth0", "type", "bridge"))
        await network.publish(place)
        with pytest.raises(FileExistsError):
            join(network, place, occupied)
        await network.disconnect(place)
        assert (links(), shown("nft", "list", "ruleset")) == before
        assert network.reserve("d" * 64, ["4500:80"]).ports == place.ports


@in_lab
async def test_a_port_of_a_program_of_the_host_is_in_use_and_so_is_ours_for_it(lab):
    async with lab.network(first_port=50000, last_port=50001) as network:
        taken = await listener(lab.host, 50000)
        with pytest.raises(Conflict, match="Port already in use: 50000"):
            network.reserve("c" * 64, ["50000:80"])
        place = network.reserve("c" * 64, ["80"])
        assert [each.public for each in place.ports] == [50001]
        with pytest.raises(OSError, match="in use"):
            await listener(lab.host, 50001)
        with pytest.raises(Conflict, match="all ports from 50000 to 50001 are in use"):
            network.reserve("d" * 64, ["80"])
        taken.close()
        assert [each.public for each in network.reserve("d" * 64, ["80"]).ports] == [50000]
        with pytest.raises(InvalidParameter, match="Cannot assign requested address"):
            network.reserve("e" * 64, ["192.0.2.77:80:80"])


@in_lab
async def test_containers_have_the_uplinks_mtu_and_no_ipv6_unless_asked_for(lab):
    async with lab.network() as network:
        place, netns = await lab.container(network)
        told = in_namespace(netns, lambda: shown("ip", "addr", "show", "eth0"))
        assert f"mtu {MTU}" in told
        assert place.mac in told
        assert "inet6" not in told
        assert "inet6" not in shown("ip", "addr", "show", "trioker0")


@in_lab
async def test_a_bridge_that_is_somebodys_is_used_and_not_removed(lab):
    run("ip", "link", "add", "lan", "type", "bridge")
    with pytest.raises(Conflict, match="has no IPv4 address"):
        plan_network(NetworkOptions(bridge="lan"), None, "")
    run("ip", "addr", "add", "10.7.0.254/24", "dev", "lan")
    run("ip", "link", "set", "lan", "up")
    before = state()
    async with lab.network(bridge="lan", icc=False) as network:
        place, _ = await lab.container(network)
        assert (place.address, place.gateway, place.prefix) == ("10.7.0.1", "10.7.0.254", 24)
        assert "trioker-lan" in shown("nft", "list", "tables")
        await network.disconnect(place)
        run("ip", "link", "del", "dev", place.link)
    remove_network(network.record)
    assert {**state(), "links": ""} == {**before, "links": ""}
    assert " lan:" in shown("ip", "link")


@in_lab
async def test_the_range_collides_with_no_route_of_the_host(lab):
    run("ip", "route", "add", "10.192.0.0/10", "via", WORLD)
    record = plan_network(NetworkOptions(), None, "nameserver 172.31.0.2")
    assert record.address == "172.30.0.1/16"
    assert plan_network(NetworkOptions(address="10.213.0.1/16"), record, "").address == "10.213.0.1/16"


@in_lab
async def test_chains_that_drop_what_is_forwarded_are_told_of(lab):
    run("nft", "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }")
    async with lab.network() as network:
        assert network._wiring.firewall.obstacles() == ["ip filter FORWARD"]


@in_lab
async def test_many_containers_come_and_go_at_once(lab):
    async with lab.network() as network:
        seen = set()

        async def one(number):
            netns = new_namespace()
            place = network.reserve(f"{number:064x}", [f"{80 + number % 7}"])
            await network.publish(place)
            join(network, place, netns)
            seen.add((place.address, place.ports[0].public))
            os.close(netns)
            if number % 2:
                await network.disconnect(place)

        async with trio.open_nursery() as nursery:
            for number in range(60):
                nursery.start_soon(one, number)
        assert len({address for address, _ in seen}) == len({port for _, port in seen}) == 60


@in_lab
async def test_a_kernel_without_packet_rules_is_served_by_the_daemon(lab):
    netlink.NETFILTER = 31  # no such protocol: what a kernel without nfnetlink says
    async with lab.network() as network, trio.open_nursery() as nursery:
        _, netns = await lab.container(network, "4500:80")
        nursery.start_soon(answer, await listener(netns, 80), "c")
        assert await ask(lab.world, HOST, 4500) == f"c sees {network.gateway}"
        nursery.cancel_scope.cancel()
    remove_network(network.record)
    assert "trioker0" not in links()


@in_lab
async def test_what_cannot_be_opened_leaves_no_socket_open(lab):
    record = plan_network(NetworkOptions(), None, "")
    open_before = len(os.listdir("/proc/self/fd"))
    broken = attrs.evolve(record, bridge="x" * 16)
    with pytest.raises(OSError, match="out of range"):
        async with open_network(NetworkOptions(), broken):
            pass
    assert len(os.listdir("/proc/self/fd")) == open_before
