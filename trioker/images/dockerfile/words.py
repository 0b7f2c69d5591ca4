"""How a Dockerfile's line falls into words. Every function takes time in proportion to the text.

Source: Dockerfile reference, "Environment replacement", "Shell and exec form"; where it is silent, what Docker's own parser does.
"""

import functools
import json
import os
import re

from trioker.images.dockerfile.instructions import Assignment
from trioker.launcher.tar_header import shown as shown_bytes

_BLANK = re.compile(r"\s+")
_NO_TEXT = re.compile(r"[\0\ud800-\udfff]")


def shown(text: str) -> str:
    """A stranger's text, fit for a message: short, and nothing in it that a terminal obeys."""
    return shown_bytes(os.fsencode(text[:256]))


def check_text(text: str) -> None:
    """Raises ValueError for what no command line can have (NUL), and no configuration (bytes that are not UTF-8)."""
    match = _NO_TEXT.search(text)
    if match:
        raise ValueError("a NUL byte" if match[0] == "\0" else "bytes that are not UTF-8")


def first_word(text: str) -> tuple[str, str]:
    """The first word and all behind it, both without the blanks around them."""
    word, *rest = _BLANK.split(text.strip(), 1)
    return word, rest[0] if rest else ""


def split_words(text: str, escape: str) -> list[str]:
    """Words between blanks that are neither quoted nor escaped. Quotes and escapes stay; a quote that never ends reaches to the end."""
    return _word(escape).findall(text)


def unquote(word: str, escape: str) -> str:
    """The word without its quotes and escapes."""
    return _quoted(escape).sub(lambda match: next((each for each in match.groups() if each is not None), ""), word)


def split_flags(text: str, escape: str) -> tuple[list[str], str]:
    """The leading words that begin with ``--``, unquoted, and what follows; a bare ``--`` ends them."""
    flags = []
    rest = text.lstrip()
    while rest.startswith("--"):
        match = _word(escape).match(rest)
        word = match[0] if match else rest
        rest = rest[len(word) :].lstrip()
        if word == "--":
            break
        flags.append(unquote(word, escape))
    return flags, rest


def json_words(text: str) -> tuple[str, ...] | None:
    """The words of a JSON list, None for what is no JSON list. Raises ValueError for a list of anything but strings."""
    if not text.startswith("["):
        return None
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(word, str) for word in words):
        raise ValueError("when using JSON array syntax, arrays must be comprised of strings only")
    check_text("".join(words))
    return tuple(words)


def assignments(text: str, escape: str, word: str) -> tuple[Assignment, ...]:
    """``name=value ...``, or the older ``name value`` where the value is all that follows. Raises ValueError."""
    words = split_words(text, escape)
    if words and "=" not in words[0]:
        name, value = first_word(text)
        if not value:
            raise ValueError(f"{word} must have two arguments")
        return (Assignment(name, value),)
    return tuple(_assignment(each, word) for each in words)


def _assignment(text: str, word: str) -> Assignment:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"Syntax error - can't find = in {shown(text)!r}. Must be of the form: name=value")
    if not name:
        raise ValueError(f"{word} names can not be blank")
    return Assignment(name, value)


@functools.cache
def _word(escape: str) -> re.Pattern[str]:
    """One word. Possessive throughout: what has matched is never tried another way."""
    e = re.escape(escape)
    return re.compile(rf"""(?:[^\s'"{e}]++|{e}.|'[^']*+'?|"(?:[^"{e}]++|{e}.)*+{e}?"?|{e})++""", re.DOTALL)


@functools.cache
def _quoted(escape: str) -> re.Pattern[str]:
    e = re.escape(escape)
    return re.compile(rf"""{e}(.)|'([^']*+)'?|"((?:[^"{e}]++|{e}.)*+){e}?"?|{e}""", re.DOTALL)
