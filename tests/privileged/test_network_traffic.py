"""Who reaches whom: real packets between containers, their host and the world."""

import socket
from collections import Counter

import pytest
import trio
import trio.testing
from network_lab import (
    HOST,
    HOST6,
    NEVER,
    WORLD,
    WORLD6,
    answer,
    answer_datagrams,
    ask,
    ask_datagram,
    in_lab,
    listener,
    mac_of_link,
    made_in,
    send_forged,
)

pytestmark = pytest.mark.root


async def serve(nursery, netns, port=80, name="c"):
    nursery.start_soon(answer, await listener(netns, port), name)


async def serve_datagrams(nursery, netns, port=80, name="c"):
    nursery.start_soon(answer_datagrams, await listener(netns, port, kind=socket.SOCK_DGRAM), name)


@in_lab
async def test_a_container_reaches_the_world_as_its_host(lab):
    async with lab.network() as network, trio.open_nursery() as nursery:
        place, netns = await lab.container(network)
        await serve(nursery, lab.world, 7, "world")
        assert await ask(netns, WORLD, 7) == f"world sees {HOST}"
        await serve(nursery, lab.host, 7, "host")
        assert await ask(netns, network.gateway, 7) == f"host sees {place.address}"
        nursery.cancel_scope.cancel()


@in_lab
async def test_a_published_port_is_reached_from_everywhere(lab):
    async with lab.network() as network, trio.open_nursery() as nursery:
        place, netns = await lab.container(network, "4500:80")
        _, other = await lab.container(network, name="d")
        await serve(nursery, netns)
        assert await ask(lab.world, HOST, 4500) == f"c sees {WORLD}"
        assert await ask(lab.host, "127.0.0.1", 4500) == f"c sees {network.gateway}"
        assert await ask(lab.host, HOST, 4500) == f"c sees {HOST}"
        assert await ask(lab.host, network.gateway, 4500) == f"c sees {network.gateway}"
        assert await ask(other, HOST, 4500) == f"c sees {network.gateway}"
        assert await ask(other, network.gateway, 4500) == f"c sees {network.gateway}"
        assert await ask(netns, HOST, 4500) == f"c sees {network.gateway}", "its own port"
        assert await ask(other, place.address, 80) == "c sees 10.213.0.3"
        nursery.cancel_scope.cancel()


@in_lab
async def test_udp_is_published_too(lab):
    async with lab.network() as network, trio.open_nursery() as nursery:
        _, netns = await lab.container(network, "4500:80/udp")
        await serve_datagrams(nursery, netns)
        assert await ask_datagram(lab.world, HOST, 4500) == f"c sees {WORLD}"
        assert await ask_datagram(lab.host, "127.0.0.1", 4500) == f"c sees {network.gateway}"
        assert await ask_datagram(netns, HOST, 4500) == f"c sees {network.gateway}"
        assert not await ask(lab.world, HOST, 4500, NEVER), "TCP is not"
        nursery.cancel_scope.cancel()


@in_lab
async def test_what_is_not_published_is_not_reached_from_outside(lab):
    async with lab.network() as network, trio.open_nursery() as nursery:
        place, netns = await lab.container(network, "4500:80")
        await serve(nursery, netns, 81)
        await serve_datagrams(nursery, netns, 81)
        assert await ask(lab.host, place.address, 81), "from the host it is"
        assert not await ask(lab.world, place.address, 81, NEVER)
        assert not await ask_datagram(lab.world, place.address, 81, NEVER)
        nursery.cancel_scope.cancel()


@in_lab
async def test_a_port_published_on_loopback_is_not_reached_from_outside(lab):
    async with lab.network() as network, trio.open_nursery() as nursery:
        place, netns = await lab.container(network, "127.0.0.1:4500:80", "127.0.0.1:4500:80/udp")
        _, other = await lab.container(network, name="d")
        await serve(nursery, netns)
        assert await ask(lab.host, "127.0.0.1", 4500) == f"c sees {network.gateway}"
        for address in (HOST, network.gateway, place.address):
            assert not await ask(lab.world, address, 4500, NEVER)
        assert not await ask(lab.world, place.address, 80, NEVER)
        assert not await ask(other, network.gateway, 4500, NEVER)
        datagrams = await listener(netns, 80, kind=socket.SOCK_DGRAM)
        send_forged(lab.world, "uplink", mac_of_link("uplink"), source=WORLD, destination="127.0.0.1", port=4500)
        send_forged(other, "eth0", mac_of_link("trioker0"), source="10.213.0.3", destination="127.0.0.1", port=4500)
        with trio.move_on_after(NEVER):
            raise AssertionError(await datagrams.recvfrom(100))
        nursery.cancel_scope.cancel()


@in_lab
async def test_a_port_is_published_on_one_address_alone(lab):
    async with lab.network() as network, trio.open_nursery() as nursery:
        _, netns = await lab.container(network, f"{HOST}:4500:80")
        await serve(nursery, netns)
        assert await ask(lab.world, HOST, 4500)
        assert not await ask(lab.host, "127.0.0.1", 4500, NEVER)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("bridged", ["0", "1"])
def test_without_icc_only_published_ports_are_reached_by_other_containers(bridged):
    @in_lab
    async def check(lab):
        with open("/proc/sys/net/bridge/bridge-nf-call-iptables", "w") as file:
            file.write(bridged)
        async with lab.network(icc=False) as network, trio.open_nursery() as nursery:
            place, netns = await lab.container(network, "4500:80")
            _, other = await lab.container(network, name="d")
            await serve(nursery, netns)
            await serve(nursery, netns, 81)
            assert not await ask(other, place.address, 80, NEVER)
            assert not await ask(other, place.address, 81, NEVER)
            assert await ask(other, HOST, 4500) == f"c sees {network.gateway}"
            assert await ask(netns, HOST, 4500) == f"c sees {network.gateway}"
            assert await ask(lab.world, HOST, 4500)
            await serve(nursery, lab.world, 7, "world")
            assert await ask(other, WORLD, 7)
            nursery.cancel_scope.cancel()

    check()


@in_lab
async def test_containers_cannot_reach_the_ports_of_the_api(lab):
    async with lab.network(guarded_ports=(4243,)) as network, trio.open_nursery() as nursery:
        _, netns = await lab.container(network)
        await serve(nursery, lab.host, 4243, "api")
        assert await ask(lab.world, HOST, 4243)
        for address in (network.gateway, HOST):
            assert not await ask(netns, address, 4243, NEVER)
        nursery.cancel_scope.cancel()


@in_lab
async def test_containers_reach_neither_the_hosts_loopback_nor_send_in_others_names(lab):
    async with lab.network() as network:
        place, netns = await lab.container(network)
        here = await listener(lab.host, 5000, kind=socket.SOCK_DGRAM)
        bridge = mac_of_link("trioker0")
        send_forged(netns, "eth0", bridge, source=place.address, destination="127.0.0.1", port=5000)
        send_forged(netns, "eth0", bridge, source=WORLD, destination=network.gateway, port=5000)
        send_forged(netns, "eth0", bridge, source=place.address, destination=network.gateway, port=5000)
        with trio.fail_after(5):
            assert (await here.recvfrom(100))[1][0] == place.address, "the honest one"
        with trio.move_on_after(NEVER):
            raise AssertionError(await here.recvfrom(100))


@in_lab
async def test_a_thousand_connections_go_through_one_port(lab):
    async with lab.network() as network, trio.open_nursery() as nursery:
        _, netns = await lab.container(network, "4500:80")
        await serve(nursery, netns)
        answers = Counter()

        async def client():
            answers[await ask(lab.world, HOST, 4500)] += 1

        async with trio.open_nursery() as clients:
            for _ in range(1000):
                await trio.lowlevel.checkpoint()
                clients.start_soon(client)
        assert answers == {f"c sees {WORLD}": 1000}
        nursery.cancel_scope.cancel()


async def send_until_answered(client):
    while True:
        await client.send(b"for nobody")
        with trio.move_on_after(0.05):
            return await client.recv(10)


@in_lab
async def test_a_client_of_udp_that_never_stops_follows_the_port_to_the_next_container(lab):
    async with lab.network() as network:
        first, netns = await lab.container(network, "4500:80/udp")
        old = await listener(netns, 80, kind=socket.SOCK_DGRAM)
        client = made_in(lab.world, socket.SOCK_DGRAM)
        await client.connect((HOST, 4500))
        with trio.fail_after(5):
            await client.send(b"1")
            await old.recvfrom(10)
            await network.disconnect(first)
            with pytest.raises(ConnectionRefusedError):  # by the host, and so it would stay
                await send_until_answered(client)
            _, netns = await lab.container(network, "4500:80/udp", name="d")
            new = await listener(netns, 80, kind=socket.SOCK_DGRAM)
            while True:  # until what the kernel knew is forgotten
                await client.send(b"2")
                with trio.move_on_after(0.1):
                    assert (await new.recvfrom(10))[0] == b"2"
                    break


@in_lab
async def test_ipv6_reaches_the_world_and_is_published(lab):
    async with lab.network(ipv6=True) as network, trio.open_nursery() as nursery:
        place, netns = await lab.container(network, "4500:80", f"[{HOST6}]:4501:80")
        _, other = await lab.container(network, name="d")
        nursery.start_soon(answer, await listener(netns, 80, "::"), "c")
        nursery.start_soon(answer, await listener(lab.world, 7, "::"), "world")
        assert await ask(netns, WORLD6, 7) == f"world sees {HOST6}"
        assert await ask(lab.world, HOST6, 4500) == f"c sees {WORLD6}"
        assert await ask(lab.world, HOST6, 4501) == f"c sees {WORLD6}"
        assert (await ask(other, HOST6, 4500)).startswith("c sees ")
        assert not await ask(lab.world, place.address6, 80, NEVER)
        assert await ask(lab.host, "127.0.0.1", 4500) == f"c sees ::ffff:{network.gateway}"
        nursery.cancel_scope.cancel()


@in_lab
async def test_without_rules_the_daemon_passes_on_what_comes_to_published_ports(lab):
    async with lab.network(firewall=False) as network, trio.open_nursery() as nursery:
        place, netns = await lab.container(network, "4500:80", "4500:80/udp")
        await serve(nursery, netns)
        await serve_datagrams(nursery, netns)
        for client, address in ((lab.world, HOST), (lab.host, "127.0.0.1"), (netns, network.gateway)):
            assert await ask(client, address, 4500) == f"c sees {network.gateway}"
            assert await ask_datagram(client, address, 4500) == f"c sees {network.gateway}"
        await network.disconnect(place)
        assert not await ask(lab.world, HOST, 4500, NEVER)
        nursery.cancel_scope.cancel()


@in_lab
async def test_names_are_served_to_containers_and_to_nobody_else(lab):
    async with lab.network() as network, trio.open_nursery() as nursery:
        _, netns = await lab.container(network)
        nursery.start_soon(answer, await listener(lab.host, 53, "127.0.0.1"), "resolver")
        nursery.start_soon(answer_datagrams, await listener(lab.host, 53, "127.0.0.1", socket.SOCK_DGRAM), "resolver")
        nursery.start_soon(network.serve_names, lambda: ("127.0.0.1", 53))
        await trio.testing.wait_all_tasks_blocked()
        assert await ask_datagram(netns, network.gateway, 53) == "resolver sees 127.0.0.1"
        assert await ask(netns, network.gateway, 53) == "resolver sees 127.0.0.1"
        assert not await ask_datagram(lab.world, network.gateway, 53, NEVER)
        assert not await ask(lab.world, network.gateway, 53, NEVER)
        nursery.cancel_scope.cancel()
