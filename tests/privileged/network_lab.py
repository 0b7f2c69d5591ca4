"""A host of our own in a network namespace, with an outside world in another one and containers in further ones; nothing of the machine's.

Namespaces are held by descriptors and have no processes: a socket made in one stays there, so a test can be everybody at once.
"""

import contextlib
import functools
import os
import re
import socket
import struct
import subprocess
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import TypeVar

import trio
from forked import in_child

from trioker.launcher.network import Uplink, connect, make_pair
from trioker.linux import links, netlink
from trioker.linux.namespaces import bring_loopback_up
from trioker.linux.netlink import Netlink
from trioker.linux.syscalls import CLONE_NEWNET, setns, unshare
from trioker.model.network import Endpoint, NetworkOptions
from trioker.network.network import Network, open_network, plan_network
from trioker.runtime.spec import link_spec

T = TypeVar("T")

HOST, WORLD = "198.51.100.1", "198.51.100.2"
HOST6, WORLD6 = "2001:db8::1", "2001:db8::2"
MTU = 1400
SOON = 5.0  # seconds: what is allowed arrives long before
NEVER = 0.4  # seconds: what is dropped has not arrived by then
_LINK_OF_OURS = re.compile(r"tk[0-9a-f]{13}")
_ETHERNET, _IPV4 = struct.Struct("!6s6sH"), struct.Struct("!BBHHHBBH4s4s")


class Lab:
    """The host's namespace is the process's."""

    def __init__(self) -> None:
        bring_loopback_up()
        self.host = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.world = new_namespace()
        with Netlink(netlink.ROUTE) as sock:
            pair = links.add_veth("uplink", 0, MTU, peer="uplink", netns=self.world)
            sock.request(pair)
            number = socket.if_nametoindex("uplink")
            sock.request(
                links.add_address(number, IPv4Interface(f"{HOST}/24")),
                links.add_address(number, IPv6Interface(f"{HOST6}/64")),
            )
            sock.request(links.add_default_route(number, IPv4Address(WORLD)))
        in_namespace(self.world, _configure_world)
        self.records = []

    @contextlib.asynccontextmanager
    async def network(self, record=None, live=(), **options):
        """A daemon's network."""
        wanted = NetworkOptions(**options)
        planned = plan_network(wanted, record, "nameserver 10.255.255.53")
        async with open_network(wanted, planned, live) as network:
            yield network

    async def container(self, network, *ports, name="c"):
        """A connected container: its place and its namespace."""
        netns = new_namespace()
        place = network.reserve(f"{name * 8}{'0' * 56}", ports)
        await network.publish(place)
        join(network, place, netns)
        return place, netns


def join(network: Network, place: Endpoint, netns: int) -> None:
    """What the launcher does in a container's namespace."""
    with Netlink(netlink.ROUTE) as host:
        uplink = Uplink(host, network.port)
        in_namespace(netns, lambda: connect(make_pair(uplink), link_spec(place)))


def in_namespace(netns: int, work: Callable[[], T]) -> T:
    """Call ``work`` in a network namespace. Sockets made there stay there."""
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            setns(netns, CLONE_NEWNET)
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001  raised again by ``result``
            outcome.set_exception(error)

    thread = threading.Thread(target=run, name="in-network")  # a fresh one: a namespace belongs to a thread
    thread.start()
    thread.join()
    return outcome.result()


def in_lab(test: Callable[[Lab], Awaitable[object]]) -> Callable[[], None]:
    """Run the test in a child process whose network is a lab."""

    @functools.wraps(test)
    def wrapped() -> None:
        def run() -> bool:
            unshare(CLONE_NEWNET)
            trio.run(test, Lab())
            return True

        assert in_child(run)

    del wrapped.__wrapped__  # pytest would take the lab for a fixture
    return wrapped


def new_namespace() -> int:
    """A network namespace with its loopback up, as a container's is."""
    found = []

    def make() -> None:
        unshare(CLONE_NEWNET)
        bring_loopback_up()
        found.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return found[0]


def _configure_world() -> None:
    number = socket.if_nametoindex("uplink")
    with Netlink(netlink.ROUTE) as sock:
        sock.request(links.set_up(number), links.add_address(number, IPv4Interface(f"{WORLD}/24")))
        sock.request(links.add_address(number, IPv6Interface(f"{WORLD6}/64")))
        # A neighbour who knows that containers are behind the host, and tries.
        sock.request(
            links.add_default_route(number, IPv4Address(HOST)), links.add_default_route(number, IPv6Address(HOST6))
        )


def made_in(netns: int, kind: int = socket.SOCK_STREAM, family: int = socket.AF_INET) -> trio.socket.SocketType:
    return trio.socket.from_stdlib_socket(in_namespace(netns, lambda: socket.socket(family, kind)))


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


async def listener(
    netns: int, port: int, host: str = "0.0.0.0", kind: int = socket.SOCK_STREAM
) -> trio.socket.SocketType:
    sock = made_in(netns, kind, _family(host))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    await sock.bind((host, port))
    if kind == socket.SOCK_STREAM:
        sock.listen(128)
    return sock


async def answer(sock: trio.socket.SocketType, name: str) -> None:
    """Tell each TCP client who answers and whom it is seen as."""
    while True:
        client, peer = await sock.accept()
        with client:
            await client.send(f"{name} sees {peer[0]}".encode())


async def answer_datagrams(sock: trio.socket.SocketType, name: str) -> None:
    while True:
        _, peer = await sock.recvfrom(100)
        await sock.sendto(f"{name} sees {peer[0]}".encode(), peer)


async def ask(netns: int, address: str, port: int, within: float = SOON) -> str:
    """What a TCP server says; "" where none can be reached."""
    sock = made_in(netns, family=_family(address))
    with sock, trio.move_on_after(within), contextlib.suppress(OSError):
        await sock.connect((address, port))
        return (await sock.recv(100)).decode()
    return ""


async def ask_datagram(netns: int, address: str, port: int, within: float = SOON) -> str:
    sock = made_in(netns, socket.SOCK_DGRAM, _family(address))
    with sock, trio.move_on_after(within), contextlib.suppress(OSError):
        await sock.connect((address, port))
        await sock.send(b"who?")
        return (await sock.recv(100)).decode()
    return ""


def send_forged(netns: int, link: str, to_mac: str, *, source: str, destination: str, port: int) -> None:
    """Send a UDP datagram whose addresses no kernel would put on a wire."""
    payload = b"forged"
    datagram = struct.pack("!HHHH", 4000, port, 8 + len(payload), 0) + payload
    fields = [0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(destination)]
    words = struct.unpack("!10H", _IPV4.pack(*fields))
    total = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    fields[7] = ~(total + (total >> 16)) & 0xFFFF

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind((link, 0))
            own = sock.getsockname()[4]
            sock.send(
                _ETHERNET.pack(bytes.fromhex(to_mac.replace(":", "")), own, 0x0800) + _IPV4.pack(*fields) + datagram
            )

    in_namespace(netns, send)


def mac_of_link(name: str) -> str:
    with Netlink(netlink.ROUTE) as sock:
        return links.find(links.all_links(sock), name).mac


def shown(*command: str) -> str:
    """What a program tells of the host."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout


def state() -> dict[str, object]:
    """Everything of the host that a network could leave behind, but for links that wait for a container."""
    with Netlink(netlink.ROUTE) as sock:
        taken = {each.name for each in links.all_links(sock) if each.further_names}

    def ours(*command: str, of: set[str] = taken) -> str:
        return "".join(
            line for line in shown(*command).splitlines(keepends=True) if set(_LINK_OF_OURS.findall(line)) <= of
        )

    return {
        "links": ours("ip", "-o", "link"),
        "addresses": [line.split()[1:4] for line in ours("ip", "-o", "addr").splitlines()],
        # Those of containers' links the kernel makes when it comes to it, and they go with the links.
        "routes": ours("ip", "route", "show", "table", "all", of=set()),
        "rules": shown("nft", "list", "ruleset"),
        "sysctls": ours("sh", "-c", "cd /proc/sys/net; grep -rs . ipv4/ip_forward ipv4/conf ipv6/conf bridge; true"),
    }
