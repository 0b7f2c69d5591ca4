"""JSON bodies of requests, read by the rules of Go's decoder (behaviour.md section 1).

Unknown keys are ignored, keys match in any case, null leaves the default. What has the wrong type is refused by name.
"""

import json
from collections.abc import Mapping
from typing import NoReturn, Self

import attrs

from trioker.http.messages import Request
from trioker.model.errors import InvalidParameter

BODY_LIMIT = 2**20
"""Bytes of a JSON or form body. The largest honest one is a command with its environment, and what matters of those must fit into
execve's 2 MiB at most (execve(2), ARG_MAX with the default stack); a quarter of that is already unheard of."""

SHOWN = 60
"""Characters of a wrong value that an error repeats: enough to recognise it."""

INT64 = range(-(2**63), 2**63)


def show(value: object) -> str:
    """A value as an error shows it: as JSON, cut short."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def check_text(label: str, text: str) -> str:
    """The text itself. Raises InvalidParameter where the kernel or a file could not take it: NUL, or half a surrogate pair."""
    if "\0" in text:
        raise InvalidParameter(f"{label}: a NUL byte is not allowed, got {show(text)}")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidParameter(f"{label}: not valid Unicode, got {text!a}")
    return text


def _lowered(value: Mapping[str, object]) -> Mapping[str, object]:
    return {key.lower(): item for key, item in value.items()}


@attrs.frozen
class Fields:
    """A JSON object whose values are taken by name and type. Every method gives the type's zero for what is missing or null."""

    values: Mapping[str, object]
    """Keys in lower case."""
    within: str = ""
    """How errors name the object, where it is part of another: ``Healthcheck.``."""

    @classmethod
    def of(cls, value: object) -> Self:
        """The fields of a decoded body; null has none. Raises InvalidParameter for anything but an object."""
        if value is None:
            return cls({})
        if not isinstance(value, dict):
            raise InvalidParameter(f"body: expected a JSON object, got {show(value)}")
        return cls(_lowered(value))

    def _get(self, name: str) -> object:
        return self.values.get(name.lower())

    def _wrong(self, name: str, expected: str, value: object) -> InvalidParameter:
        return InvalidParameter(f"{self.within}{name}: expected {expected}, got {show(value)}")

    def _checked(self, name: str, text: str) -> str:
        return check_text(f"{self.within}{name}", text)

    def text(self, name: str) -> str:
        """A string."""
        value = self._get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._wrong(name, "a string", value)
        return self._checked(name, value)

    def integer(self, name: str) -> int:
        """A number without fraction or exponent that fits 64 bits."""
        value = self._get(name)
        if value is None:
            return 0
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(name, "an integer", value)
        if value not in INT64:
            raise InvalidParameter(f"{self.within}{name}: {show(value)} does not fit into 64 bits")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._get(name)
        if not isinstance(value, bool | None):
            raise self._wrong(name, "true or false", value)
        return bool(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self._get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(name, "a list of strings", value)
        return tuple(self._checked(name, item) for item in value)

    def names(self, name: str, example: str) -> tuple[str, ...]:
        """The keys of an object that serves as a set: each has an empty object or null beside it."""
        value = self._get(name)
        if value is None:
            return ()
        if not isinstance(value, dict) or not all(item is None or isinstance(item, dict) for item in value.values()):
            raise self._wrong(name, f'an object like {{"{example}": {{}}}}', value)
        return tuple(self._checked(name, key) for key in value)

    def pairs(self, name: str) -> tuple[tuple[str, str], ...]:
        """An object of strings."""
        value = self._get(name)
        if value is None:
            return ()
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise self._wrong(name, 'an object like {"name": "value"}', value)
        return tuple((self._checked(name, key), self._checked(name, item)) for key, item in value.items())

    def part(self, name: str) -> Self | None:
        """An object of named values; None for one without any."""
        value = self._get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self._wrong(name, "a JSON object", value)
        return type(self)(_lowered(value), f"{self.within}{name}.") if value else None


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def decode_json(body: bytes) -> object:
    """The value a body holds. Raises InvalidParameter saying where it cannot be read."""
    if not body.strip():
        raise InvalidParameter("body: it is empty, expected a JSON object")
    try:
        value: object = json.loads(body.decode(), parse_constant=_no_constant)
    except ValueError as error:
        raise InvalidParameter(f"body: not valid JSON: {error}") from error
    except RecursionError as error:
        raise InvalidParameter("body: nested too deeply") from error
    return value


async def read_fields(request: Request) -> Fields:
    """The JSON object in a request's body, whatever its Content-Type says. A larger body than BODY_LIMIT is the server's to refuse."""
    return Fields.of(decode_json(await request.body.read(BODY_LIMIT)))
