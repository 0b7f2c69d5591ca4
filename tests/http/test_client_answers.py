from contextlib import suppress

import pytest
import trio
from client_origin import OK, answering, ask, client, origin

from trioker.http.client import BadUrl, FetchError, Hopeless
from trioker.http.client.limits import HEAD_BYTES, HEAD_PIECE, INTERIM_ANSWERS, READ_TIME, WORK_TIME

COUNTED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_an_answer_tells_status_headers_length_and_url():
    reply = b"HTTP/1.1 404 No\r\nContent-Type: a\r\nX: 1\r\nx: \xe4\r\nContent-Length: 2\r\n\r\nno"
    async with origin(answering(reply)) as server, client() as each:
        async with each.request("GET", server.url.replace("//", "//me:pass@") + "/x?y=z#part") as answer:
            assert (answer.status, answer.length) == (404, 2)
            assert answer.url == server.url + "/x?y=z"
            assert answer.header(b"content-type") == "a"
            assert answer.header(b"x") == "1"
            assert answer.headers[2] == (b"x", b"\xe4")
            assert answer.header(b"y") == ""
            assert await answer.read(2) == b"no"
            assert "y=z" not in repr(answer)


@pytest.mark.parametrize("reply", [COUNTED + b"hello", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"])
async def test_more_than_is_wanted_is_an_error(reply):
    async with origin(answering(reply)) as server, client() as each:
        async with each.request("GET", f"{server.url}/x?secret") as answer:
            with pytest.raises(FetchError, match=f"{server.url}/x: the answer is longer than 4 bytes"):
                await answer.read(4)


async def test_head_has_the_length_that_get_would_give_and_no_body():
    async with origin(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", OK)) as server, client() as each:
        async with each.request("HEAD", server.url) as answer:
            assert answer.length == 1234
            assert await answer.read(0) == b""
        assert await ask(each, server.url) == (200, b"ok")
        assert server.connections == 1


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        (COUNTED + b"hell", "the body ended after 4 of 5 bytes"),
        (COUNTED, "the body ended after 0 of 5 bytes"),
        (COUNTED + b"hello you", "the body is longer than the 5 bytes announced"),
        (CHUNKED + b"5\r\nhel", "the body ended before its last chunk"),
        (CHUNKED + b"5\r\nhello\r\n", "the body ended before its last chunk"),
        (CHUNKED + b"5\r\nhello\r\n0\r\n", "the body ended before its last chunk"),
        (CHUNKED + b"5\r\nhello you", "the body is no sound HTTP: malformed chunk footer"),
        (CHUNKED + b"-5\r\nhello", "the body is no sound HTTP: illegal chunk header"),
        (CHUNKED + b"5" * 100_000, "the body is no sound HTTP"),
        (CHUNKED + b"0\r\n" + b"a: b\r\n" * 100_000, "the body is no sound HTTP: Receive buffer too long"),
    ],
)
async def test_bodies_that_are_not_as_announced_are_errors(reply, complaint):
    async with origin(answering(reply)) as server, client() as each:
        with pytest.raises(FetchError) as caught:
            await ask(each, f"{server.url}/blob?token=secret")
        assert str(caught.value).startswith(f"{server.url}/blob: {complaint}")
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "reply",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"<html>\n\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA\0: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_said_to_be_none(reply):
    async with origin(answering(reply)) as server, client() as each:
        with pytest.raises(Hopeless, match=f"{server.url}/x: the answer is no sound HTTP") as caught:
            await ask(each, f"{server.url}/x")
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_two_framings_at_once_are_refused(version):
    both = b"HTTP/%b 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" % version
    async with origin(answering(both)) as server, client() as each:
        with pytest.raises(Hopeless, match="both a Content-Length"):
            await ask(each, server.url)


async def test_a_head_without_end_is_refused_early():
    sent = 0

    async def play(peer):
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nA: ")
        with suppress(trio.BrokenResourceError):
            while True:
                await peer.stream.send_all(b"a" * 4096)
                sent += 4096

    async with origin(play) as server, client() as each:
        with pytest.raises(Hopeless, match="Receive buffer too long"):
            await ask(each, server.url)
        await trio.testing.wait_all_tasks_blocked()
        assert sent < 16 * 1024 * 1024  # the system's buffers


async def test_a_head_may_be_as_long_as_is_said_and_hardly_longer():
    def head(size):
        return b"HTTP/1.1 204 OK\r\nA: " + b"a" * size + b"\r\n\r\n"

    async with origin(answering(head(HEAD_BYTES - 1000)), answering(head(HEAD_BYTES + HEAD_PIECE))) as server:
        async with client() as each:
            assert await ask(each, server.url) == (204, b"")
            with pytest.raises(Hopeless, match="Receive buffer too long"):
                await ask(each, server.url)


async def test_a_few_interim_answers_are_read_over_and_an_endless_row_is_not():
    interim = b"HTTP/1.1 102 Processing\r\n\r\n"
    few, many = interim * INTERIM_ANSWERS + OK, interim * (INTERIM_ANSWERS + 1) + OK
    async with origin(answering(few), answering(many)) as server, client() as each:
        assert await ask(each, server.url) == (200, b"ok")
        with pytest.raises(Hopeless, match="more than 16 answers that something will follow"):
            await ask(each, server.url)


async def test_chunks_of_one_byte_come_together():
    async def play(peer):
        await peer.request()
        await peer.send(CHUNKED + b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n")

    async with origin(play) as server, client() as each:
        async with each.request("GET", server.url) as answer:
            pieces = [piece async for piece in answer.chunks]
    assert b"".join(pieces) == b"x" * 1000
    assert len(pieces) < 10


def dripping(first: bytes, pause: float, number: int):
    async def play(peer):
        await peer.request()
        await peer.send(first)
        for _ in range(number):
            await trio.sleep(pause)
            await peer.stream.send_all(b"x")
        await trio.sleep_forever()

    return play


async def test_a_body_may_come_slowly(autojump_clock):
    async with origin(dripping(COUNTED, READ_TIME - 1, 5)) as server, client() as each:
        assert await ask(each, server.url) == (200, b"xxxxx")


async def test_a_body_that_stalls_is_given_up(autojump_clock):
    async with origin(dripping(COUNTED, 1, 4)) as server, client() as each:
        with pytest.raises(FetchError, match=f"{server.url}: nothing happened for 60 s"):
            await ask(each, server.url)
        assert 4 + READ_TIME <= trio.current_time() <= 5 + READ_TIME


@pytest.mark.parametrize(("method", "seconds"), [("GET", READ_TIME), ("PUT", WORK_TIME)])
async def test_a_head_that_comes_slowly_is_given_up(method, seconds, autojump_clock):
    async with origin(dripping(b"HTTP/1.1 200 OK\r\nA: ", 1, 1000)) as server, client() as each:
        with pytest.raises(FetchError, match=f"nothing happened for {seconds:g} s"):
            await ask(each, server.url, method)
        assert seconds <= trio.current_time() <= seconds + 1


async def test_a_header_that_http_cannot_carry_is_refused_without_being_shown():
    async with origin(answering(OK)) as server, client() as each:
        with pytest.raises(Hopeless, match="has a header that HTTP cannot carry") as caught:
            await ask(each, server.url, headers=[(b"authorization", b"Bearer secret\r\nX: y")])
        assert "secret" not in repr(caught.value)
        assert server.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "http://me:secret@h:x/",
        "http://me:sec/ret@h/ x",
        "http://me:sec?ret@h:0/",
        "http://me@secret@h/ ä",
        "ftp://h/x?secret",
        "http://h:x/#secret",
        "http://[::1%25eth0]/",
        "http://a..b/",
        "http://.b/",
        f"http://{'a' * 64}.b/",
        "http://h%41/",
        "http://a,b/",
        "https://[::g]/",
    ],
)
async def test_bad_urls_are_refused_without_showing_what_is_secret(url):
    async with client() as each:
        with pytest.raises(BadUrl, match="bad URL") as caught:
            await ask(each, url)
    assert "secret" not in str(caught.value)
    assert "ret@" not in str(caught.value)
