"""Query parameters, read by type; what cannot be read is refused by name (behaviour.md section 0, "bad input")."""

import re
from collections.abc import Iterable, Mapping
from typing import Self
from urllib.parse import parse_qsl

import attrs

from trioker.api.decoding import BODY_LIMIT, INT64, show
from trioker.http.messages import Request
from trioker.model.errors import InvalidParameter

FORM_TYPE = b"application/x-www-form-urlencoded"
FORM_FIELDS = 1000
"""Fields in one form; no endpoint knows ten."""

TRUE = ("1", "true")
FALSE = ("", "0", "false")
NUMBER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)


@attrs.frozen
class Parameters:
    """Parameters by name. Of a repeated one the first counts."""

    values: Mapping[str, str]

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Self:
        """From pairs in the order they were sent."""
        values: dict[str, str] = {}
        for name, value in pairs:
            values.setdefault(name, value)
        return cls(values)

    def text(self, name: str) -> str:
        """The value as sent; empty when missing."""
        return self.values.get(name, "")

    def flag(self, name: str) -> bool:
        """1 or true in any case; 0, false, empty and missing are false."""
        word = self.text(name).lower()
        if word not in TRUE + FALSE:
            raise InvalidParameter(f"{name}: expected 1, true, 0 or false, got {show(self.text(name))}")
        return word in TRUE

    def number(self, name: str, default: int) -> int:
        """A decimal integer of at most 64 bits; empty and missing are the default."""
        text = self.text(name)
        if not text:
            return default
        if not NUMBER.fullmatch(text) or int(text) not in INT64:
            raise InvalidParameter(f"{name}: expected a whole number, got {show(text)}")
        return int(text)


def has_form(request: Request) -> bool:
    """Whether the body says that it is a form."""
    return request.header(b"content-type").partition(b";")[0].strip().lower() == FORM_TYPE


def query_parameters(request: Request) -> Parameters:
    """Those in the URL."""
    return Parameters.of(request.query)


async def form_parameters(request: Request) -> Parameters:
    """Those in a form body if there is one, then those in the URL (Go's ``Request.Form``). Only for endpoints without another body."""
    if not has_form(request):
        return query_parameters(request)
    form = (await request.body.read(BODY_LIMIT)).decode("utf-8", "replace")
    try:
        pairs = parse_qsl(form, keep_blank_values=True, max_num_fields=FORM_FIELDS)
    except ValueError as error:
        raise InvalidParameter(f"body: not a form of at most {FORM_FIELDS} fields") from error
    return Parameters.of([*pairs, *request.query])
