"""Which range the bridge gets, and what is said of one that cannot be."""

import os
import signal

import pytest
from network_daemon import GATEWAY, address, on_a_host, refused, run, settings, start
from network_lab import HOST, WORLD, shown
from polling import wait_until

pytestmark = pytest.mark.root


@on_a_host
def test_the_range_collides_with_no_route_and_is_kept_as_long_as_its_bridge(lab, running):
    for each in ("10.0.0.0/8", "172.17.0.0/16", "172.31.0.0/16"):
        run("ip", "route", "add", each, "via", WORLD)
    with running() as daemon:
        first = start(daemon)
        assert settings(daemon, first)["Gateway"] == "172.30.0.1"
        daemon.kill()
        run("ip", "route", "add", "172.30.0.0/17", "via", WORLD)
        daemon.start()
        assert settings(daemon, start(daemon))["Gateway"] == "172.30.0.1"
    run("ip", "link", "delete", "trioker0")
    with running() as daemon:
        assert settings(daemon, start(daemon))["Gateway"] == "172.29.0.1"


@on_a_host
def test_a_bridge_that_cannot_be_is_refused_in_clear_words(lab, running):
    for flags, words in {
        ("--bip", "10.1.1.1"): "the length of the prefix is missing",
        ("--bip", "10.1.1.0/24"): "the network's own or its broadcast address",
        ("--bip", "10.1.1.1/31"): "no room for a container",
        ("--bip", "nonsense"): "bad bridge address 'nonsense'",
        ("--bip", "127.0.0.1/8"): "no host may have an address of this range",
        ("--bip", "198.51.100.7/24"): f"has an address of this host, {HOST}",
        ("-b", "uplink"): "uplink is no bridge",
        ("-b", "waytoolongforalink"): "1 to 15 characters",
    }.items():
        assert words in refused(running, *flags)
    assert "bridge" not in shown("ip", "-d", "link")


@on_a_host
def test_a_range_of_one_address_has_room_for_one_container(lab, running):
    with running("--bip", "10.1.1.1/30") as daemon:
        first = start(daemon)
        assert address(daemon, first) == "10.1.1.2"
        late = daemon.api.create("true")
        answer = daemon.api.call("POST", f"/containers/{late}/start")
        assert (answer.status, "all addresses of 10.1.1.0/30 are taken" in answer.text) == (500, True)
        daemon.api.remove(first)
        daemon.api.start(late)


@on_a_host
def test_a_daemon_changes_its_bridge_only_when_nobody_is_on_it(lab, running):
    with running("-b", "tk9") as daemon:
        name = start(daemon, "4500:80")
        daemon.stop()
        daemon.flags = ("-b", "")
        with pytest.raises(AssertionError, match=r"the bridge tk9 has containers on it \(1\)"):
            daemon.start()
        daemon.flags = ("-b", "tk9")
        daemon.start()
        assert settings(daemon, name)["Bridge"] == "tk9"
        pid = daemon.api.inspect(name)["State"]["Pid"]
        daemon.kill()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: "altname" not in shown("ip", "link"), "the end of its link")
        daemon.flags = ("-b", "")
        daemon.start()
        assert settings(daemon, start(daemon))["Gateway"] == GATEWAY
        assert "tk9" not in shown("ip", "link") + shown("nft", "list", "tables")


@on_a_host
def test_a_daemon_changes_its_range_only_when_nobody_is_on_the_bridge(lab, running):
    with running("--bip", "10.1.1.1/24") as daemon:
        name = start(daemon)
        daemon.stop()
        daemon.flags = ("-b", "", "--bip", "10.2.2.1/24")
        with pytest.raises(AssertionError, match=r"trioker0 has containers on it \(1\): .*--bip 10.1.1.1/24"):
            daemon.start()
        daemon.flags = ("-b", "")
        daemon.start()
        assert address(daemon, name) == "10.1.1.2"
        daemon.api.remove(name)
        daemon.stop()
        daemon.flags = ("-b", "", "--bip", "10.2.2.1/24")
        daemon.start()
        assert address(daemon, start(daemon)) == "10.2.2.2"
