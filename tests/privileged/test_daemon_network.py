"""A whole daemon with a network, on a host of its own: places and ports as the API shows them, over the lives of containers and daemons."""

import os
import signal
import socket
from collections import Counter

import network_lab
import pytest
import trio
from build_yard import Yard
from network_daemon import (
    GATEWAY,
    TCP,
    Way,
    ask,
    ask_datagram,
    inside,
    on_a_host,
    reached,
    run,
    said,
    serve,
    serving,
    settings,
    settled_state,
    socket_in,
    start,
    start_refused,
)
from network_lab import HOST, WORLD, shown, state
from polling import wait_until

pytestmark = pytest.mark.root

DAMAGES = (
    "flush ruleset",
    "delete table inet trioker",
    "flush map inet trioker any4",
    "flush chain inet trioker leaving",
)


@on_a_host
def test_a_container_has_an_address_a_gateway_its_names_and_published_ports(lab, running):
    with running() as daemon:
        name, _ = serving(daemon, "4500:80", "53/udp")
        found = settings(daemon, name)
        assert (found["IPAddress"], found["IPPrefixLen"], found["Gateway"]) == ("10.213.0.2", 16, GATEWAY)
        assert found["Bridge"] == "trioker0"
        assert found["PortMapping"] == {"80": "4500", "53/udp": "49153"}
        assert daemon.api.ok("GET", "/containers/json")[0]["Ports"] == "4500->80, 49153->53/udp"
        assert ask(lab.host, "127.0.0.1", 4500) == f"c sees {GATEWAY}"
        assert ask(lab.world, HOST, 4500) == f"c sees {WORLD}"
        text = said(daemon, "ip route; cat /etc/hosts /etc/hostname /etc/resolv.conf", Hostname="me", Dns=["9.9.9.9"])
        assert f"default via {GATEWAY} dev eth0" in text
        assert "10.213.0.3\tme\nme\n" in text
        assert text.endswith("nameserver 9.9.9.9\n")
        daemon.api.ok("POST", f"/containers/{name}/kill")
        assert settings(daemon, name)["PortMapping"] is None
        assert settings(daemon, name)["IPAddress"] == ""


@on_a_host
def test_ports_are_published_in_all_forms(lab, running):
    with running("--port-range", "50000-50001") as daemon:
        name, netns = serving(daemon, "80", ":80", "4500:80", f"{HOST}:4501:80", "127.0.0.1:4502:80", "80/udp")
        serve(netns, 81)
        assert settings(daemon, name)["Ports"]["80/udp"] == [{"HostIp": "0.0.0.0", "HostPort": "50001"}]
        for port in (50000, 80, 4500, 4501):
            assert ask(lab.world, HOST, port) == f"c sees {WORLD}"
        assert ask_datagram(lab.world, HOST, 50001) == f"c sees {WORLD}"
        assert ask(lab.host, "127.0.0.1", 4502) == f"c sees {GATEWAY}"
        assert not reached(Way(lab.host, "127.0.0.1", 4501), Way(lab.world, HOST, 4502)), "published on another address"
        start(daemon, "81", "82/udp")
        late = daemon.api.create("sleep", "1000", PortSpecs=["80"])
        assert "all ports from 50000 to 50001 are in use" in start_refused(daemon, late)
        assert settings(daemon, late)["PortMapping"] is None
        for bad in ("", "x", "0:80", "70000:80", "80/sctp", "80:80:80:80", "10.999.1.1:80:80", "80-90"):
            answer = daemon.api.call(
                "POST", "/containers/create", {"Image": "base", "Cmd": ["true"], "PortSpecs": [bad]}
            )
            assert (answer.status, "Invalid port format" in answer.text) == (400, True), bad


@on_a_host
def test_a_taken_port_leaves_a_container_stopped_and_clean_and_it_starts_once_the_port_is_free(lab, running):
    with running() as daemon:
        first = start(daemon, "4500:80")
        late = daemon.api.create("sleep", "1000", PortSpecs=["4500:80"])
        before = state()
        assert "Port already in use: 4500" in start_refused(daemon, late)
        found = daemon.api.inspect(late)
        assert not found["State"]["Running"]
        assert found["NetworkSettings"]["IPAddress"] == ""
        assert {**state(), "rules": ""} == {**before, "rules": ""}
        daemon.api.ok("POST", f"/containers/{first}/kill")
        daemon.api.start(late)
        with socket_in(lab.host, TCP, "127.0.0.1", 4600):
            other = daemon.api.create("sleep", "1000", PortSpecs=["4600:80"])
            assert "Port already in use: 4600" in start_refused(daemon, other), "a program of the host has it"
        daemon.api.start(other)
        assert settings(daemon, other)["PortMapping"] == {"80": "4600"}


def thousand(lab):
    """Who answers a thousand clients at once, and how often."""
    answers = Counter()

    async def client():
        answers[await network_lab.ask(lab.world, HOST, 4500)] += 1

    async def clients():
        async with trio.open_nursery() as nursery:
            for _ in range(1000):
                nursery.start_soon(client)

    trio.run(clients)
    return answers


@on_a_host
def test_a_thousand_connections_at_once_pass_with_a_daemon_without_one_and_with_the_next(lab, running):
    with running() as daemon:
        name, _ = serving(daemon, "4500:80")
        before = settings(daemon, name)
        everyone = {f"c sees ::ffff:{WORLD}": 1000}
        assert thousand(lab) == everyone
        daemon.kill()
        assert thousand(lab) == everyone
        daemon.start()
        assert thousand(lab) == everyone
        assert settings(daemon, name) == before
        assert ask(lab.host, "127.0.0.1", 4500) == f"c sees {GATEWAY}"


@on_a_host
def test_rules_that_somebody_removed_are_there_again_with_the_next_daemon(lab, running):
    with running() as daemon:
        serving(daemon, "4500:80")
        before = shown("nft", "list", "table", "inet", "trioker")
        for damage in DAMAGES:
            daemon.stop()
            run("nft", *damage.split())
            assert before not in shown("nft", "list", "ruleset")
            daemon.start()
            assert shown("nft", "list", "table", "inet", "trioker") == before
        assert ask(lab.world, HOST, 4500) == f"c sees {WORLD}"


@on_a_host
def test_rules_that_somebody_changes_are_made_anew_at_once(lab, running):
    with running() as daemon:
        serving(daemon, "4500:80")
        before = shown("nft", "list", "table", "inet", "trioker")
        run("nft", "add", "table", "inet", "somebodys")
        for count, damage in enumerate(DAMAGES, 1):
            run("nft", *damage.split())
            wait_until(
                lambda count=count: daemon.log_text().count("making them anew") == count, f"after {damage}: a word"
            )
            wait_until(lambda: before in shown("nft", "list", "ruleset"), "the rules")
        assert ask(lab.world, HOST, 4500) == f"c sees {WORLD}"


@on_a_host
def test_containers_that_end_while_the_daemon_is_dead_give_their_places_back(lab, running):
    with running("--bip", "10.9.0.1/29") as daemon:
        names = [start(daemon, *ports) for ports in (["4500:80"], [], [], [], [])]
        late = daemon.api.create("sleep", "1000", PortSpecs=["4500:80"])
        assert "all addresses of 10.9.0.0/29 are taken" in start_refused(daemon, late)
        places = [settings(daemon, each)["IPAddress"] for each in names]
        pid = daemon.api.inspect(names[0])["State"]["Pid"]
        daemon.kill()
        os.kill(pid, signal.SIGKILL)
        daemon.start()
        assert settings(daemon, names[0])["PortMapping"] is None
        assert [settings(daemon, each)["IPAddress"] for each in names[1:]] == places[1:]
        daemon.api.start(late)
        assert settings(daemon, late)["IPAddress"] == places[0], "the only one that is free"
        serve(inside(daemon, late))
        assert ask(lab.world, HOST, 4500) == f"c sees {WORLD}"


@on_a_host
def test_steps_of_a_build_have_the_network_unless_they_want_none(lab, running):
    with running() as daemon:
        yard = Yard(daemon.api, "steps")
        text = yard.build("FROM base\nRUN ip addr show eth0\nRUN --network=none ! ip addr show eth0 2>/dev/null\n")
        assert "inet 10.213.0.2/16" in text
        yard.remove()


@pytest.mark.parametrize("flags", [["--ipv6", "--icc=false"], ["--iptables=false"]])
def test_nothing_is_left_on_the_host_of_a_daemon_that_cleans_up(pyz, tmp_path, flags):
    @on_a_host
    def check(lab, running):
        before = settled_state()
        with running("--cleanup", *flags) as daemon:
            _, netns = serving(daemon, "4500:80", "4500:80/udp")
            os.close(netns)
            daemon.stop()
            assert "trioker0" in shown("ip", "link"), "a container runs"
            daemon.start()
        assert state() == before

    check(pyz, tmp_path)


def names_of_links():
    return {name for _, name in socket.if_nameindex()}


@on_a_host
def test_without_cleanup_the_bridge_the_rules_and_forwarding_stay(lab, running):
    before = settled_state()
    with running() as daemon:
        daemon.api.remove(start(daemon, "4500:80"))
    wait_until(lambda: names_of_links() == {"lo", "uplink", "trioker0"}, "the end of all links but the bridge")
    after = state()
    assert shown("nft", "list", "tables") == "table inet trioker\n"
    assert "4500" not in after["rules"]
    changed = set(after["sysctls"].splitlines()) - set(before["sysctls"].splitlines())
    others = {each for each in changed if "trioker0" not in each and "/forwarding:" not in each}
    # The kernel has a router listen to no redirects, as long as nobody chose that otherwise.
    assert others == {"ipv4/ip_forward:1", "ipv4/conf/all/accept_redirects:0"}
