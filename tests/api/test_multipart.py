"""multipart/form-data in pieces of any size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioker.api.multipart import HEAD_LIMIT, PARTS, Multipart, boundary_of
from trioker.model.errors import InvalidParameter

BOUNDARY = b"xYzZY"


def part(name, data, more=b""):
    return b'--%b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (BOUNDARY, name, more, data)


def form(*parts):
    return b"".join(part(name, data) for name, data in parts) + b"--" + BOUNDARY + b"--\r\n"


class Pieces:
    """The body cut at ``sizes``, the last size again and again; like the server's no generator, as it may be left half-way."""

    def __init__(self, body, sizes):
        self._body = body
        self._sizes = list(sizes)

    def __aiter__(self):
        return self

    async def __anext__(self):
        size = self._sizes.pop(0) if len(self._sizes) > 1 else self._sizes[0]
        piece, self._body = self._body[:size], self._body[size:]
        if not piece:
            raise StopAsyncIteration
        return piece


async def read(body, sizes=(2**16,), boundary=BOUNDARY):
    parts = Multipart(Pieces(body, sizes), boundary)
    found = []
    while (name := await parts.next_part()) is not None:
        data = b""
        while piece := await parts.read():
            data += piece
        found.append((name, data))
    assert await parts.next_part() is None
    return found


FRAGMENTS = [
    b"",
    b"\r\n",
    b"\r",
    b"--",
    b"\r\n--",
    b"\r\n--" + BOUNDARY[:-1],
    b"--" + BOUNDARY,
    b"tar",
    b"\0\xff",
    b"\n",
]
DATA = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=20), max_size=12).map(b"".join)


@given(
    data=st.lists(DATA.filter(lambda data: b"\r\n--" + BOUNDARY not in b"\r\n" + data), max_size=4),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=20),
    preamble=st.sampled_from([b"", b"\r\n", b"To be ignored.\r\n"]),
)
async def test_a_form_reads_the_same_however_it_is_cut(data, sizes, preamble):
    sent = [(b"Context" if number % 2 else b"Dockerfile", each) for number, each in enumerate(data)]
    expected = [(name.decode(), each) for name, each in sent]
    assert await read(preamble + form(*sent) + b"to be ignored", sizes) == expected


async def test_what_is_not_read_of_a_part_is_left_out():
    parts = Multipart(Pieces(form((b"a", b"x" * 1000), (b"b", b"y")), [10]), BOUNDARY)
    assert await parts.next_part() == "a"
    assert await parts.read()
    assert (await parts.next_part(), await parts.read(), await parts.read()) == ("b", b"y", b"")


async def test_little_of_a_large_part_is_held():
    body = part(b"a", bytes(10**6))
    parts = Multipart(Pieces(body, [1000]), BOUNDARY)
    await parts.next_part()
    for _ in range(900):
        assert len(await parts.read()) > 500
        assert len(parts._buffer) < 1000


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b'form-data; name="Dockerfile"; filename="x"', "Dockerfile"),
        (b'form-data; filename="name"; name="Context"', "Context"),
        (b"form-data; name=Context", "Context"),
        (b'form-data; name=""', ""),
        (b'form-data; name="\xff"', "\ufffd"),
    ],
)
async def test_a_part_has_the_name_of_its_disposition(disposition, name):
    head = b"Content-Type: application/x-tar\r\ncontent-disposition: " + disposition
    assert await read(b"--%b\r\n%b\r\n\r\nx\r\n--%b--" % (BOUNDARY, head, BOUNDARY)) == [(name, b"x")]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "the form ends before its last boundary"),
        (b"no form at all", "the form ends before its last boundary"),
        (form((b"a", b"x"))[:-4], "the form ends before its last boundary"),
        (part(b"a", b"x")[:-5], "the form ends before its last boundary"),
        (b"--" + BOUNDARY + b"\r\n\r\nx\r\n--" + BOUNDARY + b"--", "a part without a name"),
        (b"--" + BOUNDARY + b"\r\nA: b\r\n\r\nx\r\n--" + BOUNDARY + b"--", "a part without a name"),
        (part(b"a", b"", b"; x=" + b"y" * HEAD_LIMIT), f"the header of a part is longer than {HEAD_LIMIT} bytes"),
        (form(*[(b"a", b"")] * (PARTS + 1)), f"a form of more than {PARTS} parts"),
    ],
)
async def test_a_form_that_cannot_be_read_is_refused(body, text):
    with pytest.raises(InvalidParameter, match=f"^body: {text}$"):
        await read(body, [100])


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (b"multipart/form-data; boundary=abc", b"abc"),
        (b'Multipart/Form-Data ; charset=utf-8; Boundary="a b"', b"a b"),
        (b"multipart/form-data;boundary=a=b;x=y", b"a=b"),
        (b"application/tar", b""),
        (b"multipart/mixed; boundary=abc", b""),
        (b"", b""),
    ],
)
def test_the_boundary_is_in_the_content_type(content_type, boundary):
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type", [b"multipart/form-data", b"multipart/form-data; boundary=", b"multipart/form-data; xboundary=a"]
)
def test_a_form_without_its_boundary_is_refused(content_type):
    with pytest.raises(InvalidParameter, match=r"^Content-Type: multipart/form-data without its boundary$"):
        boundary_of(content_type)
