import re

import pytest
import trio
import trio.testing
from http_peer import connected, exchange, parse, rest, until

from trioker.http.limits import COUNTED_PIECE, PIECE, Limits
from trioker.http.messages import BodyTooLarge, Instead, Request, Response, Stream, Takeover

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


async def swallow(request: Request) -> Response:
    return Response(200, await request.body.read(1 << 20))


async def test_a_reply_has_its_length_a_date_and_no_connection_header():
    answer = await exchange(GET)
    assert re.fullmatch(
        rb"HTTP/1.1 200 OK\r\nDate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\nContent-Length: 6\r\n\r\nGET /a",
        answer,
    )


async def test_pipelined_requests_are_answered_in_order():
    count = 50
    requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(count))
    assert [body for _, _, body in parse(await exchange(requests))] == [b"GET /%d" % n for n in range(count)]


async def test_a_request_may_come_byte_by_byte():
    async with connected() as stream:
        for byte in GET:
            await stream.send_all(bytes([byte]))
        assert (await until(stream, b"GET /a")).startswith(b"HTTP/1.1 200")


async def test_empty_lines_before_a_request_are_forgiven():
    assert len(parse(await exchange(b"\r\n" + GET + b"\r\n\r\n" + GET))) == 2


async def test_a_body_of_known_length_is_read_and_the_next_request_follows():
    post = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    assert [body for _, _, body in parse(await exchange(post + post, swallow))] == [b"hello", b"hello"]


async def test_a_chunked_body_is_read_and_the_next_request_follows():
    post = b"POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;ext=1\r\nlo\r\n0\r\nTrailer: t\r\n\r\n"
    assert [body for _, _, body in parse(await exchange(post + post, swallow))] == [b"hello", b"hello"]


async def test_a_large_body_comes_in_small_pieces():
    sizes = []

    async def measure(request: Request) -> Response:
        sizes.extend([len(piece) async for piece in request.body])
        return Response(200)

    body = bytes(1_000_000)
    await exchange(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + body, measure)
    assert sum(sizes) == len(body)
    assert max(sizes) <= COUNTED_PIECE


async def test_a_body_over_the_readers_limit_is_413_and_the_connection_goes_on():
    async def small(request: Request) -> Response:
        await request.body.read(4)
        raise AssertionError

    chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    counted = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    answers = parse(await exchange(chunked + counted, small))
    assert [(status, body) for status, _, body in answers] == [
        (413, b"the request's body is longer than 4 bytes\n")
    ] * 2


async def test_a_handler_may_answer_a_body_error_its_own_way():
    async def own(request: Request) -> Response:
        try:
            return Response(200, await request.body.read(4))
        except BodyTooLarge:
            return Response(400, b"own")

    assert parse(await exchange(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", own))[0][2] == b"own"


async def test_an_unread_small_body_is_dropped_and_the_connection_goes_on():
    post = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nfalse"
    assert [body for _, _, body in parse(await exchange(post + GET))] == [b"POST /b", b"GET /a"]


async def test_an_unread_large_body_ends_the_connection_after_a_reply_that_does_not_say_so():
    size = Limits().drain_bytes + 2 * PIECE
    post = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
    ((status, headers, _),) = parse(await exchange(post + bytes(size) + GET))
    assert status == 200
    assert b"connection" not in headers


async def test_a_body_that_ends_early_is_400():
    answer = await exchange(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhello", swallow)
    ((status, headers, body),) = parse(answer)
    assert status == 400
    assert body.startswith(b"bad request body")
    assert headers[b"connection"] == b"close"


@pytest.mark.parametrize(
    "chunk", [b"zz\r\n", b"-1\r\n", b"5\nhello\r\n", b"fffffffffffffffffffff\r\n", b"2\r\nabc\r\n", b"0x3\r\nabc\r\n"]
)
async def test_malformed_chunks_are_400(chunk):
    answer = await exchange(
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n", swallow
    )
    assert [status for status, _, _ in parse(answer)] == [400]


async def test_continue_is_sent_when_the_handler_first_reads():
    async with connected(swallow) as stream:
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await until(stream, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await stream.send_all(b"ok" + GET)
        answer = await until(stream, b"ok")
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"Connection" not in answer


async def test_continue_is_not_sent_when_the_body_is_there_already():
    post = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok"
    assert (await exchange(post, swallow)).startswith(b"HTTP/1.1 200")


async def test_continue_is_not_sent_when_the_handler_does_not_read_and_the_connection_ends():
    async with connected() as stream:
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        ((status, headers, _),) = parse(await rest(stream))
        assert status == 200
        assert headers[b"connection"] == b"close"


async def test_a_stream_that_reads_the_body_first_sends_continue_before_its_head():
    async def upload(request: Request) -> Stream:
        async def write(send):
            await send(await request.body.read(10))

        return Stream(200, write)

    async with connected(upload) as stream:
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await until(stream, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await stream.send_all(b"ok")
        assert parse(await until(stream, b"\r\n0\r\n\r\n"))[0][2] == b"ok"


async def test_head_gets_the_headers_of_the_body_it_does_not_get():
    ((status, headers, body),) = parse(await exchange(b"HEAD /abc HTTP/1.1\r\nHost: x\r\n\r\n"), "HEAD")
    assert (status, headers[b"content-length"], body) == (200, b"9", b"")


async def test_head_of_a_stream_does_not_run_it():
    async def never(_send):
        raise AssertionError

    async def handler(_: Request) -> Stream:
        return Stream(200, never)

    answer = await exchange(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" * 2, handler)
    assert [headers[b"transfer-encoding"] for _, headers, _ in parse(answer, "HEAD")] == [b"chunked"] * 2


@pytest.mark.parametrize("status", [204, 304])
async def test_a_reply_that_has_no_body_says_no_length(status):
    async def handler(_: Request) -> Response:
        return Response(status)

    answers = parse(await exchange(GET * 2, handler))
    assert [b"content-length" in headers for _, headers, _ in answers] == [False, False]


async def test_an_empty_reply_says_so():
    async def handler(_: Request) -> Response:
        return Response(201)

    assert parse(await exchange(GET, handler))[0][1][b"content-length"] == b"0"


@pytest.mark.parametrize(
    ("request_head", "connection"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"close"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: foo, Close\r\n\r\n", b"close"),
        (b"GET / HTTP/1.0\r\n\r\n", b"close"),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", b"keep-alive"),
    ],
)
async def test_a_connection_is_kept_as_its_client_asks(request_head, connection):
    answers = parse(await exchange(request_head * 2))
    assert [headers[b"connection"] for _, headers, _ in answers] == [connection] * (1 if connection == b"close" else 2)


async def numbers(_: Request) -> Stream:
    async def write(send):
        for n in range(3):
            await send(b"%d\n" % n)
        await send(b"")

    return Stream(200, write, [(b"Content-Type", b"text/plain")])


async def test_a_stream_of_unknown_length_is_chunked():
    answer = await exchange(GET * 2, numbers)
    assert b"\r\n\r\n2\r\n0\n\r\n2\r\n1\n\r\n2\r\n2\n\r\n0\r\n\r\n" in answer
    assert [body for _, _, body in parse(answer)] == [b"0\n1\n2\n"] * 2


async def test_a_stream_to_an_old_client_ends_with_its_connection():
    answer = await exchange(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2, numbers)
    assert answer.endswith(b"\r\nConnection: close\r\n\r\n0\n1\n2\n")


async def test_a_stream_of_known_length_keeps_the_connection():
    async def handler(_: Request) -> Stream:
        async def write(send):
            await send(b"ab")
            await send(b"c")

        return Stream(200, write, length=3)

    assert [body for _, _, body in parse(await exchange(GET * 2, handler))] == [b"abc", b"abc"]


async def test_each_piece_of_a_stream_is_sent_at_once():
    more = trio.Event()

    async def handler(_: Request) -> Stream:
        async def write(send):
            await send(b"first")
            await more.wait()

        return Stream(200, write)

    async with connected(handler) as stream:
        await stream.send_all(GET)
        assert b"\r\n5\r\nfirst\r\n" in await until(stream, b"first\r\n")
        more.set()
        await until(stream, b"0\r\n\r\n")


async def test_the_head_of_a_silent_stream_is_sent_at_once():
    over = trio.Event()

    async def handler(_: Request) -> Stream:
        async def write(_send):
            await over.wait()

        return Stream(200, write)

    async with connected(handler) as stream:
        await stream.send_all(GET)
        assert (await until(stream, b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        over.set()
        assert await until(stream, b"\r\n\r\n") == b"0\r\n\r\n"


async def test_the_head_of_a_held_stream_waits_for_its_first_piece():
    more, asked = trio.Event(), trio.Event()

    async def handler(_: Request) -> Stream:
        async def write(send):
            asked.set()
            await more.wait()
            await send(b"first")

        return Stream(200, write, held=True)

    async with connected(handler) as stream:
        await stream.send_all(GET)
        await asked.wait()
        await trio.testing.wait_all_tasks_blocked()
        more.set()
        assert (await until(stream, b"0\r\n\r\n")).endswith(b"5\r\nfirst\r\n0\r\n\r\n")


async def test_a_held_stream_without_a_piece_is_empty():
    async def handler(_: Request) -> Stream:
        async def write(_send):
            pass

        return Stream(200, write, held=True)

    assert [(status, body) for status, _, body in parse(await exchange(GET * 2, handler))] == [(200, b"")] * 2


@pytest.mark.parametrize(
    ("failure", "status", "text"),
    [
        (Instead(Response(404, b"no such image\n")), 404, b"no such image\n"),
        (BodyTooLarge("too much"), 413, b"too much\n"),
        (KeyError("secret"), 500, b"internal error\n"),
    ],
)
async def test_a_held_stream_that_fails_before_its_first_piece_is_another_reply(failure, status, text):
    async def handler(_: Request) -> Stream:
        async def write(_send):
            raise failure

        return Stream(200, write, held=True)

    answers = parse(await exchange(GET * 2, handler))
    assert [(got, body) for got, _, body in answers] == [(status, text)] * 2


async def test_a_stream_that_reads_a_broken_body_before_its_first_piece_says_so(caplog):
    async def upload(request: Request) -> Stream:
        async def write(send):
            await send(await request.body.read(10))

        return Stream(200, write, held=True)

    answer = await exchange(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhello", upload)
    assert [status for status, _, _ in parse(answer)] == [400]
    assert not caplog.text


@pytest.mark.parametrize("length", [None, 1, 100])
async def test_a_stream_that_fails_cuts_the_connection(length, caplog):
    async def handler(_: Request) -> Stream:
        async def write(send):
            await send(b"x")
            raise OSError("disk on fire")

        return Stream(200, write, length=length)

    answer = await exchange(GET * 2, handler)
    assert answer.count(b"HTTP/1.1") == 1
    assert not answer.endswith(b"0\r\n\r\n")
    assert "disk on fire" in caplog.text


@pytest.mark.parametrize("sent", [b"", b"toolong"])
async def test_a_stream_that_breaks_its_promised_length_is_cut(sent, caplog):
    async def handler(_: Request) -> Stream:
        async def write(send):
            await send(sent)

        return Stream(200, write, length=3)

    assert (await exchange(GET * 2, handler)).count(b"HTTP/1.1") == 1
    assert "the reply's body is" in caplog.text


async def test_a_handler_that_fails_is_500_logged_and_the_connection_goes_on(caplog):
    async def broken(_: Request) -> Response:
        raise KeyError("secret")

    answers = parse(await exchange(GET * 2, broken))
    assert [(status, body) for status, _, body in answers] == [(500, b"internal error\n")] * 2
    assert answers[0][1][b"content-type"] == b"text/plain; charset=utf-8"
    assert "secret" in caplog.text


async def test_a_reply_cannot_be_made_to_hold_a_header_it_should_not():
    async def split(request: Request) -> Response:
        return Response(301, b"", [(b"Location", request.path.encode())])

    ((status, headers, _),) = parse(await exchange(b"GET /%0d%0aSet-Cookie:%20a HTTP/1.1\r\nHost: x\r\n\r\n", split))
    assert status == 500
    assert b"set-cookie" not in headers


@pytest.mark.parametrize("expected_early", [b"", b"early keys\r\n\r\n"])
async def test_a_taken_stream_begins_with_what_came_behind_the_head(expected_early):
    async def attach(_: Request) -> Takeover:
        async def run(stream):
            await stream.send_all(b"HELLO ")
            received = b""
            while piece := await stream.receive_some(3):
                received += piece
            await stream.send_all(b"<" + received + b">")
            await stream.send_eof()

        return Takeover(run)

    async with connected(attach) as stream:
        await stream.send_all(
            b"POST / HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n" + expected_early
        )
        assert await until(stream, b" ") == b"HELLO "
        await stream.send_all(b"late keys")
        await stream.send_eof()
        assert await rest(stream) == b"<" + expected_early + b"late keys>"


async def test_a_takeover_with_a_body_starts_behind_it():
    async def attach(_: Request) -> Takeover:
        async def run(stream):
            await stream.send_all(await rest(stream))

        return Takeover(run)

    post = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\nkeys"
    assert await exchange(post, attach) == b"keys"


async def test_a_takeover_within_an_endless_body_is_refused():
    async def attach(_: Request) -> Takeover:
        raise AssertionError

    async def handler(_: Request) -> Takeover:
        return Takeover(attach)

    post = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"
    assert b"must end before" in await exchange(post, handler)


async def test_bad_requests_are_told_and_end_the_connection():
    ((status, headers, body),) = parse(await exchange(b"GARBAGE\r\n\r\n" + GET))
    assert status == 400
    assert headers[b"connection"] == b"close"
    assert headers[b"content-type"] == b"text/plain; charset=utf-8"
    assert body.endswith(b"\n")


async def test_the_log_has_no_query_which_may_hold_secrets(caplog):
    caplog.set_level("DEBUG")

    async def fail(_):
        raise ValueError

    request = b"POST /build?remote=https://me:s3cret@h/x.git HTTP/1.1\r\nHost: x\r\n\r\n"
    await exchange(request)
    await exchange(request, fail)
    assert "POST /build: 200" in caplog.text
    assert "POST /build failed" in caplog.text
    assert "s3cret" not in caplog.text
