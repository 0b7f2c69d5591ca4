import os
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest
import trio
import trustme

from trioker.http.client import BadUrl, Client, FetchError, Proxies, parse_url
from trioker.http.client.limits import READ_TIME


class Origin:
    """A server that answers each request with the next of the given bytes, and notes what it was asked."""

    def __init__(self, answers) -> None:
        self.answers = list(answers)
        self.asked = []
        self.port = 0

    async def serve(self, stream) -> None:
        async with stream:
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                piece = await stream.receive_some()
                if not piece:
                    return
                request += piece
            self.asked.append(request)
            answer = self.answers.pop(0)
            if answer is None:
                await trio.sleep_forever()
            await stream.send_all(answer.replace(b"PORT", b"%d" % self.port))


@asynccontextmanager
async def origin(*answers, tls=None) -> AsyncIterator[Origin]:
    server = Origin(answers)

    async def serve(stream):
        await server.serve(trio.SSLStream(stream, tls, server_side=True, https_compatible=True) if tls else stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield server
        nursery.cancel_scope.cancel()


async def get(url: str, *, tls=None) -> tuple[int, bytes]:
    async with aclosing(Client(tls=tls, proxies=Proxies.from_environment(os.environ))) as client:
        async with client.request("GET", url) as answer:
            if answer.status != 200:
                raise answer.error(f"the server answered {answer.status}")
            return answer.length or 0, b"".join([piece async for piece in answer.chunks])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", (5, b"hello")),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", (0, b"hello")),
        (b"HTTP/1.0 200 OK\r\n\r\nhello", (0, b"hello")),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", (0, b"")),
    ],
)
async def test_bodies_of_every_framing_are_read(answer, expected):
    async with origin(answer) as server:
        assert await get(f"http://127.0.0.1:{server.port}/a%20b?c=d") == expected
        assert server.asked[0].startswith(b"GET /a%20b?c=d HTTP/1.1\r\n")
        assert b"Host: 127.0.0.1:%d\r\n" % server.port in server.asked[0]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000,
    ],
)
async def test_broken_answers_are_errors_naming_the_url(answer):
    async with origin(answer) as server:
        url = f"http://127.0.0.1:{server.port}/x"
        with pytest.raises(FetchError, match=url):
            await get(url)


async def test_another_status_is_an_error_with_it():
    async with origin(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as server:
        with pytest.raises(FetchError, match="the server answered 404") as caught:
            await get(f"http://127.0.0.1:{server.port}/x?token=secret")
        assert caught.value.status == 404
        assert "secret" not in str(caught.value)


async def test_redirects_are_followed():
    moved = b"HTTP/1.1 %d Moved\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n"
    answers = (moved % (301, b"/two"), moved % (307, b"http://127.0.0.1:PORT/three"), b"HTTP/1.1 200 OK\r\n\r\nhere")
    async with origin(*answers) as server:
        assert await get(f"http://127.0.0.1:{server.port}/one") == (0, b"here")
        assert [request.split()[1] for request in server.asked] == [b"/one", b"/two", b"/three"]


async def test_redirects_without_end_are_an_error():
    async with origin(*[b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"] * 6) as server:
        with pytest.raises(FetchError, match="more than 5 redirects"):
            await get(f"http://127.0.0.1:{server.port}/")


@pytest.mark.parametrize("location", [b"file:///etc/passwd", b"ftp://h/", b"http://[::/", b"http://:1/"])
async def test_redirects_to_what_is_no_http_are_errors(location):
    async with origin(b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\n\r\n") as server:
        with pytest.raises(FetchError, match="redirected to nowhere"):
            await get(f"http://127.0.0.1:{server.port}/")


async def test_a_password_is_sent_to_its_host_and_to_no_other():
    answers = (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:PORT/two\r\n\r\n", b"HTTP/1.1 500 No\r\n\r\n")
    async with origin(*answers) as server:
        with pytest.raises(FetchError) as caught:
            await get(f"http://user:p%40ss@127.0.0.1:{server.port}/one")
        assert b"Authorization: Basic dXNlcjpwQHNz\r\n" in server.asked[0]
        assert b"user" not in server.asked[0]
        assert b"Authorization" not in server.asked[1]
        assert "p%40ss" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host/path",
        "ftp://h/",
        "http://",
        "http://h:99999/",
        "http://h:x/",
        "http://h:0/",
        "http://h/a b",
        "http://h/ä",
    ],
)
def test_bad_urls_are_refused(url):
    with pytest.raises(BadUrl, match="bad URL"):
        parse_url(url)


async def test_a_refused_connection_is_an_error_naming_the_url():
    async with origin() as server:
        port = server.port
    with pytest.raises(FetchError, match=f"http://127.0.0.1:{port}/"):
        await get(f"http://127.0.0.1:{port}/")


async def test_a_silent_server_is_given_up(autojump_clock):
    async with origin(None) as server:
        with pytest.raises(FetchError, match="nothing happened for 60 s"):
            await get(f"http://127.0.0.1:{server.port}/")
        assert READ_TIME <= trio.current_time() <= READ_TIME + 1


@pytest.fixture
def authority():
    return trustme.CA()


def contexts(authority: trustme.CA):
    import ssl

    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client


async def test_https_is_fetched_and_its_certificate_checked(authority):
    server_side, client_side = contexts(authority)
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with origin(ok, tls=server_side) as server:
        assert await get(f"https://127.0.0.1:{server.port}/", tls=client_side) == (2, b"ok")


async def test_a_certificate_of_an_unknown_authority_is_refused(authority):
    server_side, _ = contexts(authority)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def serve(stream):
            secured = trio.SSLStream(stream, server_side, server_side=True, https_compatible=True)
            with pytest.raises(trio.BrokenResourceError):
                await secured.do_handshake()

        nursery.start_soon(trio.serve_listeners, serve, [listener])
        port = listener.socket.getsockname()[1]
        with pytest.raises(FetchError, match="certificate verify failed"):
            await get(f"https://127.0.0.1:{port}/")
        nursery.cancel_scope.cancel()


async def test_a_redirect_from_https_to_http_is_refused(authority):
    server_side, client_side = contexts(authority)
    async with origin(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:PORT/\r\n\r\n", tls=server_side) as server:
        with pytest.raises(FetchError, match="from https to http://"):
            await get(f"https://127.0.0.1:{server.port}/", tls=client_side)
