"""Which words of an instruction take variables: those of the Dockerfile reference, "Environment replacement".

RUN, CMD, ENTRYPOINT, SHELL, HEALTHCHECK and MAINTAINER take none: what runs has a shell for it. An ONBUILD trigger takes its own when it runs.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs

from trioker.images.dockerfile.expansion import Lookup, expand, expand_document, expand_words
from trioker.images.dockerfile.instructions import (
    Add,
    Arg,
    Assignment,
    Copy,
    Env,
    Expose,
    From,
    Heredoc,
    Instruction,
    Label,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from trioker.images.dockerfile.ports import exposed_ports
from trioker.images.dockerfile.words import shown
from trioker.model.errors import InvalidParameter

T = TypeVar("T", bound=Instruction)

_CHECKSUM = re.compile(r"(sha256:[0-9a-f]{64})?")


def expanded(instruction: T, lookup: Lookup, escape: str = "\\") -> T:
    """The instruction as it is carried out. Raises InvalidParameter naming the line."""
    fields = _FIELDS.get(type(instruction), {})
    words = _Words(lookup, escape)
    try:
        changes: dict[str, Any] = {name: change(words, getattr(instruction, name)) for name, change in fields.items()}
    except (ValueError, InvalidParameter) as error:
        raise InvalidParameter(f"dockerfile parse error on line {instruction.line}: {error}") from None
    return attrs.evolve(instruction, **changes)


@attrs.frozen
class _Words:
    """How each shape of field is expanded."""

    lookup: Lookup
    escape: str

    def one(self, word: str) -> str:
        return expand(word, self.lookup, self.escape)

    def filled(self, word: str) -> str:
        """What must not come to nothing."""
        value = self.one(word)
        if not value.strip():
            raise ValueError(f"{shown(word)!r} comes to nothing")
        return value

    def each(self, words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(self.filled, words))

    def assignments(self, pairs: tuple[Assignment, ...]) -> tuple[Assignment, ...]:
        """All by the values from before the instruction (Dockerfile reference: ``ENV abc=bye def=$abc``)."""
        return tuple(
            Assignment(self.filled(pair.name), None if pair.value is None else self.one(pair.value)) for pair in pairs
        )

    def documents(self, files: tuple[Heredoc, ...]) -> tuple[Heredoc, ...]:
        return tuple(
            attrs.evolve(file, content=expand_document(file.content, self.lookup)) if file.expands else file
            for file in files
        )

    def ports(self, specs: tuple[str, ...]) -> tuple[str, ...]:
        return exposed_ports(port for spec in specs for port in expand_words(spec, self.lookup, self.escape))

    def checksum(self, word: str) -> str:
        value = self.one(word)
        if not _CHECKSUM.fullmatch(value):
            raise ValueError(f"ADD --checksum must be sha256: and 64 hexadecimal digits, not {shown(value)}")
        return value


_Expansion = Callable[[_Words, Any], object]
_COPYING: Mapping[str, _Expansion] = {
    "sources": _Words.each,
    "destination": _Words.filled,
    "files": _Words.documents,
    "owner": _Words.one,
    "mode": _Words.one,
    "exclude": _Words.each,
}
_FIELDS: Mapping[type[Instruction], Mapping[str, _Expansion]] = {
    From: {"image": _Words.filled, "platform": _Words.one},
    Env: {"variables": _Words.assignments},
    Label: {"labels": _Words.assignments},
    Arg: {"arguments": _Words.assignments},
    Copy: _COPYING,
    Add: {**_COPYING, "checksum": _Words.checksum},
    Workdir: {"path": _Words.filled},
    User: {"user": _Words.filled},
    Volume: {"paths": _Words.each},
    Expose: {"ports": _Words.ports},
    StopSignal: {"signal": _Words.filled},
}
