import contextlib
import errno
import math
import socket
from functools import partial

import pytest
import trio
import trio.testing

from trioker.network import forwarder
from trioker.network.forwarder import forward_tcp, forward_udp


def bound(kind):
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        sock.listen(16)
    return sock


@pytest.fixture
async def streams(nursery):
    """A forwarder's address, with a server behind it that sends back what it got once all of it is there."""

    async def serve(stream):
        async with stream:
            data = b""
            async for piece in stream:
                data += piece
            await stream.send_all(data[::-1])

    [server] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
    return await forwarding(nursery, server.socket.getsockname()[1])


async def forwarding(nursery, port, lifetime=math.inf):
    listener = bound(socket.SOCK_STREAM)
    address = listener.getsockname()
    nursery.start_soon(forward_tcp, listener, lambda: ("127.0.0.1", port) if port else None, lifetime)
    return address


async def test_a_connection_is_passed_on_to_its_end_in_both_directions(streams):
    async with await trio.open_tcp_stream(*streams) as stream:
        await stream.send_all(b"abc" * 100_000)
        await stream.send_eof()
        assert b"".join([piece async for piece in stream]) == b"cba" * 100_000


@pytest.mark.parametrize("port", [0, 1])
async def test_where_nobody_listens_the_connection_ends(nursery, port):
    async with await trio.open_tcp_stream(*await forwarding(nursery, port)) as stream:
        with trio.fail_after(10):
            assert await stream.receive_some(1) == b""


async def test_there_are_only_so_many_clients(nursery, streams, monkeypatch):
    monkeypatch.setattr(forwarder, "MOST_CLIENTS", 1)
    address = await forwarding(nursery, streams[1])
    async with await trio.open_tcp_stream(*address) as first, await trio.open_tcp_stream(*address) as second:
        with trio.fail_after(10):
            assert await second.receive_some(1) == b""
            await first.send_all(b"ab")
            await first.send_eof()
            assert await first.receive_some(2) == b"ba"


async def test_a_connection_has_its_time(nursery, streams):
    address = await forwarding(nursery, streams[1], 0.05)
    async with await trio.open_tcp_stream(*address) as stream:
        with trio.fail_after(10):
            assert await stream.receive_some(1) == b""


async def serve_datagrams(sock, clients):
    with sock:
        while True:
            data, client = await sock.recvfrom(100)
            clients.append(client)
            await sock.sendto(data[::-1], client)


@pytest.fixture
async def datagrams(nursery):
    """A forwarder's address, and whom the server behind it has seen."""
    return forwarding_datagrams(nursery, 0.2)


def forwarding_datagrams(nursery, idle):
    server, clients = trio.socket.from_stdlib_socket(bound(socket.SOCK_DGRAM)), []
    target = server.getsockname()
    nursery.start_soon(serve_datagrams, server, clients)
    listener = bound(socket.SOCK_DGRAM)
    address = listener.getsockname()
    nursery.start_soon(forward_udp, listener, lambda: target, idle)
    return address, clients


async def asked(address, sock, data):
    await sock.sendto(data, address)
    with trio.fail_after(10):
        return (await sock.recvfrom(100))[0]


async def test_each_client_gets_its_own_answers(datagrams):
    address, clients = datagrams
    with trio.socket.socket(type=socket.SOCK_DGRAM) as first, trio.socket.socket(type=socket.SOCK_DGRAM) as second:
        assert await asked(address, first, b"ab") == b"ba"
        assert await asked(address, second, b"cd") == b"dc"
        assert await asked(address, first, b"ef") == b"fe"
    assert clients[0] == clients[2] != clients[1]


async def test_a_silent_client_is_forgotten_and_may_come_again(datagrams):
    address, clients = datagrams
    with trio.socket.socket(type=socket.SOCK_DGRAM) as sock:
        await asked(address, sock, b"ab")
        with trio.fail_after(10):
            while len(set(clients)) < 2:  # a new connection behind the forwarder
                await trio.sleep(0.3)
                await asked(address, sock, b"ab")


async def test_with_too_many_clients_the_one_that_was_silent_longest_gives_way(nursery, monkeypatch):
    monkeypatch.setattr(forwarder, "MOST_CLIENTS", 2)
    address, clients = forwarding_datagrams(nursery, math.inf)
    with contextlib.ExitStack() as stack:
        first, second, third = (stack.enter_context(trio.socket.socket(type=socket.SOCK_DGRAM)) for _ in range(3))
        for sock in (first, second, first, third, first, second):
            assert await asked(address, sock, b"ab") == b"ba"
    assert clients[0] == clients[2] == clients[4], "it was not silent"
    assert clients[1] != clients[5], "it had given way, and came again"


async def test_datagrams_to_nobody_are_lost_and_nothing_else(nursery):
    port, listener = 1, bound(socket.SOCK_DGRAM)  # and nobody is at port 1
    address = listener.getsockname()
    nursery.start_soon(forward_udp, listener, lambda: ("127.0.0.1", port))
    server = trio.socket.from_stdlib_socket(bound(socket.SOCK_DGRAM))
    nursery.start_soon(serve_datagrams, server, [])
    with trio.socket.socket(type=socket.SOCK_DGRAM) as sock, trio.socket.socket(type=socket.SOCK_DGRAM) as other:
        for _ in range(3):
            await sock.sendto(b"x", address)
            await trio.testing.wait_all_tasks_blocked()
        port = server.getsockname()[1]
        assert await asked(address, other, b"ab") == b"ba"


class NoMoreFiles(trio.abc.SocketFactory):
    def socket(self, *_):
        raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
async def test_with_too_many_files_open_clients_are_turned_away_and_later_ones_are_served(
    nursery, streams, datagrams, kind
):
    address = streams if kind == socket.SOCK_STREAM else datagrams[0]
    with socket.socket(type=kind) as early, socket.socket(type=kind) as late:
        await trio.testing.wait_all_tasks_blocked()
        trio.socket.set_custom_socket_factory(NoMoreFiles())
        early.connect(address)
        early.send(b"ab")
        await trio.testing.wait_all_tasks_blocked(0.05)
        trio.socket.set_custom_socket_factory(None)
        late.connect(address)
        late.send(b"cd")
        if kind == socket.SOCK_STREAM:
            late.shutdown(socket.SHUT_WR)
        with trio.fail_after(10):
            assert await trio.socket.from_stdlib_socket(late).recv(10) == b"dc"
