import errno
import gc
import os
import socket
from contextlib import AsyncExitStack

import pytest
import trio
from client_origin import OK, answering, ask, client, origin

from trioker.http.client import Client, FetchError, Proxies, Unreached
from trioker.http.client.limits import IDLE_LINKS, IDLE_LINKS_PER_ORIGIN, IDLE_TIME


async def test_a_connection_serves_one_request_after_the_other():
    async with origin(answering(OK, OK, OK)) as server, client() as each:
        for _ in range(3):
            assert await ask(each, server.url) == (200, b"ok")
        assert server.connections == 1
        assert len(server.asked) == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    ],
)
async def test_it_does_after_bodies_of_every_framing_that_ends(answer):
    async with origin(answering(answer, OK)) as server, client() as each:
        await ask(each, server.url)
        assert await ask(each, server.url) == (200, b"ok")
        assert server.connections == 1


async def test_a_body_that_is_here_already_need_not_be_read():
    async with origin(answering(OK, OK)) as server, client() as each:
        async with each.request("GET", server.url):
            pass
        assert await ask(each, server.url) == (200, b"ok")
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 Smuggled\r\n\r\n",
    ],
)
async def test_a_connection_that_should_not_be_used_again_is_closed(answer):
    closed = trio.Event()

    async def play(peer):
        await peer.request()
        await peer.send(answer)
        assert await peer.closed()
        closed.set()

    async with origin(play, answering(OK)) as server, client() as each:
        assert await ask(each, server.url) == (200, b"ok")
        await closed.wait()
        assert await ask(each, server.url) == (200, b"ok")


@pytest.mark.parametrize("pieces", [0, 1])
async def test_a_connection_whose_body_is_not_read_to_the_end_is_closed(pieces):
    closed = trio.Event()

    async def play(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500)
        assert await peer.closed()
        closed.set()

    async with origin(play) as server, client() as each:
        async with each.request("GET", server.url) as answer:
            for _ in range(pieces):
                await anext(answer.chunks)
        await closed.wait()


async def test_a_connection_that_the_server_closed_meanwhile_is_replaced():
    async with origin(answering(OK), answering(OK)) as server, client() as each:
        assert await ask(each, server.url) == (200, b"ok")
        assert await ask(each, server.url) == (200, b"ok")
        assert server.connections == 2


@pytest.mark.parametrize("body", [None, b"x" * 10])
@pytest.mark.parametrize("end", ["close", "reset"])
async def test_a_request_that_a_kept_connection_swallows_is_sent_again_on_a_new_one(body, end):
    async def play(peer):
        await peer.request()
        await peer.send(OK)
        await peer.request()
        if end == "reset":
            peer.reset()

    async with origin(play, answering(OK)) as server, client() as each:
        await ask(each, server.url)
        assert await ask(each, server.url, "PUT", body=body) == (200, b"ok")
        assert server.connections == 2
        assert server.asked[1] == server.asked[2]


async def test_it_is_not_once_a_byte_of_an_answer_came():
    async def play(peer):
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.send(b"HTTP/1.1 2")

    async with origin(play) as server, client() as each:
        await ask(each, server.url)
        with pytest.raises(FetchError, match="ended within the head of the answer"):
            await ask(each, server.url)
        assert server.connections == 1


async def test_a_new_connection_that_swallows_a_request_is_an_error():
    async with origin(answering(b""), answering(OK)) as server, client() as each:
        with pytest.raises(FetchError, match="closed the connection without an answer"):
            await ask(each, server.url)
        assert server.connections == 1


async def test_an_idle_connection_is_closed_in_time(autojump_clock):
    async def play(peer):
        await peer.request()
        await peer.send(OK)
        start = trio.current_time()
        assert await peer.closed()
        assert IDLE_TIME - 1 <= trio.current_time() - start <= IDLE_TIME + 1
        closed.set()

    closed = trio.Event()
    async with origin(play, answering(OK)) as server, client() as each:
        await ask(each, server.url)
        await closed.wait()
        await ask(each, server.url)
        assert server.connections == 2


async def test_no_more_connections_are_kept_than_may_be():
    async def play(peer):
        await peer.request()
        await together.wait()
        await peer.send(OK)
        if await peer.closed():
            ended.append(peer)
            enough.set()

    number = IDLE_LINKS_PER_ORIGIN + 1
    together, enough, ended = trio.Event(), trio.Event(), []
    async with origin(*[play] * number) as server, client() as each:
        async with trio.open_nursery() as nursery:
            for _ in range(number):
                nursery.start_soon(ask, each, server.url)
            await trio.testing.wait_all_tasks_blocked()
            together.set()
        await enough.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert len(ended) == 1


async def test_no_more_connections_are_kept_to_all_servers_together():
    async def play(peer):
        await peer.request()
        await peer.send(OK)
        await peer.closed()
        ended.append(peer)
        enough.set()

    enough, ended = trio.Event(), []
    async with AsyncExitStack() as stack:
        each = await stack.enter_async_context(client())
        for _ in range(IDLE_LINKS + 1):
            server = await stack.enter_async_context(origin(play))
            await ask(each, server.url)
        await enough.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert len(ended) == 1


async def test_closing_the_client_closes_what_is_idle():
    async def play(peer):
        await peer.request()
        await peer.send(OK)
        assert await peer.closed()
        closed.set()

    closed = trio.Event()
    async with origin(play) as server:
        async with client() as each:
            await ask(each, server.url)
        await closed.wait()


async def test_a_client_that_is_not_closed_leaves_nothing_behind(recwarn):
    async def main():
        async with origin(answering(OK)) as server:
            await ask(Client(), server.url)

    await trio.to_thread.run_sync(trio.run, main)
    gc.collect()
    assert not recwarn.list


async def test_a_request_that_is_cancelled_closes_its_connection():
    async def play(peer):
        await peer.request()
        asked.set()
        assert await peer.closed()
        closed.set()

    asked, closed = trio.Event(), trio.Event()
    async with origin(play) as server, client() as each:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, each, server.url)
            await asked.wait()
            nursery.cancel_scope.cancel()
        await closed.wait()


async def test_a_unix_socket_is_asked_whatever_the_host(tmp_path):
    path = str(tmp_path / "socket")
    listener = trio.socket.socket(socket.AF_UNIX)
    await listener.bind(path)
    listener.listen()
    asked = []

    async def serve():
        peer, _ = await listener.accept()
        asked.append(await peer.recv(10_000))
        await peer.send(OK)
        peer.close()

    async with trio.open_nursery() as nursery, client(unix_path=path, proxies=Proxies("http://127.0.0.1:1")) as each:
        nursery.start_soon(serve)
        assert await ask(each, "http://daemon/v1.2/info") == (200, b"ok")
    assert asked[0].startswith(b"GET /v1.2/info HTTP/1.1\r\nHost: daemon\r\n")
    listener.close()


async def test_a_unix_socket_that_is_not_there_is_named(tmp_path):
    async with client(unix_path=str(tmp_path / "none")) as each:
        with pytest.raises(Unreached, match=r"no connection to .*/none: no such file or directory"):
            await ask(each, "http://daemon/")


async def test_a_refused_connection_names_host_port_and_the_systems_reason():
    async with origin() as server:
        port = server.port
    async with client() as each:
        with pytest.raises(Unreached) as caught:
            await ask(each, f"http://localhost:{port}/v2/?token=secret")
    assert str(caught.value) == (
        f"http://localhost:{port}/v2/: no connection to localhost:{port}: {os.strerror(errno.ECONNREFUSED).lower()}"
    )


class Names:
    """A name service that behaves as told, until the test's run of trio ends."""

    def __init__(self, lookup) -> None:
        self.lookup = lookup

    async def getaddrinfo(self, *args):
        return await self.lookup()

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


async def test_an_unknown_name_is_said_to_be_unknown():
    async def unknown():
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    trio.socket.set_custom_hostname_resolver(Names(unknown))
    async with client() as each:
        with pytest.raises(Unreached, match=r"no connection to no-such-host.invalid:80: name or service not known"):
            await ask(each, "http://no-such-host.invalid/")


async def test_a_host_that_does_not_answer_is_given_up(autojump_clock):
    trio.socket.set_custom_hostname_resolver(Names(trio.sleep_forever))
    async with client() as each:
        with pytest.raises(Unreached, match=r"no connection to silent.invalid:80 within 30 s"):
            await ask(each, "http://silent.invalid/")
