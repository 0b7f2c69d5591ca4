"""The link that init makes: there before there is an order, addressed by it, and gone with its namespace."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from ipaddress import IPv4Interface

import pytest
from forked import in_child
from launcher_lab import DEADLINE, PROJECT, START, Lab
from polling import wait_until

from trioker.launcher.network import Port
from trioker.linux import links, netlink
from trioker.linux.namespaces import bring_loopback_up
from trioker.linux.netlink import Netlink
from trioker.linux.syscalls import CLONE_NEWNET, unshare
from trioker.runtime.zygote import launcher_command

pytestmark = pytest.mark.root

GATEWAY = "10.77.0.1"
LINK = ("vethabcdef0dead", "02:42:0a:4d:00:02", "10.77.0.2/16", GATEWAY)
LINK6 = (*LINK, "fd00:77::2/64", "fd00:77::1")
LOOK = "ip addr show eth0; ip route; ip -6 route; cat /proc/sys/net/ipv6/conf/eth0/accept_ra"


class Bridged(Lab):
    """A launcher that puts containers on a bridge."""

    isolated = False

    def start(self):
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        port = Port(socket.if_nametoindex("lab0"), 1400, self.isolated, hairpin=False, prefix="tkabcde")
        given = launcher_command(theirs.fileno(), port)
        arguments = given[given.index("--fd") :]
        command = [sys.executable, "-I", "-S", "-c", START, str(self.path), str(PROJECT), *arguments]
        with theirs:
            self.zygote = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)


def ends():
    """The host's ends of all pairs."""
    with Netlink(netlink.ROUTE) as sock:
        return [each for each in links.all_links(sock) if each.kind == "veth"]


def on_a_bridge(test):
    """Run the test in a child process on a host of its own, which has a bridge."""

    def wrapped(tmp_path):
        def run():
            unshare(CLONE_NEWNET)
            bring_loopback_up()
            with Netlink(netlink.ROUTE) as sock:
                sock.request(links.add_bridge("lab0", "02:42:0a:4d:00:01", 1500))
                bridge = links.link(sock, "lab0").number
                sock.request(links.set_up(bridge), links.add_address(bridge, IPv4Interface(f"{GATEWAY}/16")))
            with contextlib.closing(Bridged(tmp_path / "lab")) as lab:
                test(lab)
            wait_until(lambda: not lab.processes(), "the end of its processes")
            wait_until(lambda: not ends(), "the end of all links")
            return True

        assert in_child(run)

    wrapped.__name__ = test.__name__
    return wrapped


@on_a_bridge
def test_a_link_waits_for_the_order_up_and_without_addresses_and_then_has_what_was_ordered(lab):
    wait_until(lambda: [each for each in ends() if each.running], "a link that is up")
    [waiting] = ends()
    assert (waiting.name.startswith("tkabcde"), waiting.mtu, waiting.further_names) == (True, 1400, ())
    text = lab.sh("one", LOOK, network=LINK)
    assert "mtu 1400" in text
    assert "link/ether 02:42:0a:4d:00:02" in text
    assert "inet 10.77.0.2/16" in text
    assert "default via 10.77.0.1 dev eth0" in text
    assert "inet6" not in text


@on_a_bridge
def test_the_daemon_finds_the_hosts_end_by_its_further_name_as_long_as_the_container_runs(lab):
    line = lab.launch("one", "sleep", "1000", network=LINK)
    with Netlink(netlink.ROUTE) as sock:
        assert links.link(sock, LINK[0]).running
    os.kill(line.started["pid"], signal.SIGKILL)
    wait_until(lambda: all(not each.further_names for each in ends()), "links without a container")


@on_a_bridge
def test_what_a_command_sends_first_arrives(lab):
    with socket.create_server((GATEWAY, 7000)) as server:
        server.settimeout(DEADLINE)
        line = lab.launch("one", "sh", "-c", f"echo hello | nc {GATEWAY} 7000", network=LINK)
        client, (address, _) = server.accept()
        with client:
            assert (client.recv(100), address) == (b"hello\n", "10.77.0.2")
        line.rest()


@on_a_bridge
def test_with_ipv6_it_takes_no_routes_from_others(lab):
    text = lab.sh("one", LOOK, network=LINK6)
    assert "inet6 fd00:77::2/64 scope global" in text
    assert "default via fd00:77::1 dev eth0" in text
    assert text.endswith("0\n")


@on_a_bridge
def test_an_order_without_a_network_leaves_no_link(lab):
    wait_until(ends, "a link")
    assert lab.sh("one", "ls /sys/class/net") == "lo\n"


@on_a_bridge
def test_many_orders_at_once_each_get_a_link(lab):
    orders = [(f"veth{number}", "02:42:0a:4d:01:02", f"10.77.1.{number}/16", GATEWAY) for number in range(2, 14)]
    lines = [lab.order(lab.spec(each[0], "ip", "addr", "show", "eth0", network=each)) for each in orders]
    for line, wanted in zip(lines, orders, strict=True):
        line.started = line.hear()
        assert line.started["event"] == "started", line.started
        assert wanted[2] in line.rest()[0][1].decode()


@on_a_bridge
def test_a_bridge_that_is_gone_is_a_failed_launch_which_says_so(lab):
    wait_until(ends, "a link")
    [waiting] = ends()
    subprocess.run(["ip", "link", "del", waiting.name], check=True, timeout=DEADLINE)
    subprocess.run(["ip", "link", "del", "lab0"], check=True, timeout=DEADLINE)
    failed = lab.fail("one", "true", network=LINK)
    assert (failed["stage"], failed["exit_code"]) == ("network", 128)
    assert failed["message"].startswith("network: ")
    assert lab.sh("two", "ls /sys/class/net") == "lo\n"


@on_a_bridge
def test_a_launcher_that_is_killed_leaves_no_link(lab):
    wait_until(ends, "a link")
    lab.zygote.kill()
    lab.control.close()
    lab.zygote.wait(DEADLINE)
    wait_until(lambda: not ends(), "the end of all links")
    lab.start()


def test_a_network_is_refused_where_there_is_no_bridge(tmp_path):
    lab = Lab(tmp_path / "lab")
    failed = lab.fail("one", "true", network=LINK)
    lab.close()
    assert failed["message"].endswith("there is no bridge to be on")
