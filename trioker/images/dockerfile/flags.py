"""The ``--name=value`` words between an instruction's word and its arguments."""

import enum
from collections.abc import Iterable, Mapping

import attrs

from trioker.images.dockerfile.words import shown


class Kind(enum.Enum):
    """What a flag takes."""

    VALUE = "value"
    SWITCH = "switch"
    LIST = "list"


@attrs.frozen
class Flags:
    """An instruction's flags, all of them known to it."""

    _given: Mapping[str, list[str]]

    def value(self, name: str, default: str = "") -> str:
        """What was given, else ``default``."""
        return self._given.get(name, [default])[-1]

    def values(self, name: str) -> tuple[str, ...]:
        """All that was given."""
        return tuple(self._given.get(name, ()))

    def on(self, name: str) -> bool:
        """Whether a switch is on."""
        return self.value(name, "false") == "true"


def read_flags(words: Iterable[str], known: Mapping[str, Kind]) -> Flags:
    """Raises ValueError for a flag the instruction does not have, twice the same, one without its value."""
    given: dict[str, list[str]] = {}
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        kind = known.get(name)
        if kind is None:
            raise ValueError(f"unknown flag: --{shown(name)}")
        if name in given and kind is not Kind.LIST:
            raise ValueError(f"duplicate flag specified: {name}")
        given.setdefault(name, []).append(_value(name, kind, value if equals else None))
    return Flags(given)


def _value(name: str, kind: Kind, value: str | None) -> str:
    if kind is Kind.SWITCH:
        value = "true" if value is None else value.lower()
        if value not in ("true", "false"):
            raise ValueError(f"expecting boolean value for flag {name}, not: {shown(value)}")
    if value is None:
        raise ValueError(f"missing a value on flag: {name}")
    return value
