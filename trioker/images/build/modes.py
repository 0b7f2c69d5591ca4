"""The modes of ``--chmod``: octal, or symbolic as chmod(1) has them."""

import re
from collections.abc import Callable
from typing import Any

from trioker.images.dockerfile.words import shown
from trioker.model.errors import InvalidParameter

Change = Callable[[int, bool], int]
"""The new mode, from the old one and whether it is a directory's."""

_OCTAL = re.compile(r"[0-7]{1,4}")
_CLAUSE = re.compile(r"([ugoa]*)([-+=])([rwxXst]*)")
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}
_SPECIAL = {("s", "u"): 0o4000, ("s", "g"): 0o2000, ("t", "o"): 0o1000, ("t", "u"): 0o1000, ("t", "g"): 0o1000}
_OWN_SPECIAL = {"u": 0o4000, "g": 0o2000, "o": 0o1000}
_ALL_EXECUTE = 0o111


def parse_mode(text: str) -> Change:
    """Read it; "" changes nothing. Raises InvalidParameter."""
    if not text:
        return lambda mode, _directory: mode
    if _OCTAL.fullmatch(text):
        number = int(text, 8)
        return lambda _mode, _directory: number
    clauses = [_CLAUSE.fullmatch(each) for each in text.split(",")]
    found = [clause.groups() for clause in clauses if clause]
    if len(found) < len(clauses):
        raise InvalidParameter(
            f"invalid chmod parameter: {shown(text)!r}. It should be octal, as 0755, or symbolic, as u=rwX,go=rX"
        )
    return lambda mode, directory: _apply_all(mode, directory, found)


def _apply_all(mode: int, directory: bool, clauses: list[tuple[str | Any, ...]]) -> int:
    for classes, operator, letters in clauses:
        mode = _apply(mode, directory, set("ugo" if not classes or "a" in classes else classes), operator, letters)
    return mode


def _apply(mode: int, directory: bool, classes: set[str], operator: str, letters: str) -> int:
    execute = "x" in letters or ("X" in letters and (directory or mode & _ALL_EXECUTE != 0))
    wanted = sum(_BITS[letter] for letter in set(letters) & {"r", "w"}) | execute
    bits = special = 0
    for each in classes:
        bits |= wanted << _SHIFTS[each]
        for letter in letters:
            special |= _SPECIAL.get((letter, each), 0)
    if operator == "+":
        return mode | bits | special
    if operator == "-":
        return mode & ~(bits | special)
    cleared = sum(7 << _SHIFTS[each] | (0 if directory else _OWN_SPECIAL[each]) for each in classes)
    return mode & ~cleared | bits | special
