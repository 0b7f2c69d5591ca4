from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioker.http.heads import BadRequest, Head, find_end, parse_head, parse_target
from trioker.http.limits import Limits

LIMITS = Limits()
LINE = b"GET / HTTP/1.1\r\nHost: x\r\n"


def read(raw: bytes) -> Head:
    return parse_head(raw[: find_end(bytearray(raw), 0, LIMITS)], LIMITS)


def refused(raw: bytes) -> int:
    with pytest.raises(BadRequest) as caught:
        read(raw)
    return caught.value.status


def test_the_parts_of_a_head():
    head = parse_head(
        b"POST /a%20b/c?x=1&y=%2F&z HTTP/1.1\r\nHost: h:1\r\nX-Long: V\r\nContent-Length: 7\r\n\r\n", LIMITS
    )
    assert (head.method, head.target, head.path) == ("POST", "/a%20b/c?x=1&y=%2F&z", "/a b/c")
    assert head.query == [("x", "1"), ("y", "/"), ("z", "")]
    assert head.headers == [(b"host", b"h:1"), (b"x-long", b"V"), (b"content-length", b"7")]
    assert (head.keep_alive, head.old, head.has_body, head.length) == (True, False, True, 7)


@pytest.mark.parametrize("host", [b"Host:", b"Host: ", b"hOsT:\t"])
def test_an_empty_host_header_passes(host):
    assert (b"host", b"") in parse_head(b"GET / HTTP/1.1\r\n" + host + b"\r\n\r\n", LIMITS).headers


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="no host"),
        pytest.param(LINE + b"Host: y\r\n\r\n", 400, id="two hosts"),
        pytest.param(LINE + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400, id="two equal lengths"),
        pytest.param(LINE + b"Content-Length: 1\r\nX: y\r\ncontent-length: 1\r\n\r\n", 400, id="two lengths apart"),
        pytest.param(LINE + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, id="two lengths"),
        pytest.param(LINE + b"Content-Length: 1, 1\r\n\r\n", 400, id="length list"),
        pytest.param(LINE + b"Content-Length: +1\r\n\r\n", 400, id="signed length"),
        pytest.param(LINE + b"Content-Length: 0x1\r\n\r\n", 400, id="hexadecimal length"),
        pytest.param(LINE + b"Content-Length: 999999999999999999999\r\n\r\n", 400, id="absurd length"),
        pytest.param(LINE + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, id="length and chunked"),
        pytest.param(
            LINE + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 501, id="chunked twice"
        ),
        pytest.param(LINE + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501, id="other coding"),
        pytest.param(b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, id="chunked in 1.0"),
        pytest.param(LINE + b"A: b\nC: d\r\n\r\n", 400, id="bare LF"),
        pytest.param(b"GET / HTTP/1.1\nHost: x\n\n", 400, id="only bare LF"),
        pytest.param(LINE + b"A: b\rC: d\r\n\r\n", 400, id="bare CR"),
        pytest.param(LINE + b"A: b\r\n folded\r\n\r\n", 400, id="folded line"),
        pytest.param(LINE + b"A: b\0\r\n\r\n", 400, id="NUL"),
        pytest.param(LINE + b"A : b\r\n\r\n", 400, id="blank before colon"),
        pytest.param(LINE + b" A: b\r\n\r\n", 400, id="blank before name"),
        pytest.param(LINE + b"A\r\n\r\n", 400, id="no colon"),
        pytest.param(b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400, id="two blanks"),
        pytest.param(b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400, id="raw byte in target"),
        pytest.param(b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505, id="version"),
        pytest.param(b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 501, id="proxying"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01", 400, id="TLS"),
        pytest.param(LINE + b"A: b\r\n" * 100 + b"\r\n", 431, id="many headers"),
        pytest.param(LINE + b"A: " + b"b" * LIMITS.head_bytes, 431, id="long head"),
        pytest.param(b"G" * (LIMITS.head_bytes + 1), 431, id="long line"),
    ],
)
def test_unsound_heads_are_refused(raw, status):
    assert refused(raw) == status


def test_as_many_headers_as_allowed_pass():
    assert len(parse_head(LINE + b"A: b\r\n" * 99 + b"\r\n", LIMITS).headers) == 100


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"),
        ("//a//b/../c", "//a//b/../c"),
        ("/%2e%2E/%e2%82%ac", "/../€"),
        ("/a+b", "/a+b"),
        ("/a?", "/a"),
        ("http://host:1/path?x", "/path"),
        ("HTTPS://host", "/"),
        ("http://host?x=1", "/"),
    ],
)
def test_paths_are_decoded_and_not_cleaned(target, path):
    assert parse_target("GET", target)[1] == path


def test_the_host_of_an_absolute_target_is_kept_for_the_access_rules():
    assert parse_target("GET", "http://evil:80/")[0] == b"evil:80"


def test_options_may_ask_about_the_server():
    assert parse_target("OPTIONS", "*") == (b"", "/", ())


@pytest.mark.parametrize(
    "target",
    [
        "*",
        "a",
        "host:1",
        "/%",
        "/%2",
        "/%zz",
        "/%00",
        "/%ff",
        "/?%zz",
        "/?a=%ff",
        "ftp://h/",
        "http://u@h/",
        "/?" + "&a" * 1001,
    ],
)
def test_bad_targets_are_400(target):
    with pytest.raises(BadRequest) as caught:
        parse_target("GET", target)
    assert caught.value.status == 400


def test_a_head_is_found_wherever_it_is_cut():
    whole = LINE + b"\r\n"
    for cut in range(1, len(whole)):
        assert find_end(bytearray(whole[:cut]), 0, LIMITS) == 0
        assert find_end(bytearray(whole + b"body\n"), cut, LIMITS) == len(whole)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_head_or_refused(junk):
    for raw in (junk + b"\r\n\r\n", LINE + junk + b"\r\n\r\n", b"GET /" + junk + b" HTTP/1.1\r\nHost: x\r\n\r\n"):
        with suppress(BadRequest):
            assert read(raw).path.startswith("/")
