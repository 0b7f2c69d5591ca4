import pytest
from client_origin import OK, answering, ask, client, origin

from trioker.http.client import FetchError, Hopeless, parse_url, redirected

SECRETS = [(b"Authorization", b"Bearer t0ken"), (b"cookie", b"t0ken"), (b"Proxy-Authorization", b"t0ken")]


def moved(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_get_and_head_are_followed_by_the_same_method(status, method):
    end = b"HTTP/1.1 204 OK\r\n\r\n"
    async with origin(answering(moved("/b?c=d#e", status), end)) as server, client() as each:
        async with each.request(method, f"{server.url}/a") as answer:
            assert (answer.status, answer.url) == (204, f"{server.url}/b?c=d")
        assert server.connections == 1
        assert server.asked[1].startswith(f"{method} /b?c=d HTTP/1.1\r\n".encode())


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("c", "/a/c"),
        ("../c", "/c"),
        ("?c", "/a/b?c"),
        ("//127.0.0.1:PORT/c", "/c"),
        ("HTTP://127.0.0.1:PORT", "/"),
        ("/\u00fc b", "/%C3%BC%20b"),
        ("/a%20b", "/a%20b"),
    ],
)
async def test_locations_of_every_form_are_understood(location, path):
    async with origin(answering(moved(location), OK)) as server, client() as each:
        assert await ask(each, f"{server.url}/a/b") == (200, b"ok")
        assert server.asked[1].split()[1].decode() == path


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_other_methods_are_the_callers_business(method):
    async with origin(answering(moved("/b", 307))) as server, client() as each:
        async with each.request(method, server.url) as answer:
            assert (answer.status, answer.header(b"location")) == (307, "/b")


@pytest.mark.parametrize("reply", [moved("/b"), b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", moved("/b", 304)])
async def test_who_does_not_follow_gets_the_redirection(reply):
    async with origin(answering(reply)) as server, client() as each:
        assert (await ask(each, server.url, follow=b"304" in reply))[0] in {302, 304}


async def test_a_redirection_without_location_is_an_answer():
    async with origin(answering(b"HTTP/1.1 302 Found\r\nContent-Length: 2\r\n\r\nno")) as server, client() as each:
        assert await ask(each, server.url) == (302, b"no")


async def test_a_circle_ends():
    async with origin(answering(*[moved("/")] * 6)) as server, client() as each:
        with pytest.raises(Hopeless, match="more than 5 redirects"):
            await ask(each, server.url)
        assert len(server.asked) == 6


async def test_secrets_stay_with_their_origin():
    async with origin(answering(moved("/again"), moved("HERE"))) as first, origin(answering(OK)) as second:
        first.plays = [answering(moved("/again"), moved(f"{second.url}/there"))]
        async with client() as each:
            headers = [*SECRETS, (b"Accept", b"x")]
            assert await ask(each, f"{first.url}/", headers=headers) == (200, b"ok")
        assert all(head.count(b"t0ken") == 3 for head in first.asked)
        assert b"t0ken" not in second.asked[0]
        assert b"Accept: x" in second.asked[0]


async def test_secrets_do_not_come_back_on_the_way_back():
    async with origin() as first, origin() as second:
        first.plays = [answering(moved(second.url), OK)]
        second.plays = [answering(moved(first.url))]
        async with client() as each:
            await ask(each, first.url, headers=SECRETS)
        assert b"t0ken" in first.asked[0]
        assert b"t0ken" not in first.asked[1]


async def test_a_password_of_the_url_stays_with_its_host():
    async with origin() as first, origin(answering(OK)) as second:
        first.plays = [answering(moved("/again"), moved(second.url))]
        async with client() as each:
            await ask(each, first.url.replace("//", "//me:pass@"))
        assert all(b"Authorization: Basic bWU6cGFzcw==\r\n" in head for head in first.asked)
        assert b"uthorization" not in second.asked[0]


async def test_a_given_authorization_goes_before_that_of_the_url():
    async with origin(answering(OK)) as server, client() as each:
        await ask(each, server.url.replace("//", "//me:pass@"), headers=SECRETS[:1])
        assert server.asked[0].lower().count(b"authorization") == 1
        assert b"t0ken" in server.asked[0]


@pytest.mark.parametrize("location", ["http://me:t0ken@h:x/", "file:///x?t0ken", "http://h:x/#t0ken"])
async def test_a_redirection_to_nowhere_shows_no_secret(location):
    async with origin(answering(moved(location))) as server, client() as each:
        with pytest.raises(FetchError, match=f"{server.url}/x: redirected to nowhere") as caught:
            await ask(each, f"{server.url}/x?t0ken")
        assert "t0ken" not in str(caught.value)


async def test_a_redirection_to_a_very_long_url_is_told_in_short():
    async with origin(answering(moved("/" + "a" * 50_000), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")) as server:
        async with client() as each:
            with pytest.raises(FetchError) as caught:
                await ask(each, server.url)
    assert len(str(caught.value)) < 400


HERE = [
    "127.0.0.1:4243",
    "localhost",
    "a.localhost.",
    "127.1",
    "0",
    "2130706433",
    "0x7f.1",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "169.254.169.254",
]


@pytest.mark.parametrize("host", HERE)
def test_a_server_elsewhere_cannot_send_us_to_this_machine(host):
    with pytest.raises(
        Hopeless, match=r"http://elsewhere\.example/a: redirected to http://.*/b, which is this machine's own"
    ):
        redirected(parse_url("http://elsewhere.example/a"), f"http://{host}/b".encode())


@pytest.mark.parametrize("host", HERE)
def test_a_server_of_this_machine_can(host):
    assert redirected(parse_url("http://127.0.0.1:5000/a"), f"http://{host}/b".encode()).path == "/b"
