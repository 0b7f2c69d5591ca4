"""The bytes of a reply's head.

Written here and not by h11, which cannot keep an HTTP/1.0 connection alive and takes several events for a reply that is one piece of bytes.
"""

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from trioker.http.heads import Head
from trioker.http.messages import Headers, Response, Stream

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}


def plain(status: int, text: str) -> Response:
    """An error of the server itself: one line of text."""
    body = text.encode("utf-8", "replace") + b"\n"
    return Response(status, body, [(b"Content-Type", b"text/plain; charset=utf-8")])


def response(reply: Response, head: Head | None, *, keep: bool, extra: bytes = b"") -> bytes:
    """A whole reply. ``head`` is what it answers, None if that could not be read; ``extra`` are finished header lines."""
    if reply.status in {204, 304}:
        return _head(reply.status, reply.headers, _life(head, keep=keep) + extra)
    framing = b"Content-Length: %d\r\n" % len(reply.body)
    start = _head(reply.status, reply.headers, framing + _life(head, keep=keep) + extra)
    return start if head is not None and head.method == "HEAD" else start + reply.body


def stream_head(reply: Stream, head: Head, *, keep: bool, extra: bytes = b"") -> bytes:
    """The head of a reply whose body follows."""
    framing = b"" if head.old else b"Transfer-Encoding: chunked\r\n"
    if reply.length is not None:
        framing = b"Content-Length: %d\r\n" % reply.length
    return _head(reply.status, reply.headers, framing + _life(head, keep=keep) + extra)


def _life(head: Head | None, *, keep: bool) -> bytes:
    if not keep:
        return b"Connection: close\r\n"
    return b"Connection: keep-alive\r\n" if head is not None and head.old else b""


def _head(status: int, headers: Headers, more: bytes) -> bytes:
    lines = b"".join([b"%s: %s\r\n" % header for header in headers])
    # A value that ends its line would let a client's text (a redirect's Location) write headers.
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers) or b"\0" in lines:
        raise ValueError("a reply's header holds a line end or a NUL")
    start = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
    return start + lines + _date(int(time.time())) + more + b"\r\n"


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return b"Date: %s\r\n" % formatdate(second, usegmt=True).encode()
