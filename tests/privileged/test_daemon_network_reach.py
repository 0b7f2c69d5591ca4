"""Who reaches whom on a host with a daemon: neighbours, the host, the world, and the API."""

import pytest
from network_daemon import (
    GATEWAY,
    TCP,
    UDP,
    Way,
    address,
    ask,
    ask_datagram,
    have_no_nfnetlink,
    in_namespace,
    inside,
    on_a_host,
    reached,
    run,
    serve,
    serving,
    settings,
    socket_in,
    start,
    start_refused,
)
from network_lab import HOST, HOST6, NEVER, SOON, WORLD, WORLD6, mac_of_link, send_forged, shown

from trioker.network import sysctls

pytestmark = pytest.mark.root

API = 43210
OTHER = "10.213.0.3"


def set_bridge_filter(*, on: bool) -> None:
    """Whether what is bridged passes the packet filter too, as it does once somebody has loaded br_netfilter."""
    for each in ("iptables", "ip6tables"):
        sysctls.write(f"net/bridge/bridge-nf-call-{each}", str(int(on)))


def addresses6(netns: int) -> tuple[str, str]:
    """A container's own IPv6 address, and its gateway."""
    shown_there = in_namespace(netns, lambda: shown("ip", "-6", "addr", "show", "eth0", "scope", "global"))
    way = in_namespace(netns, lambda: shown("ip", "-6", "route", "show", "default"))
    return shown_there.split("inet6 ")[1].split("/")[0], way.split()[2]


def reach_published(lab, own, other):
    """What holds of a port, 4500, published on all addresses, and one, 4501, on the loopback, however neighbours stand to each other."""
    for client in (own, other):
        for host in (HOST, GATEWAY):
            assert ask(client, host, 4500) == f"c sees {GATEWAY}"
        assert ask_datagram(client, HOST, 4500) == f"c sees {GATEWAY}"
    assert ask(lab.world, HOST, 4500) == ask_datagram(lab.world, HOST, 4500) == f"c sees {WORLD}"
    assert ask(lab.host, "127.0.0.1", 4500) == ask(lab.host, "127.0.0.1", 4501) == f"c sees {GATEWAY}"
    assert not reached(*(Way(client, HOST, 4501) for client in (own, other, lab.world)))


@pytest.mark.parametrize("filtered", [False, True], ids=["", "bridge-filter"])
@pytest.mark.parametrize("icc", ["true", "false"])
def test_published_ports_are_reached_by_all_and_others_by_neighbours_unless_that_is_forbidden(
    pyz, tmp_path, icc, filtered
):
    @on_a_host
    def check(lab, running):
        set_bridge_filter(on=filtered)
        with running(f"--icc={icc}") as daemon:
            name, own = serving(daemon, "4500:80", "4500:80/udp", "127.0.0.1:4501:80")
            other = inside(daemon, start(daemon))
            reach_published(lab, own, other)
            place = address(daemon, name)
            if icc == "true":
                assert ask(other, place, 80) == ask_datagram(other, place, 80) == f"c sees {OTHER}"
            else:
                assert not reached(Way(other, place, 80), Way(other, place, 80, UDP))
            assert ask(lab.host, place, 80) == f"c sees {GATEWAY}"
            assert not reached(Way(lab.world, place, 80), Way(lab.world, place, 80, UDP))

    check(pyz, tmp_path)


@pytest.mark.parametrize("filtered", [False, True], ids=["", "bridge-filter"])
def test_ipv6_is_as_closed_and_as_open(pyz, tmp_path, filtered):
    @on_a_host
    def check(lab, running):
        set_bridge_filter(on=filtered)
        with running("--ipv6", "--icc=false", "-H", f"tcp://[::]:{API}", "--tls=false") as daemon:
            _, own = serving(daemon, "4500:80", "4500:80/udp", f"[{HOST6}]:4501:80")
            other = inside(daemon, start(daemon))
            place, gateway = addresses6(own)
            assert place.startswith("fd")
            assert place.endswith("::2")
            for port in (4500, 4501):
                assert ask(lab.world, HOST6, port) == f"c sees {WORLD6}"
                assert ask(other, HOST6, port) == ask(own, HOST6, port) == f"c sees {gateway}"
            assert ask_datagram(lab.world, HOST6, 4500) == f"c sees {WORLD6}"
            assert ask(lab.host, place, 80) == ask(lab.host, "::1", 4500) == f"c sees {gateway}"
            assert reached(Way(lab.world, HOST6, API))
            assert not reached(
                Way(other, place, 80), Way(lab.world, place, 80), Way(other, gateway, API), Way(other, HOST6, API)
            )
            with socket_in(lab.host, TCP, "::1", 4600):
                name = daemon.api.create("sleep", "1000", PortSpecs=["4600:80"])
                assert "Port already in use: 4600" in start_refused(daemon, name), "IPv6's port is another"

    check(pyz, tmp_path)


@on_a_host
def test_neighbours_have_ipv6_and_the_world_sees_the_host(lab, running):
    with running("--ipv6") as daemon:
        _, own = serving(daemon)
        other = inside(daemon, start(daemon))
        serve(lab.world, 7, "world", TCP, "::")
        assert ask(other, addresses6(own)[0], 80) == f"c sees {addresses6(other)[0]}"
        assert ask(other, WORLD6, 7) == f"world sees {HOST6}"


@on_a_host
def test_containers_reach_the_api_on_no_address_of_the_host(lab, running):
    listeners = [f"tcp://0.0.0.0:{API}", f"tcp://{HOST}:{API + 1}"]
    with running(*(word for each in listeners for word in ("-H", each)), "--tls=false") as daemon:
        own = inside(daemon, start(daemon))
        own_ways = [Way(own, host, port) for host in (HOST, GATEWAY) for port in (API, API + 1, daemon.port)]
        ways = [
            Way(lab.host, HOST, API),
            Way(lab.host, GATEWAY, API),
            Way(lab.world, HOST, API),
            Way(lab.world, HOST, API + 1),
        ]
        assert len(reached(*ways)) == len(ways)
        assert not reached(*own_ways)
        daemon.stop()
        daemon.flags = ("-b", "", "-H", f"tcp://{GATEWAY}:{API}", "--tls=false")
        daemon.start()
        assert reached(Way(lab.host, GATEWAY, API))
        assert not reached(*own_ways)


def reached_by_forged(lab, own):
    """Whether a datagram that a container sends to 127.0.0.1 arrives at the host; one to its address, behind that, does."""
    with socket_in(lab.host, UDP, "0.0.0.0", 5000) as here:
        here.settimeout(SOON)
        bridge = mac_of_link("trioker0")
        for each in ("127.0.0.1", GATEWAY):
            send_forged(own, "eth0", bridge, source="10.213.0.2", destination=each, port=5000)
        here.recvfrom(100)
        here.settimeout(NEVER)
        try:
            here.recvfrom(100)
        except TimeoutError:
            return False
    return True


@pytest.mark.parametrize("missing", [False, True], ids=["unwanted", "missing"])
def test_without_rules_the_daemon_serves_published_ports_and_the_hosts_loopback_stays_closed(pyz, tmp_path, missing):
    @on_a_host
    def check(lab, running):
        set_bridge_filter(on=True)
        if missing:
            have_no_nfnetlink()
        with running(*([] if missing else ["--iptables=false"]), "--ipv6", "--icc=false") as daemon:
            name, own = serving(daemon, "4500:80", "4500:80/udp", "127.0.0.1:4501:80")
            other = inside(daemon, start(daemon))
            gateway = addresses6(own)[1]
            assert ask(lab.world, HOST, 4500) == ask_datagram(lab.world, HOST, 4500) == f"c sees {GATEWAY}"
            assert ask(lab.world, HOST6, 4500) == ask_datagram(lab.world, HOST6, 4500) == f"c sees {gateway}"
            assert ask(other, HOST, 4500) == ask(own, HOST, 4500) == f"c sees {GATEWAY}"
            assert ask(lab.host, "127.0.0.1", 4501) == f"c sees {GATEWAY}"
            assert not reached(Way(lab.world, HOST, 4501), Way(other, address(daemon, name), 80)), (
                "neighbours are apart even so"
            )
            assert not reached_by_forged(lab, own)
            assert ("no packet rules" in daemon.log_text()) == missing
            daemon.kill()
            daemon.start()
            assert ask(lab.world, HOST, 4500) == f"c sees {GATEWAY}"
            daemon.api.ok("POST", f"/containers/{name}/kill")
            assert not reached(Way(lab.world, HOST, 4500))

    check(pyz, tmp_path)


@on_a_host
def test_on_somebodys_own_bridge_ports_are_published_and_the_api_is_closed(lab, running):
    run("ip", "link", "add", "lan", "type", "bridge")
    run("ip", "addr", "add", "10.7.0.254/24", "dev", "lan")
    run("ip", "link", "set", "lan", "up")
    with running("-b", "lan", "--cleanup") as daemon:
        name, own = serving(daemon, "4500:80", "127.0.0.1:4501:80")
        assert (settings(daemon, name)["Bridge"], address(daemon, name)) == ("lan", "10.7.0.1")
        assert ask(lab.world, HOST, 4500) == f"c sees {WORLD}"
        assert ask(lab.host, "127.0.0.1", 4501) == "c sees 10.7.0.254"
        assert not reached(Way(own, "10.7.0.254", daemon.port))
    assert "10.7.0.254/24" in shown("ip", "addr", "show", "lan")
    assert not shown("nft", "list", "tables")


@on_a_host
def test_beside_a_chain_that_drops_what_is_forwarded_the_bridge_must_be_accepted_there(lab, running):
    """As with Docker's rules and ufw's; the commands of docs/network.md come to this."""
    run("nft", "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }")
    with running("--icc=false") as daemon:
        name, own = serving(daemon, "4500:80")
        other = inside(daemon, start(daemon))
        serve(lab.world, 7, "world")
        assert "the chain 'ip filter FORWARD' drops what it does not know" in daemon.log_text()
        assert ask(lab.host, "127.0.0.1", 4500) == f"c sees {GATEWAY}"
        assert not reached(Way(lab.world, HOST, 4500), Way(own, WORLD, 7))
        for way in ("iifname", "oifname"):
            run("nft", f"add rule ip filter FORWARD {way} trioker0 accept")
        assert ask(lab.world, HOST, 4500) == f"c sees {WORLD}"
        assert ask(own, WORLD, 7) == f"world sees {HOST}"
        place = address(daemon, name)
        assert not reached(Way(lab.world, place, 80), Way(other, place, 80)), "ours drops them all the same"


@on_a_host
def test_where_the_bridge_filter_comes_later_the_next_daemon_sees_to_it(lab, running):
    set_bridge_filter(on=False)
    with running("--icc=false") as daemon:
        name, own = serving(daemon, "4500:80")
        other = inside(daemon, start(daemon))
        set_bridge_filter(on=True)
        daemon.stop()
        daemon.start()
        assert ask(other, HOST, 4500) == ask(own, HOST, 4500) == f"c sees {GATEWAY}"
        assert not reached(Way(other, address(daemon, name), 80))


@on_a_host
def test_a_daemon_that_shall_have_no_rules_removes_those_of_the_last_and_the_next_has_them_again(lab, running):
    with running() as daemon:
        _, own = serving(daemon, "4500:80")
        daemon.stop()
        daemon.flags = ("-b", "", "--iptables=false")
        daemon.start()
        assert not shown("nft", "list", "ruleset")
        assert ask(lab.world, HOST, 4500) == f"c sees {GATEWAY}", "the daemon passes it on"
        assert not reached_by_forged(lab, own)
        daemon.stop()
        daemon.flags = ("-b", "")
        daemon.start()
        assert ask(lab.world, HOST, 4500) == f"c sees {WORLD}"
        assert ask(lab.host, "127.0.0.1", 4500) == f"c sees {GATEWAY}"
        assert not reached_by_forged(lab, own)
