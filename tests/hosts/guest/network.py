"""Containers' network, with all of its defaults: each other, the host, the world behind it, names, published ports."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

from host import daemon
from polling import wait_until

SERVE, HELLO = "nc -ll -p 80 -e echo hello", b"hello\n"
ADDRESS, MTU = "10.0.2.15", "1400"
"""This host's, as boot.sh has set them."""
WORLD, WORLD_SAYS = "10.0.2.100", b"hello from the world\n"
"""A server outside, which knows of no containers: it answers to ADDRESS alone."""
NAME = "world.test"
PORT = 4600
_SOON = 60.0  # seconds to connect
_QUESTION = struct.Struct("!HH")  # type and class of RFC 1035, 4.1.2
_A = (1, 1)


def bridge(*, say: Any) -> dict[str, Any]:
    """A container is reached by its host and by another container, which reaches the host; packets are as large as the host's."""
    api = daemon().api
    with api.container("sh", "-c", SERVE) as server, serving() as port:
        settings: dict[str, Any] = api.inspect(server)["NetworkSettings"]
        address, gateway = settings["IPAddress"], settings["Gateway"]
        assert asked(address, 80) == HELLO
        script = f"nc {address} 80 && nc {gateway} {port} && cat /sys/class/net/eth0/mtu && hostname && grep -w me /etc/hosts"
        code, output = api.run("sh", "-c", script, Hostname="me")
        *said, hosts = output.decode().splitlines()
        assert (code, said) == (0, ["hello", "the host", MTU, "me"]), output
        assert hosts.split()[0] not in {address, gateway, ""}, hosts
    return settings


def names(*, say: Any) -> None:
    """A container asks the host's own resolver, which nobody but the host can reach, and gets to the world by what it says."""
    api = daemon().api
    with resolver():
        assert api.run("nc", NAME, "80") == (0, WORLD_SAYS)
    assert api.run("nc", WORLD, "80") == (0, WORLD_SAYS)


def published(*, say: Any) -> str:
    """A port is open on all of the host's addresses, to the host and to containers; who wants it too is told."""
    api = daemon().api
    with api.container("sh", "-c", SERVE, PortSpecs=[f"{PORT}:80"]):
        assert [asked(each, PORT) for each in ("127.0.0.1", ADDRESS)] == [HELLO, HELLO]
        assert api.run("nc", ADDRESS, str(PORT)) == (0, HELLO)
        with api.container("true", start=False, PortSpecs=[f"{PORT}:80"]) as second:
            refused = api.call("POST", f"/containers/{second}/start")
            assert refused.status >= 400, refused
            assert str(PORT) in refused.text, refused
            assert not api.inspect(second)["State"]["Running"]
    return refused.text


def publish(port: int, local: int, *, say: Any) -> str:
    """A container that serves until it is removed, on one port everybody, on the other this host alone."""
    api = daemon().api
    container = api.create(
        "sh", "-c", f"{SERVE} & nc -ll -p 81 -e echo hello", PortSpecs=[f"{port}:80", f"127.0.0.1:{local}:81"]
    )
    api.start(container)
    assert [asked("127.0.0.1", each) for each in (port, local)] == [HELLO, HELLO]
    return container


def unpublish(container: str, *, say: Any) -> None:
    """Remove it."""
    daemon().api.remove(container)


def asked(address: str, port: int) -> bytes:
    """What a server says, once it does."""

    def ask() -> bytes:
        with contextlib.suppress(ConnectionError), socket.create_connection((address, port), _SOON) as client:
            return client.recv(100)
        return b""

    return wait_until(ask, f"an answer from {address}:{port}")


@contextlib.contextmanager
def serving() -> Iterator[int]:
    """A server on this host for the length of a with-block; its port."""
    with socket.create_server(("", 0)) as listener, _repeated(listener, lambda: _greet(listener)):
        yield listener.getsockname()[1]


@contextlib.contextmanager
def resolver() -> Iterator[None]:
    """This host's, for the length of a with-block: it knows one name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 53))
        with _repeated(sock, lambda: _resolve(sock)):
            yield


@contextlib.contextmanager
def _repeated(sock: socket.socket, action: Callable[[], None]) -> Iterator[None]:
    """In a thread, as long as the socket can be read."""

    def repeat() -> None:
        with contextlib.suppress(OSError):
            while True:
                action()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # of a socket without a peer, which ends its reader all the same
            sock.shutdown(socket.SHUT_RDWR)
        thread.join()


def _greet(listener: socket.socket) -> None:
    with listener.accept()[0] as client:
        client.sendall(b"the host\n")


def _resolve(sock: socket.socket) -> None:
    """Answer one question (RFC 1035, section 4): whether it is NAME's, its address; of all others nothing is known."""
    query, peer = sock.recvfrom(512)
    if not query:
        raise OSError("the socket was shut down")
    name = b"".join(bytes([len(label)]) + label.encode() for label in NAME.split(".")) + b"\0"
    end = 12 + len(name)
    known = query[12:end].lower() == name and _QUESTION.unpack_from(query, end) == _A
    answer = struct.pack("!HHHIH4s", 0xC00C, *_A, 0, 4, socket.inet_aton(WORLD)) if known else b""
    head = query[:2] + struct.pack("!HHHHH", 0x8180, 1, int(known), 0, 0)
    sock.sendto(head + query[12 : end + _QUESTION.size] + answer, peer)
