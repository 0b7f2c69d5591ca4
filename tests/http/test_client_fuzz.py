import h11
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from trioker.http.client import FetchError
from trioker.http.client.bodies import Body
from trioker.http.client.exchange import Exchange

TOKENS = [
    b"HTTP/1.1 ",
    b"HTTP/1.0 ",
    b"200 OK",
    b"100",
    b"101 Switching",
    b"304",
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b": ",
    b"Content-Length",
    b"Content-Length: 3",
    b"Transfer-Encoding: chunked",
    b"Connection: close",
    b"Upgrade: x",
    b"3",
    b"0",
    b"ffffffffffffffffff",
    b"abc",
    b"3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b" ",
    b"\t",
    b"\0",
    b"\xff",
]
ANSWERS = st.lists(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=4)), max_size=14).map(b"".join)


class Pieces:
    """A wire that gives an answer in pieces of one size, and forgets what it is given."""

    def __init__(self, answer: bytes, size: int) -> None:
        self.answer = answer
        self.size = size

    async def send_all(self, data):
        pass

    async def receive_some(self, max_bytes=None):
        given, self.answer = self.answer[: self.size], self.answer[self.size :]
        return given


async def outcome(answer: bytes, size: int, method: str) -> tuple:
    exchange = Exchange(Pieces(answer, size), "label")
    try:
        head = await exchange.ask(h11.Request(method=method, target="/", headers=[("Host", "h")]), None, 60)
        return head.status_code, b"".join([piece async for piece in Body(exchange, head, method).chunks()])
    except FetchError as error:
        return (type(error), str(error)[:5])


@settings(max_examples=400, deadline=None)
@given(ANSWERS, st.integers(1, 40), st.sampled_from(["GET", "HEAD", "PUT"]))
def test_whatever_a_server_says_is_an_answer_or_a_fetch_error(answer, size, method):
    told = trio.run(outcome, answer, size, method)
    assert isinstance(told[0], int) or told[1] == "label"


@given(st.binary(max_size=300), st.integers(1, 40), st.lists(st.integers(1, 50), max_size=10))
@settings(deadline=None)
def test_a_body_is_the_same_in_whatever_pieces_and_framing_it_comes(body, size, cuts):
    chunks, rest = [], body
    for cut in cuts:
        chunks.append(rest[:cut])
        rest = rest[cut:]
    chunked = (
        b"".join(b"%X;x=y\r\n%b\r\n" % (len(each), each) for each in [*chunks, rest] if each) + b"0\r\na: b\r\n\r\n"
    )
    framings = [
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
        b"Transfer-Encoding: chunked\r\n\r\n" + chunked,
        b"\r\n" + body,
    ]
    for framing in framings:
        assert trio.run(outcome, b"HTTP/1.1 200 OK\r\n" + framing, size, "GET") == (200, body)
