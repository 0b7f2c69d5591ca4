import ssl
from contextlib import suppress

import pytest
import trio
import trustme
from client_origin import OK, answering, ask, client, origin

from trioker.http.client import FetchError, Hopeless, Proxies, Unreached
from trioker.http.client.urls import Origin, origin_of, parse_url


@pytest.mark.parametrize(
    ("environment", "http", "https"),
    [
        ({}, "", ""),
        ({"HTTP_PROXY": "http://p:1"}, "http://p:1", ""),
        ({"HTTPS_PROXY": "http://p:1"}, "", "http://p:1"),
        ({"http_proxy": "http://p:1", "https_proxy": "http://p:2"}, "http://p:1", "http://p:2"),
        ({"HTTP_PROXY": "http://p:1", "http_proxy": "http://p:2"}, "http://p:1", ""),
        ({"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, "", ""),
        ({"HTTP_PROXY": "http://p:1", "http_proxy": "http://p:2", "REQUEST_METHOD": ""}, "http://p:2", ""),
        ({"HTTPS_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, "", "http://p:1"),
        ({"HTTP_PROXY": "", "http_proxy": "http://p:2"}, "http://p:2", ""),
    ],
)
def test_proxies_are_those_of_the_environment(environment, http, https):
    proxies = Proxies.from_environment(environment)
    assert (proxies.http, proxies.https) == (http, https)


def test_proxies_do_not_show_their_passwords():
    assert "secret" not in repr(Proxies("http://me:secret@p", "http://me:secret@p"))


@pytest.mark.parametrize(
    ("no_proxy", "url", "straight"),
    [
        ("", "http://a.test", False),
        ("*", "http://a.test", True),
        ("b.test", "http://a.test", False),
        ("a.test", "http://a.test", True),
        ("A.Test", "http://a.test", True),
        ("a.test", "http://a.test.", True),
        ("a.test", "http://x.a.test", True),
        ("a.test", "http://xa.test", False),
        ("a.test", "http://a.test.b", False),
        (".a.test", "http://x.a.test", True),
        (".a.test", "http://a.test", False),
        ("*.a.test", "http://x.a.test", True),
        ("test", "http://a.test", True),
        (" b.test , a.test ", "http://a.test", True),
        ("b.test a.test", "http://a.test", True),
        (",,", "http://a.test", False),
        ("a.test:80", "http://a.test", True),
        ("a.test:443", "http://a.test", False),
        ("a.test:5000", "http://a.test:5000", True),
        ("10.1.2.3", "http://10.1.2.3", True),
        ("10.1.2.3", "http://10.1.2.4", False),
        ("10.1.2.3:80", "http://10.1.2.3", True),
        ("10.1.2.3:81", "http://10.1.2.3", False),
        ("2.3", "http://10.1.2.3", False),
        ("10.1.0.0/16", "http://10.1.2.3", True),
        ("10.1.9.9/16", "http://10.1.2.3", True),
        ("10.2.0.0/16", "http://10.1.2.3", False),
        ("10.0.0.0/8", "http://a.test", False),
        ("10.0.0.0/99", "http://10.1.2.3", False),
        ("fd00::/8", "http://[fd00::1]", True),
        ("10.0.0.0/8", "http://[fd00::1]", False),
        ("fd00:0::1", "http://[fd00::1]", True),
        ("[fd00::1]", "http://[fd00::1]", True),
        ("[fd00::1]:80", "http://[fd00::1]", True),
        ("[fd00::1]:81", "http://[fd00::1]", False),
        ("", "http://localhost", True),
        ("", "http://localhost.", True),
        ("", "http://127.3.2.1:5000", True),
        ("", "http://[::1]", True),
        ("", "http://localhost.test", False),
    ],
)
def test_who_is_reached_without_a_proxy(no_proxy, url, straight):
    proxies = Proxies.from_environment({"http_proxy": "http://p:1", "no_proxy": no_proxy})
    assert (proxies.choose(origin_of(parse_url(url))) is None) == straight


@pytest.mark.parametrize("proxy", ["socks5://p:1", "http://p:x", "http://me:secret@p:x"])
def test_a_proxy_of_an_unknown_kind_is_an_error_naming_the_variable(proxy):
    with pytest.raises(Hopeless, match="HTTPS_PROXY: bad URL") as caught:
        Proxies(https=proxy).choose(Origin("https", "a.test", 443))
    assert "secret" not in str(caught.value)


async def test_plain_requests_go_to_the_proxy_in_absolute_form():
    async with origin(answering(OK, OK)) as proxy:
        async with client(proxies=Proxies(http=f"me:pass@127.0.0.1:{proxy.port}")) as each:
            for _ in range(2):
                assert await ask(each, "http://you:word@a.test:81/x?y=z#part") == (200, b"ok")
    assert proxy.connections == 1
    lines = proxy.asked[0].split(b"\r\n")
    assert lines[:2] == [b"GET http://a.test:81/x?y=z HTTP/1.1", b"Host: a.test:81"]
    assert b"Proxy-Authorization: Basic bWU6cGFzcw==" in lines
    assert b"Authorization: Basic eW91OndvcmQ=" in lines


async def test_a_redirection_past_the_proxy_does_not_tell_its_password():
    async with origin(answering(OK)) as server, origin() as proxy:
        proxy.plays = [answering(f"HTTP/1.1 302 Found\r\nLocation: {server.url}\r\n\r\n".encode())]
        async with client(proxies=Proxies(http=f"http://me:pass@127.0.0.1:{proxy.port}")) as each:
            assert await ask(each, "http://a.localhost/") == (200, b"ok")
        assert b"proxy" not in server.asked[0].lower()


def contexts(name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert(name).configure_cert(theirs)
    authority.configure_trust(ours)
    return theirs, ours


def tunnelling(target):
    """A proxy that connects everybody with one server."""

    async def carry(source, sink):
        async for piece in source:
            await sink.send_all(piece)
        await sink.send_eof()

    async def play(peer):
        await peer.head()
        async with await trio.open_tcp_stream("127.0.0.1", target.port) as there, trio.open_nursery() as nursery:
            await peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            nursery.start_soon(carry, there, peer.stream)
            with suppress(trio.BrokenResourceError):
                await carry(peer.stream, there)

    return play


async def test_https_goes_through_the_proxy_as_it_is():
    theirs, ours = contexts("a.test")
    async with origin(answering(OK, OK), tls=theirs) as server, origin() as proxy:
        proxy.plays = [tunnelling(server)]
        async with client(tls=ours, proxies=Proxies(https=f"http://me:pass@127.0.0.1:{proxy.port}")) as each:
            for _ in range(2):
                assert await ask(each, "https://a.test/x") == (200, b"ok")
        assert proxy.asked[0].startswith(b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n")
        assert b"Proxy-Authorization: Basic bWU6cGFzcw==\r\n" in proxy.asked[0]
        assert server.asked[0].startswith(b"GET /x HTTP/1.1\r\nHost: a.test\r\n")
        assert b"proxy" not in server.asked[0].lower()
        assert (proxy.connections, server.connections) == (1, 1)


async def test_a_proxy_may_speak_tls_itself():
    theirs, ours = contexts("127.0.0.1")
    async with origin(answering(OK), tls=theirs) as proxy:
        async with client(tls=ours, proxies=Proxies(http=f"https://127.0.0.1:{proxy.port}")) as each:
            assert await ask(each, "http://a.test/x") == (200, b"ok")


async def test_tls_goes_through_a_proxy_that_speaks_tls_itself():
    authority = trustme.CA()
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1", "a.test").configure_cert(theirs)
    authority.configure_trust(ours)

    async with origin(tls=theirs) as proxy:
        inner = answering(OK)

        async def play(peer):
            await peer.head()
            await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
            peer.stream = trio.SSLStream(peer.stream, theirs, server_side=True)
            await inner(peer)

        proxy.plays = [play]
        async with client(tls=ours, proxies=Proxies(https=f"https://127.0.0.1:{proxy.port}")) as each:
            assert await ask(each, "https://a.test/x") == (200, b"ok")


@pytest.mark.parametrize(
    ("reply", "kind", "complaint"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", Hopeless, "answered 407 when asked for a.test:443"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", FetchError, "answered 502 when asked for a.test:443"),
        (b"HTTP/1.1 200 OK\r\n\r\nearly", Hopeless, "speaks before the server does"),
        (b"SSH-2.0\r\n\r\n", Hopeless, "the answer is no sound HTTP"),
        (b"", FetchError, "closed the connection without an answer"),
    ],
)
async def test_a_proxy_that_does_not_let_us_through_is_named(reply, kind, complaint):
    async with origin(answering(reply)) as proxy:
        name = f"127.0.0.1:{proxy.port}"
        async with client(proxies=Proxies(https=f"http://me:pass@{name}")) as each:
            with pytest.raises(FetchError, match=f"https://a.test/x: the proxy {name}.*{complaint}") as caught:
                await ask(each, "https://a.test/x?secret")
        assert isinstance(caught.value, kind)
        assert caught.value.status == 0
        assert "pass" not in str(caught.value)


async def test_a_proxy_that_is_not_there_is_named():
    async with origin() as proxy:
        pass
    async with client(proxies=Proxies(http=f"http://me:pass@127.0.0.1:{proxy.port}")) as each:
        with pytest.raises(Unreached) as caught:
            await ask(each, "http://a.test/x")
    assert str(caught.value) == (
        f"http://a.test/x: no connection to the proxy 127.0.0.1:{proxy.port}: connection refused"
    )


async def test_a_proxy_that_says_nothing_is_given_up(autojump_clock):
    async def play(peer):
        await peer.head()
        await trio.sleep_forever()

    async with origin(play) as proxy, client(proxies=Proxies(https=f"http://127.0.0.1:{proxy.port}")) as each:
        with pytest.raises(Unreached, match=r"no connection to the proxy .* within 30 s"):
            await ask(each, "https://a.test/x")
