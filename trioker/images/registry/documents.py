"""JSON from a registry: nothing is believed before its type is checked, and every refusal names the field.

As Go reads it, which wrote most of it: unknown keys are ignored, null is as good as missing.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import NoReturn

import attrs

from trioker.images.registry.names import check_digest
from trioker.model.errors import InvalidParameter, TriokerError

SHOWN = 60
"""Characters of a wrong value that an error repeats."""
_INT64 = range(2**63)
_UNSOUND = re.compile("[\0\ud800-\udfff]")


class BadDocument(TriokerError):
    """A registry's document that breaks its format, or is of a format trioker does not read; the text says which and where."""


def printable(text: str, limit: int = SHOWN) -> str:
    """A stranger's words made fit for a terminal and a log: one line, cut short, nothing invisible."""
    shown = "".join(character if character.isprintable() else " " for character in text[: limit + 1]).strip()
    return shown if len(text) <= limit else shown[:limit] + "..."


def show(value: object) -> str:
    """A value as an error shows it."""
    return (
        printable(json.dumps(value, default=str))
        if not isinstance(value, list | dict)
        else f"a JSON {_KINDS[type(value)]}"
    )


_KINDS: Mapping[type, str] = {list: "array", dict: "object"}


@attrs.frozen
class Document:
    """A JSON object whose values are taken by name and type. Each getter gives the type's zero for what is missing; raises BadDocument."""

    what: str
    """What errors call it: ``manifest of busybox:latest``."""
    values: Mapping[str, object]

    def wrong(self, name: str, expected: str) -> BadDocument:
        """The error for a field."""
        return BadDocument(f"{self.what}: {printable(name)}: expected {expected}, got {show(self.values.get(name))}")

    def has(self, name: str) -> bool:
        """Whether there is such a field, and not null."""
        return self.values.get(name) is not None

    def text(self, name: str) -> str:
        """A string."""
        value = self.values.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.wrong(name, "a string")
        return self._sound(name, value)

    def integer(self, name: str) -> int:
        """A number from 0 to 2**63 - 1."""
        value = self.values.get(name)
        if value is None:
            return 0
        if not isinstance(value, int) or isinstance(value, bool) or value not in _INT64:
            raise self.wrong(name, "an integer from 0 to 2**63 - 1")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self.values.get(name)
        if not isinstance(value, bool | None):
            raise self.wrong(name, "true or false")
        return bool(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self.values.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(name, "a list of strings")
        return tuple(self._sound(name, item) for item in value)

    def keys(self, name: str) -> tuple[str, ...]:
        """The keys of an object that serves as a set."""
        value = self.values.get(name)
        if value is None:
            return ()
        if not isinstance(value, dict):
            raise self.wrong(name, "an object")
        return tuple(self._sound(name, key) for key in value)

    def pairs(self, name: str) -> tuple[tuple[str, str], ...]:
        """An object of strings."""
        inner = self.document(name)
        return tuple((key, inner.text(key)) for key in self.keys(name))

    def digest(self, name: str) -> str:
        """``sha256:...``; a missing one is an error, too."""
        return self._checked_digest(name, self.text(name))

    def digests(self, name: str, most: int) -> tuple[str, ...]:
        """A list of digests, ``most`` at most."""
        values = self.texts(name)
        if len(values) > most:
            raise BadDocument(f"{self.what}: {name}: {len(values)} entries, and more than {most} are not read")
        return tuple(self._checked_digest(name, value) for value in values)

    def _checked_digest(self, name: str, value: str) -> str:
        try:
            return check_digest(value)
        except InvalidParameter as error:
            raise BadDocument(f"{self.what}: {name}: {error}") from None

    def document(self, name: str) -> "Document":
        """An object; a missing one is empty."""
        value = self.values.get(name)
        if not isinstance(value, dict | None):
            raise self.wrong(name, "an object")
        return Document(f"{self.what}: {name}", value or {})

    def documents(self, name: str, most: int) -> "Sequence[Document]":
        """A list of objects, ``most`` at most."""
        value = self.values.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.wrong(name, "a list of objects")
        if len(value) > most:
            raise BadDocument(f"{self.what}: {name}: {len(value)} entries, and more than {most} are not read")
        return [Document(f"{self.what}: {name}[{place}]", item) for place, item in enumerate(value)]

    def _sound(self, name: str, text: str) -> str:
        """Raises BadDocument for what neither the kernel nor a file could take: NUL, or half a surrogate pair."""
        if _UNSOUND.search(text):
            raise BadDocument(f"{self.what}: {printable(name)}: a NUL or half a surrogate pair in {show(text)}")
        return text


def read_document(raw: bytes, what: str) -> Document:
    """A JSON object. Raises BadDocument."""
    try:
        value = json.loads(raw.decode(), parse_constant=_no_constant)
    except ValueError as error:
        raise BadDocument(f"{what}: not valid JSON: {printable(str(error))}") from None
    except RecursionError:
        raise BadDocument(f"{what}: nested too deeply") from None
    if not isinstance(value, dict):
        raise BadDocument(f"{what}: expected a JSON object, got {show(value)}")
    return Document(what, value)


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")
