"""From the bytes of a request's head to its parts: strict, and without I/O.

h11 parses; before it, what it forgives is refused here, because two readers that disagree on where a message ends are how requests are
smuggled (RFC 9112 section 11.2).
"""

import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, unquote

import attrs
import h11

from trioker.http.limits import Limits

_BARE_LF = re.compile(rb"(?<!\r)\n")
_UNSOUND = re.compile(rb"(?<!\r)\n|\r(?!\n)|\n[ \t]|\0")
_REPEATED_LENGTH = re.compile(rb"\ncontent-length:(?:[^\n]*,|.*\ncontent-length:)", re.IGNORECASE | re.DOTALL)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ABSOLUTE = re.compile(r"https?://([^/?#@]*)([/?].*)?", re.IGNORECASE)
_SHOWN = 200
"""Characters of the parser's complaint that are repeated to the client."""


class BadRequest(Exception):
    """A request that is answered with ``status`` and the text, and ends its connection."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@attrs.frozen
class Head:
    """A sound request head."""

    method: str
    target: str
    path: str
    query: Sequence[tuple[str, str]]
    authority: bytes
    """The host named by a target in absolute form, else empty."""
    headers: Sequence[tuple[bytes, bytes]]
    old: bool
    """HTTP/1.0: no chunked reply, and kept alive only when asked."""
    keep_alive: bool
    has_body: bool
    length: int
    """The body's announced bytes, 0 if chunked or none."""
    expects_continue: bool
    parser: h11.Connection
    """Ready for the body's bytes."""

    @property
    def shown(self) -> str:
        """The target for the log: without its query, which may hold a password, a token or somebody's build arguments."""
        return self.target.partition("?")[0]


def find_end(buffer: bytearray, searched: int, limits: Limits) -> int:
    """Index behind the head in ``buffer``, 0 while it is incomplete. ``searched`` bytes were there at the last call.

    Raises BadRequest as soon as the bytes cannot become a sound head.
    """
    end = buffer.find(b"\r\n\r\n", max(0, searched - 3)) + 4
    known = len(buffer) if end == 3 else end
    if known > limits.head_bytes:
        raise BadRequest(431, f"the request's head is longer than {limits.head_bytes} bytes")
    if buffer[0] < 0x21:
        raise BadRequest(400, "this is not an HTTP request")
    if end > 3:
        return end
    if _BARE_LF.search(buffer, searched):
        raise BadRequest(400, "a line of the request's head ends without CR")
    return 0


def parse_head(raw: bytes, limits: Limits) -> Head:
    """The parts of a complete head. Raises BadRequest."""
    if _UNSOUND.search(raw):
        raise BadRequest(400, "the request's head has a bare CR or LF, a NUL or a folded line")
    if raw.count(b"\n") > limits.headers + 2:
        raise BadRequest(431, f"the request has more than {limits.headers} headers")
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
    event = _parse(parser, raw)
    headers = [
        (name.lower(), value) for name, value in event.headers.raw_items()
    ]  # iterating Headers is 5 times slower
    names = {name for name, _ in headers}
    old = event.http_version == b"1.0"
    if not old and event.http_version != b"1.1":
        raise BadRequest(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    length = _check_framing(raw, headers, names, old=old)
    options = _connection_options(headers) if b"connection" in names else ()
    method, target = event.method.decode("ascii"), event.target.decode("ascii")
    authority, path, query = parse_target(method, target)
    return Head(
        method=method,
        target=target,
        path=path,
        query=query,
        authority=authority,
        headers=headers,
        old=old,
        keep_alive="close" not in options and (not old or "keep-alive" in options),
        has_body=length > 0 or b"transfer-encoding" in names,
        length=length,
        expects_continue=parser.they_are_waiting_for_100_continue,
        parser=parser,
    )


def _parse(parser: h11.Connection, raw: bytes) -> h11.Request:
    parser.receive_data(raw)
    try:
        event = parser.next_event()
    except h11.RemoteProtocolError as error:
        raise BadRequest(error.error_status_hint, f"malformed request: {str(error)[:_SHOWN]}") from None
    if not isinstance(event, h11.Request):
        raise BadRequest(400, "malformed request")
    return event


def _check_framing(raw: bytes, headers: Sequence[tuple[bytes, bytes]], names: set[bytes], *, old: bool) -> int:
    chunked = b"transfer-encoding" in names
    if chunked and old:
        raise BadRequest(400, "HTTP/1.0 knows no Transfer-Encoding")
    if b"content-length" not in names:
        return 0
    if chunked:
        raise BadRequest(400, "Content-Length and Transfer-Encoding exclude each other")
    if _REPEATED_LENGTH.search(raw):  # h11 takes equal ones for one
        raise BadRequest(400, "more than one Content-Length")
    return next(int(value) for name, value in headers if name == b"content-length")


def _connection_options(headers: Sequence[tuple[bytes, bytes]]) -> set[str]:
    values = (value for name, value in headers if name == b"connection")
    return {option.strip().lower() for value in values for option in value.decode("latin-1").split(",")}


def parse_target(method: str, target: str) -> tuple[bytes, str, Sequence[tuple[str, str]]]:
    """Authority (of an absolute target, RFC 9112 section 3.2.2), decoded path and query. Raises BadRequest."""
    authority = b""
    if method == "CONNECT":
        raise BadRequest(501, "this is no proxy: CONNECT is not served")
    if target == "*" and method == "OPTIONS":
        return authority, "/", ()
    if absolute := _ABSOLUTE.fullmatch(target):
        authority, target = absolute[1].encode("ascii"), absolute[2] or "/"
        target = target if target.startswith("/") else "/" + target
    if not target.startswith("/"):
        raise BadRequest(400, f"bad request target {target[:_SHOWN]!r}: a path begins with a slash")
    if "%" not in target and "?" not in target:
        return authority, target, ()
    if _BAD_ESCAPE.search(target):
        raise BadRequest(400, f"bad percent-encoding in {target[:_SHOWN]!r}")
    path, _, query = target.partition("?")
    return authority, _decode_path(path), _decode_query(query)


def _decode_path(path: str) -> str:
    try:
        decoded = unquote(path, errors="strict")
    except UnicodeDecodeError:
        raise BadRequest(400, f"the path {path[:_SHOWN]!r} is not UTF-8") from None
    if "\0" in decoded:
        raise BadRequest(400, "the path holds a NUL")
    return decoded


def _decode_query(query: str) -> Sequence[tuple[str, str]]:
    if not query:
        return ()
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=1000)
    except ValueError:
        raise BadRequest(400, "the query is not UTF-8, or has more than 1000 fields") from None
