"""What a registry wants to see before it answers: the WWW-Authenticate field (RFC 9110, section 11.6.1)."""

import re
from collections.abc import Iterable, Iterator, Mapping

import attrs

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110's word for a word
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_SCHEME = re.compile(rf"[\s,]*({_TOKEN})(?=[\s,]|$)(?!\s*=)")
_PARAMETER = re.compile(rf"[\s,]*({_TOKEN})\s*=\s*({_QUOTED}|{_TOKEN})(?=[\s,]|$)")
_TOKEN68 = re.compile(r"[ \t]+[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)")


@attrs.frozen
class Challenge:
    """One way to prove who one is."""

    scheme: str
    """In lower case: ``basic``, ``bearer`` ..."""
    parameters: Mapping[str, str] = attrs.field(factory=dict)
    """Names in lower case; quotes taken off."""

    def __getitem__(self, name: str) -> str:
        """A parameter, "" if there is none."""
        return self.parameters.get(name, "")


def parse_challenges(fields: Iterable[str]) -> tuple[Challenge, ...]:
    """All challenges of all WWW-Authenticate fields. What cannot be read, and all that follows it in its field, is left out."""
    return tuple(challenge for field in fields for challenge in _parse(field))


def _parse(field: str) -> Iterator[Challenge]:
    place = 0
    while match := _SCHEME.match(field, place):
        parameters: dict[str, str] = {}
        place = match.end()
        if token68 := _TOKEN68.match(field, place):
            place = token68.end()
        while parameter := _PARAMETER.match(field, place):
            parameters.setdefault(parameter[1].lower(), _unquoted(parameter[2]))
            place = parameter.end()
        yield Challenge(match[1].lower(), parameters)


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
