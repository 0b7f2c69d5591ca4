r"""Patterns for one component of a path, as Go's path.Match has them, which is what Dockerfiles are written for.

``*`` any characters, ``?`` one, ``[a-z]`` one of these, ``[^a-z]`` one of the others, ``\c`` the character itself; a leading dot is nothing
special. Unlike in a shell ``!`` negates nothing.
"""

import functools
import re

_MAGIC = frozenset("*?[\\")


class BadPattern(ValueError):
    """Go's ErrBadPattern; the text has the pattern."""


def has_magic(component: str) -> bool:
    """Whether it is more than a name."""
    return not _MAGIC.isdisjoint(component)


@functools.lru_cache(maxsize=256)
def compile_glob(component: str) -> re.Pattern[str]:
    """What ``fullmatch`` is asked of. Takes time linear in the name for each star, whatever the pattern. Raises BadPattern."""
    pieces, at = [""], 0
    while at < len(component):
        if component[at] == "*":
            pieces.append("")
            at += 1
        else:
            piece, at = _one(component, at)
            pieces[-1] += piece
    first, *rest = pieces
    if not rest:
        return re.compile(first, re.DOTALL)
    *middle, last = rest
    # The earliest place is as good as any for all but the last piece: an atomic group takes it and never tries another.
    found = "".join(f"(?>.*?{piece})" for piece in middle if piece)
    return re.compile(f"{first}{found}.*{last}", re.DOTALL)


def _one(pattern: str, at: int) -> tuple[str, int]:
    """The expression for what stands for one character, and where the next begins."""
    match pattern[at]:
        case "?":
            return ".", at + 1
        case "[":
            return _class(pattern, at + 1)
        case _:
            character, at = _literal(pattern, at)
            return re.escape(character), at


def _class(pattern: str, at: int) -> tuple[str, int]:
    negated = pattern[at : at + 1] == "^"
    at += negated
    ranges: list[str] = []
    while not ranges or pattern[at : at + 1] != "]":
        if pattern[at : at + 1] in ("-", "]"):
            raise BadPattern(f"syntax error in pattern {pattern}")
        low, at = _literal(pattern, at)
        high = low
        if pattern[at : at + 1] == "-":
            high, at = _literal(pattern, at + 1)
        if low <= high:
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            ranges.append("")  # matches nothing, and is no error
    inside = "".join(ranges)
    if not inside:
        return ("." if negated else "(?!)"), at + 1
    return f"[{'^' * negated}{inside}]", at + 1


def _literal(pattern: str, at: int) -> tuple[str, int]:
    """One character, perhaps behind a backslash."""
    if pattern[at : at + 1] == "\\":
        at += 1
    if at >= len(pattern):
        raise BadPattern(f"syntax error in pattern {pattern}")
    return pattern[at], at + 1
