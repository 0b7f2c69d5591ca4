"""Replies in the forms that every dialect uses."""

import json

from trioker.http.messages import Response

JSON_TYPE = (b"Content-Type", b"application/json")
"""Without a charset: the command line client of 2013 compares the whole string (behaviour.md section 1)."""

TEXT_TYPE = (b"Content-Type", b"text/plain; charset=utf-8")


def encode_json(value: object) -> bytes:
    """Compact JSON. A file name that is not UTF-8 gets ``?`` for each stray byte: JSON cannot carry it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def json_reply(value: object, *, status: int = 200) -> Response:
    """A value as a JSON reply."""
    return Response(status, encode_json(value), (JSON_TYPE,))


def text_reply(text: str, *, status: int = 200) -> Response:
    """A text as it stands."""
    return Response(status, text.encode("utf-8", "replace"), (TEXT_TYPE,))
