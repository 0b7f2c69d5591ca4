"""A whole daemon on a host of its own (a network lab), and everybody who talks through it: the host, the world, containers.

What a container serves is served by the test from inside the container's network namespace, so it can tell whom it saw.
"""

import contextlib
import functools
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import network_lab
import trio
from busybox import busybox_tar
from daemon import Daemon, running_daemon
from forked import in_child
from network_lab import NEVER, SOON, Lab, in_namespace, state
from polling import wait_until

from trioker.linux import seccomp
from trioker.linux.syscall_table import numbers
from trioker.linux.syscalls import CLONE_NEWNET, unshare
from trioker.network import sysctls

GATEWAY = "10.213.0.1"
"""The bridge's address on a host like the lab."""
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
_MAPPED = "::ffff:"
_BACKLOG = 1024
Running = Callable[..., contextlib.AbstractContextManager[Daemon]]


def on_a_host(test: Callable[[Lab, Running], object]) -> Callable[[Path, Path], None]:
    """Run the test in a child process whose network is a lab; it gets that, and what runs a daemon there."""

    def wrapped(pyz: Path, tmp_path: Path) -> None:
        def run() -> bool:
            unshare(CLONE_NEWNET)
            sysctls.write("net/ipv6/conf/default/dad_transmits", "0")  # addresses do not change by themselves later
            test(Lab(), functools.partial(network_daemon, pyz, tmp_path))
            return True

        assert in_child(run)

    wrapped.__name__, wrapped.__doc__ = test.__name__, test.__doc__
    return wrapped


@contextlib.contextmanager
def network_daemon(pyz: Path, directory: Path, *flags: str, resolv_conf: str = "") -> Iterator[Daemon]:
    """A daemon that has a network and an image, ``base``; with a text, the host's ``resolv_conf`` is another one."""
    prefix = with_resolv_conf(directory, resolv_conf) if resolv_conf else []
    with running_daemon(pyz, directory, "-b", "", *flags, prefix=prefix) as daemon:
        if not daemon.api.ok("GET", "/images/json"):
            daemon.api.import_image(busybox_tar(), "base")
        yield daemon


def with_resolv_conf(directory: Path, text: str) -> list[str]:
    """What runs a command where /etc/resolv.conf is another file. Its text may change later, by ``write_resolv_conf``."""
    write_resolv_conf(directory, text)
    return ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf; exec "$@"', f"{directory}.resolv.conf"]


def write_resolv_conf(directory: Path, text: str) -> None:
    Path(f"{directory}.resolv.conf").write_text(text)


def refused(running: Running, *flags: str) -> str:
    """What a daemon says that does not start with these flags."""
    try:
        with running(*flags):
            pass
    except AssertionError as ended:
        return str(ended)
    raise AssertionError(f"it started with {flags}")


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=20)


def start(daemon: Daemon, *ports: str, script: str = "sleep 1000", **config: object) -> str:
    """A running container's id."""
    name = daemon.api.create("sh", "-c", script, PortSpecs=list(ports), **config)
    daemon.api.start(name)
    return name


def start_refused(daemon: Daemon, name: str) -> str:
    """What is said of a container that cannot be started."""
    answer = daemon.api.call("POST", f"/containers/{name}/start")
    assert answer.status >= 400
    return answer.text


def settings(daemon: Daemon, name: str) -> dict[str, object]:
    return daemon.api.inspect(name)["NetworkSettings"]


def address(daemon: Daemon, name: str) -> str:
    return str(settings(daemon, name)["IPAddress"])


def said(daemon: Daemon, script: str, **config: object) -> str:
    """What a container prints that runs to its end."""
    name = start(daemon, script=script, **config)
    daemon.api.wait(name)
    return daemon.api.logs(name).decode()


def inside(daemon: Daemon, name: str) -> int:
    """A running container's network namespace."""
    return os.open(f"/proc/{daemon.api.inspect(name)['State']['Pid']}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def in_thread(function: Callable[..., object], *arguments: object) -> None:
    """Call it beside the test, which does not wait for it."""
    threading.Thread(target=function, args=arguments, daemon=True).start()


def family_of(host: str) -> int:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def socket_in(netns: int, kind: int, host: str, port: int) -> socket.socket:
    """One that is bound, and listens."""
    sock = in_namespace(netns, lambda: socket.socket(family_of(host), kind))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    if kind == TCP:
        sock.listen(_BACKLOG)
    return sock


def serve(netns: int, port: int = 80, name: str = "c", kind: int = TCP, host: str = "0.0.0.0") -> None:
    """Say who answers and whom it sees, until the process ends."""
    say = network_lab.answer if kind == TCP else network_lab.answer_datagrams
    in_thread(trio.run, say, trio.socket.from_stdlib_socket(socket_in(netns, kind, host, port)), name)


def serving(daemon: Daemon, *ports: str, name: str = "c") -> tuple[str, int]:
    """A container that answers on its port 80, by TCP and UDP and both families: its id and its network namespace."""
    made = start(daemon, *ports)
    netns = inside(daemon, made)
    for kind in (TCP, UDP):
        serve(netns, name=name, kind=kind, host="::")
    return made, netns


def ask(netns: int, host: str, port: int, within: float = SOON) -> str:
    """What a TCP server says; "" where none can be reached."""
    return trio.run(network_lab.ask, netns, host, port, within).replace(_MAPPED, "")


def ask_datagram(netns: int, host: str, port: int, within: float = SOON) -> str:
    return trio.run(network_lab.ask_datagram, netns, host, port, within).replace(_MAPPED, "")


class Way(NamedTuple):
    """From a network namespace to a port."""

    netns: int
    host: str
    port: int
    kind: int = TCP


def reached(*ways: Way, within: float = NEVER) -> list[Way]:
    """Those that lead to somebody: who takes a connection, or answers a datagram. All are tried at once."""
    found = []

    async def attempt(way: Way) -> None:
        with network_lab.made_in(way.netns, way.kind, family_of(way.host)) as sock, contextlib.suppress(OSError):
            await sock.connect((way.host, way.port))
            if way.kind == UDP:
                await sock.send(b"who?")
                await sock.recv(100)
            found.append(way)

    async def attempts() -> None:
        with trio.move_on_after(within):
            async with trio.open_nursery() as nursery:
                for way in ways:
                    nursery.start_soon(attempt, way)

    trio.run(attempts)
    return found


def settled_state() -> dict[str, object]:
    """What there is on the host before a daemon, once the uplink has the addresses that the kernel gives it by itself."""
    wait_until(lambda: "local fe80" in str(state()["routes"]), "the uplink's own address")
    return state()


def have_no_nfnetlink() -> None:
    """From now on the kernel has none, for this thread and what it starts: it says EPROTONOSUPPORT to socket(AF_NETLINK, type, NETLINK_NETFILTER)."""
    load, equal, give = 0x20, 0x15, 0x06
    call = numbers(os.uname().machine)["socket"]
    program = [
        (load, 0, 0, 0), (equal, 0, 5, call),
        (load, 0, 0, 16), (equal, 0, 3, socket.AF_NETLINK),
        (load, 0, 0, 32), (equal, 0, 1, 12),
        (give, 0, 0, 0x00050000 | 93), (give, 0, 0, 0x7FFF0000),
    ]  # fmt: skip
    seccomp.install(b"".join(struct.pack("=HBBI", *each) for each in program))
