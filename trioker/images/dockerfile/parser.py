"""A Dockerfile's text becomes its values."""

import difflib
from collections.abc import Iterable, Iterator

from trioker.images.dockerfile.grammar import WORDS, read
from trioker.images.dockerfile.instructions import Arg, Dockerfile, From, Instruction, OnBuild, Stage
from trioker.images.dockerfile.lines import BadLine, Lines, Statement
from trioker.images.dockerfile.words import check_text, first_word, shown
from trioker.model.errors import InvalidParameter

LARGEST = 2**20
"""Bytes of a Dockerfile. The largest that programs write have some 100 KB, and all a build holds in memory and shows grows with it."""

MOST_INSTRUCTIONS = 5000
"""Instructions of a Dockerfile: each becomes an image with a whole configuration. A long one has a hundred."""

_LONGEST_WORD = max(map(len, WORDS)) + 4  # a typing error adds little
_NO_TRIGGERS = ("ONBUILD", "FROM", "MAINTAINER")


def parse(source: bytes | str) -> Dockerfile:
    """Read a whole file. Raises InvalidParameter naming the line; never anything else, whatever the bytes."""
    text = _text(source)
    try:
        lines = Lines(text)
        instructions = list(_instructions(lines))
        arguments, stages = _divided(instructions)
    except BadLine as error:
        raise _at(error.line, error) from None
    return Dockerfile(arguments, stages, lines.escape, tuple(lines.warnings))


def parse_trigger(text: str) -> Instruction:
    """Read an ONBUILD trigger again, as an image keeps it. Raises InvalidParameter."""
    try:
        instructions = list(_instructions(Lines(text)))
    except BadLine as error:
        raise InvalidParameter(f"ONBUILD trigger {shown(text)!r}: {error}") from None
    if len(instructions) != 1 or instructions[0].word in _NO_TRIGGERS:
        raise InvalidParameter(f"ONBUILD trigger {shown(text)!r} is not one instruction")
    return instructions[0]


def _text(source: bytes | str) -> str:
    if len(source) > LARGEST:
        raise InvalidParameter(f"the Dockerfile is larger than {LARGEST} bytes")
    return source if isinstance(source, str) else source.decode("utf-8", "surrogateescape")


def _at(line: int, error: Exception) -> InvalidParameter:
    return InvalidParameter(f"dockerfile parse error on line {line}: {error}")


def _instructions(lines: Lines) -> Iterator[Instruction]:
    for count, statement in enumerate(lines):
        if count == MOST_INSTRUCTIONS:
            raise BadLine(statement.line, f"more than {MOST_INSTRUCTIONS} instructions")
        try:
            yield _instruction(statement, lines.escape)
        except BadLine:
            raise
        except (ValueError, InvalidParameter) as error:
            raise BadLine(statement.line, str(error)) from None


def _instruction(statement: Statement, escape: str) -> Instruction:
    _check_text(statement)
    word, rest = first_word(statement.text)
    if word.upper() == "ONBUILD":
        return _on_build(rest, statement)
    if word.upper() not in WORDS:
        raise ValueError(f"unknown instruction: {shown(word)}{_suggestion(word)}")
    return read(word.upper(), rest, statement, escape)


def _check_text(statement: Statement) -> None:
    """Comments may be of any bytes; what reaches a command line or a configuration may not."""
    check_text("".join((statement.text, *(each.text for each in statement.documents))))


def _on_build(rest: str, statement: Statement) -> OnBuild:
    word = first_word(rest)[0].upper()
    if not rest:
        raise ValueError("ONBUILD requires at least one argument")
    if word == "ONBUILD":
        raise ValueError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if word in _NO_TRIGGERS:
        raise ValueError(f"{word} isn't allowed as an ONBUILD trigger")
    trigger = "\n".join([rest, *(each.written for each in statement.documents)])
    parse_trigger(trigger)
    return OnBuild(trigger, line=statement.line, text=statement.text)


def _suggestion(word: str) -> str:
    if len(word) > _LONGEST_WORD:
        return ""
    return "".join(f" (did you mean {each}?)" for each in difflib.get_close_matches(word.upper(), WORDS, 1, 0.6))


def _divided(instructions: Iterable[Instruction]) -> tuple[tuple[Arg, ...], tuple[Stage, ...]]:
    """The ARGs before the first FROM, and the stages."""
    arguments: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    for each in instructions:
        if isinstance(each, From):
            stages.append((each, []))
        elif stages:
            stages[-1][1].append(each)
        elif isinstance(each, Arg):
            arguments.append(each)
        else:
            raise BadLine(each.line, f"Please provide a source image with `from` prior to {each.word.lower()}")
    if not stages:
        raise InvalidParameter("the Dockerfile has no FROM: it names no image to begin with")
    return tuple(arguments), tuple(Stage(origin, tuple(rest)) for origin, rest in stages)
