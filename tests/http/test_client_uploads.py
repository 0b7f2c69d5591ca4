import pytest
import trio
from client_origin import OK, answering, ask, client, origin

from trioker.http.client import FetchError, Hopeless, Upload
from trioker.http.client.limits import PIECE, WRITE_TIME

REFUSAL = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 12\r\n\r\nwho are you?"


def upload(*pieces: bytes, length=None) -> Upload:
    async def opened():
        for piece in pieces:
            yield piece

    return Upload(opened, length)


class Endless:
    """A body that never ends, and knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    async def open(self):
        try:
            while True:
                yield b"x" * 65536
        finally:
            self.closed += 1


@pytest.mark.parametrize(
    ("body", "framing", "sent"),
    [
        (b"hello", b"Content-Length: 5\r\n", b"hello"),
        (b"", b"Content-Length: 0\r\n", b""),
        (None, b"Content-Length: 0\r\n", b""),
        (b"x" * (2 * PIECE + 1), b"Content-Length: %d\r\n" % (2 * PIECE + 1), b"x" * (2 * PIECE + 1)),
        (upload(b"he", b"", b"llo", length=5), b"Content-Length: 5\r\n", b"hello"),
        (upload(length=0), b"Content-Length: 0\r\n", b""),
        (upload(b"he", b"", b"llo"), b"Transfer-Encoding: chunked\r\n", b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        (upload(), b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_bodies_are_framed_by_what_is_known_of_them(body, framing, sent, method):
    got = []

    async def play(peer):
        for _ in range(2):
            got.append(await peer.request())
            await peer.send(OK)

    async with origin(play) as server, client() as each:
        for _ in range(2):
            assert await ask(each, server.url, method, body=body) == (200, b"ok")
        assert server.connections == 1
    (head, received), again = got
    assert framing in head
    assert received == sent
    assert again == got[0]


async def test_a_get_says_nothing_of_a_body():
    async with origin(answering(OK)) as server, client() as each:
        await ask(each, server.url)
        assert b"content-length" not in server.asked[0].lower()


@pytest.mark.parametrize("end", ["close", "reset", "stay"])
async def test_a_refusal_while_sending_is_read_and_ends_the_sending(end):
    async def play(peer):
        await peer.head()
        await peer.send(REFUSAL)
        if end == "reset":
            await trio.testing.wait_all_tasks_blocked()
            peer.reset()
        if end == "stay":
            await ended.wait()

    ended, body = trio.Event(), Endless()
    async with origin(play) as server, client() as each:
        assert await ask(each, server.url, "PUT", body=Upload(body.open)) == (401, b"who are you?")
        assert body.closed == 1
        ended.set()


async def test_a_connection_whose_request_was_not_sent_whole_is_not_used_again():
    async def play(peer):
        await peer.head()
        await peer.send(REFUSAL)
        await peer.left()

    async with origin(play, answering(OK)) as server, client() as each:
        await ask(each, server.url, "PUT", body=Upload(Endless().open))
        assert await ask(each, server.url) == (200, b"ok")
        assert server.connections == 2


async def test_an_answer_without_refusal_ends_the_sending_too():
    async def play(peer):
        await peer.head()
        await peer.send(OK)
        await peer.closed()

    async with origin(play) as server, client() as each:
        assert await ask(each, server.url, "POST", body=Upload(Endless().open)) == (200, b"ok")


async def test_a_server_that_takes_nothing_is_given_up(autojump_clock):
    async def play(peer):
        await peer.head()
        await trio.sleep_forever()

    body = Endless()
    async with origin(play) as server, client() as each:
        with pytest.raises(FetchError, match=f"{server.url}: the server took nothing for 60 s"):
            await ask(each, server.url, "PUT", body=Upload(body.open))
        assert WRITE_TIME <= trio.current_time() <= WRITE_TIME + 1
        assert body.closed == 1


async def test_a_server_that_closes_while_we_send_is_an_error():
    async def play(peer):
        await peer.head()

    async with origin(play) as server, client() as each:
        with pytest.raises(FetchError, match=f"{server.url}: (the server closed|connection reset|broken pipe)"):
            await ask(each, server.url, "PUT", body=Upload(Endless().open))


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (upload(b"hello", length=6), "the body to send ended after 5 of 6 bytes"),
        (upload(b"hel", b"lo", length=4), "the body to send is longer than its 4 bytes"),
    ],
)
async def test_a_body_of_another_length_than_it_should_have_is_an_error(body, complaint):
    async def play(peer):
        await peer.head()
        await peer.closed()

    async with origin(play) as server, client() as each:
        with pytest.raises(Hopeless, match=f"{server.url}: {complaint}"):
            await ask(each, server.url, "PUT", body=body)


async def test_a_body_that_cannot_be_read_fails_as_it_does():
    async def opened():
        yield b"hel"
        raise FileNotFoundError("gone")

    async def play(peer):
        await peer.head()
        await peer.closed()

    async with origin(play) as server, client() as each:
        with pytest.raises(FileNotFoundError, match="gone"):
            await ask(each, server.url, "PUT", body=Upload(opened))


async def test_a_body_is_opened_again_for_the_second_attempt():
    opened = 0

    async def body():
        nonlocal opened
        opened += 1
        yield b"hello"

    async def swallowing(peer):
        await peer.request()
        await peer.send(OK)
        await peer.request()

    async with origin(swallowing, answering(OK)) as server, client() as each:
        await ask(each, server.url)
        assert await ask(each, server.url, "PATCH", body=Upload(body, 5)) == (200, b"ok")
        assert opened == 2


async def test_a_request_that_is_cancelled_while_sending_closes_the_body():
    async def play(peer):
        await peer.head()
        asked.set()
        await trio.sleep_forever()

    asked, body = trio.Event(), Endless()
    async with origin(play) as server, client() as each:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: ask(each, server.url, "PUT", body=Upload(body.open)))
            await asked.wait()
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert body.closed == 1
