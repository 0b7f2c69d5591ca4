"""A whole daemon with a network, on a host of its own (a network namespace): seen through the API, from inside and from outside."""

import contextlib
import functools
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from build_yard import Yard
from busybox import busybox_tar
from daemon import Daemon, running_daemon
from forked import in_child
from network_lab import HOST, Lab, shown, state
from polling import wait_until

from trioker.linux.syscalls import CLONE_NEWNET, unshare
from trioker.network.endpoint import in_namespace

pytestmark = pytest.mark.root

ANSWER = "while true; do nc -l -p 80 -e echo hello; done"


def on_a_host(test: Callable[[Lab, Callable[..., Daemon]], object]) -> Callable[[Path, Path], None]:
    """Run the test in a child process whose network is a lab; it gets that, and what runs a daemon there."""

    def wrapped(pyz: Path, tmp_path: Path) -> None:
        def run() -> bool:
            unshare(CLONE_NEWNET)
            test(Lab(), functools.partial(network_daemon, pyz, tmp_path))
            return True

        assert in_child(run)

    wrapped.__name__, wrapped.__doc__ = test.__name__, test.__doc__
    return wrapped


@contextlib.contextmanager
def network_daemon(pyz: Path, directory: Path, *flags: str) -> Iterator[Daemon]:
    with running_daemon(pyz, directory, "-b", "", *flags) as daemon:
        if not daemon.api.ok("GET", "/images/json"):
            daemon.api.import_image(busybox_tar(), "base")
        yield daemon


def start(daemon: Daemon, script: str, *ports: str, **config: object) -> str:
    wanted = {"Image": "base", "Cmd": ["sh", "-c", script], "PortSpecs": list(ports), **config}
    name = daemon.api.ok("POST", "/containers/create", wanted)["Id"]
    daemon.api.ok("POST", f"/containers/{name}/start")
    return name


def settings(daemon: Daemon, name: str) -> dict[str, object]:
    return daemon.api.ok("GET", f"/containers/{name}/json")["NetworkSettings"]


def said(daemon: Daemon, script: str, **config: object) -> str:
    """What a container prints that runs to its end."""
    name = start(daemon, script, **config)
    daemon.api.ok("POST", f"/containers/{name}/wait")
    return daemon.api.logs(name).decode()


def asked(address: str, port: int, netns: int | None = None) -> bytes:
    """What a TCP server says, once it does."""

    def connect() -> bytes | None:
        with contextlib.suppress(ConnectionError), socket.create_connection((address, port), 5) as client:
            return client.recv(100)
        return None

    return wait_until(connect if netns is None else lambda: in_namespace(netns, connect), f"an answer of port {port}")


@on_a_host
def test_a_container_has_an_address_a_gateway_its_names_and_published_ports(lab, running):
    with running() as daemon:
        name = start(daemon, ANSWER, "4500:80", "53/udp")
        shown = settings(daemon, name)
        assert (shown["IPAddress"], shown["IPPrefixLen"], shown["Gateway"]) == ("10.213.0.2", 16, "10.213.0.1")
        assert shown["Bridge"] == "trioker0"
        assert shown["PortMapping"] == {"80": "4500", "53/udp": "49153"}
        assert daemon.api.ok("GET", "/containers/json")[0]["Ports"] == "4500->80, 49153->53/udp"
        assert asked("127.0.0.1", 4500) == asked(HOST, 4500, lab.world) == b"hello\n"
        text = said(daemon, "ip route; cat /etc/hosts /etc/hostname /etc/resolv.conf", Hostname="me", Dns=["9.9.9.9"])
        assert "default via 10.213.0.1 dev eth0" in text
        assert "10.213.0.3\tme\nme\nnameserver 9.9.9.9\n" in text
        daemon.api.ok("POST", f"/containers/{name}/kill")
        assert settings(daemon, name)["PortMapping"] is None
        assert settings(daemon, name)["IPAddress"] == ""


@on_a_host
def test_a_taken_port_is_a_clear_error_and_free_again_with_its_container(lab, running):
    with running() as daemon:
        first = start(daemon, "sleep 1000", "4500:80")
        second = daemon.api.ok(
            "POST", "/containers/create", {"Image": "base", "Cmd": ["true"], "PortSpecs": ["4500:80"]}
        )["Id"]
        refused = daemon.api.call("POST", f"/containers/{second}/start")
        assert refused.status >= 400
        assert "Port already in use: 4500" in refused.text
        daemon.api.ok("POST", f"/containers/{first}/kill")
        daemon.api.ok("POST", f"/containers/{second}/start")


@on_a_host
def test_ports_work_while_the_daemon_is_dead_and_belong_to_their_container_afterwards(lab, running):
    with running() as daemon:
        name = start(daemon, ANSWER, "4500:80")
        before = settings(daemon, name)
        daemon.kill()
        assert asked(HOST, 4500, lab.world) == b"hello\n"
        daemon.start()
        assert settings(daemon, name) == before
        assert asked("127.0.0.1", 4500) == b"hello\n"
        other = start(daemon, "sleep 1000")
        assert settings(daemon, other)["IPAddress"] != before["IPAddress"]


@on_a_host
def test_a_container_that_ends_while_the_daemon_is_dead_gives_its_place_back(lab, running):
    with running() as daemon:
        name = start(daemon, "sleep 1000", "4500:80")
        inside = daemon.api.inspect(name)["State"]["Pid"]
        daemon.kill()
        os.kill(inside, signal.SIGKILL)
        daemon.start()
        assert settings(daemon, name)["PortMapping"] is None
        start(daemon, "sleep 1000", "4500:80")


@on_a_host
def test_steps_of_a_build_have_the_network_unless_they_want_none(lab, running):
    with running() as daemon:
        yard = Yard(daemon.api, "steps")
        said = yard.build("FROM base\nRUN ip addr show eth0\nRUN --network=none ! ip addr show eth0 2>/dev/null\n")
        assert "inet 10.213.0.2/16" in said
        yard.remove()


@on_a_host
def test_nothing_is_left_on_the_host_of_a_daemon_that_cleans_up(lab, running):
    wait_until(lambda: not shown("ip", "-6", "addr", "show", "tentative"), "the lab's own addresses")
    before = state()
    with running("--cleanup", "--ipv6") as daemon:
        start(daemon, "sleep 1000", "4500:80")
        assert state() != before
    assert state() == before
