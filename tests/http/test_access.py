import pytest
from http_peer import exchange, parse

from trioker.http.access import Access, Kind, host_passes
from trioker.http.client.requests import Question
from trioker.http.client.urls import parse_url

TCP = Access(Kind.TCP)
CORS = Access(Kind.TCP, cors=True)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "127.0.0.1",
        "127.0.0.1:4243",
        "10.1.2.3:1",
        "[::1]",
        "[::1]:4243",
        "[fe80::1]:1",
        "localhost",
        "LOCALHOST:99",
        "localhost.",
        "docker.lan:4243",
    ],
)
def test_hosts_that_are_us_pass(host):
    assert host_passes(host.encode(), frozenset({"docker.lan"}))


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.com",
            "evil.com:4243",
            "localhost.evil.com",
            "127.0.0.1.evil.com",
            "xlocalhost",
            "docker.lan.evil.com",
            "::1",
            "[127.0.0.1]",
        ),
        *(
            "127.1",
            "2130706433",
            "0x7f.1",
            "127.0.0.1:x",
            "127.0.0.1:1:2",
            "[::1",
            "localhost,evil.com",
            "user@localhost",
            ".",
        ),
    ],
)
def test_other_hosts_do_not(host):
    assert not host_passes(host.encode(), frozenset({"docker.lan"}))


def request(*headers: bytes, target: bytes = b"/", host: bytes = b"localhost") -> bytes:
    return b"\r\n".join([b"GET " + target + b" HTTP/1.1", b"Host: " + host, *headers, b"\r\n"])


async def status(raw: bytes, access: Access) -> int:
    return parse(await exchange(raw, access=access))[0][0]


async def test_a_strange_host_is_refused_on_tcp_with_a_word_and_the_connection_goes_on():
    answers = parse(await exchange(request(host=b"evil.com") + request(), access=TCP))
    assert [status for status, _, _ in answers] == [403, 200]
    assert b"'evil.com' is not known here (the daemon's flag --host-name evil.com allows it)\n" in answers[0][2]


async def test_the_host_of_an_absolute_target_counts_too():
    assert await status(request(target=b"http://evil.com/"), TCP) == 403


async def test_any_host_passes_on_a_unix_socket():
    assert await status(request(host=b"evil.com"), Access(Kind.UNIX)) == 200


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize(
    "header",
    [
        b"Origin: http://localhost",
        b"Origin: null",
        b"Origin:",
        b"Sec-Fetch-Site: cross-site",
        b"Sec-Fetch-Site: same-site",
    ],
)
async def test_web_pages_are_refused_unless_cors_is_on(kind, header):
    assert await status(request(header), Access(kind)) == 403
    assert await status(request(header), Access(kind, cors=True)) == 200


async def test_what_the_user_types_into_a_browser_passes():
    assert await status(request(b"Sec-Fetch-Site: none"), TCP) == 200


async def test_with_cors_every_reply_carries_the_headers():
    async def broken(_):
        raise ValueError

    for raw, handler in [(request(), broken), (request(host=b"evil.com"), broken), (b"JUNK\r\n\r\n", broken)]:
        headers = parse(await exchange(raw, handler, access=CORS))[0][1]
        assert headers[b"access-control-allow-origin"] == b"*"
        assert headers[b"access-control-allow-headers"] == b"Origin, X-Requested-With, Content-Type, Accept"
        assert headers[b"access-control-allow-methods"] == b"GET, POST, DELETE, PUT, OPTIONS"


async def test_without_cors_none_does():
    assert b"Access-Control" not in await exchange(request(), access=TCP)


@pytest.mark.parametrize("kind", list(Kind))
async def test_a_daemon_that_was_led_to_an_api_by_what_it_fetches_gets_nothing_there(kind):
    sent = Question("GET", parse_url("http://localhost/containers/json"), (), None).encoded(None)
    agent = dict(sent.headers)[b"user-agent"]
    assert await status(request(b"User-Agent: " + agent), Access(kind, cors=True)) == 403
    assert await status(request(b"User-Agent: trioker-df"), Access(kind)) == 200
