r"""The patterns of ``${x#p}``, ``${x%p}`` and ``${x/p/r}``: ``*``, ``?`` and ``\``. Brackets mean nothing, as in Docker's.

What stands between two stars has a fixed length, so the first place it is found is as good as any later one: a search for each, one
after the other, decides, and nothing is ever tried twice.
"""

import re

import attrs

from trioker.images.dockerfile.words import shown

LONGEST_PATTERN = 256
"""Characters: what a version, a suffix or a path takes, and few enough that a search over a whole value is short."""

_TOKEN = re.compile(r"\\(.)|(\*+)|(.)", re.DOTALL)


@attrs.frozen
class Pattern:
    """A pattern, as what is between its stars."""

    _segments: tuple[re.Pattern[str], ...]

    def prefix(self, value: str, *, longest: bool) -> int | None:
        """How much of the value's beginning it matches; None if it does not match there."""
        first = self._segments[0].match(value)
        return self._end(first, value, longest) if first else None

    def search(self, value: str, start: int) -> tuple[int, int] | None:
        """The first match at or behind ``start``, as long as it can be."""
        first = self._segments[0].search(value, start)
        end = self._end(first, value, longest=True) if first else None
        return None if first is None or end is None else (first.start(), end)

    def _end(self, found: re.Match[str], value: str, longest: bool) -> int | None:
        match: re.Match[str] | None = found
        for segment in self._segments[1:]:
            match = segment.search(value, match.end()) if match else None
        if match is None:
            return None
        return _last_end(self._segments[-1], value, match) if longest and len(self._segments) > 1 else match.end()


def _last_end(segment: re.Pattern[str], value: str, first: re.Match[str]) -> int:
    """Where the segment's last occurrence ends."""
    size = first.end() - first.start()
    return next(
        start + size for start in range(len(value) - size, first.start() - 1, -1) if segment.match(value, start)
    )


def compile_pattern(text: str, *, backwards: bool = False) -> Pattern:
    """The pattern, or the one that matches a reversed value where it matches the value. Raises ValueError for one too long."""
    if len(text) > LONGEST_PATTERN:
        raise ValueError(f"the pattern {shown(text)!r} is longer than {LONGEST_PATTERN} characters")
    segments = [""]
    tokens = [match.groups() for match in _TOKEN.finditer(text)]
    for escaped, star, other in reversed(tokens) if backwards else tokens:
        if star:
            segments.append("")
        else:
            segments[-1] += "." if other == "?" else re.escape(escaped or other)
    return Pattern(tuple(re.compile(each, re.DOTALL) for each in segments))


def remove_prefix(value: str, pattern: str, *, longest: bool) -> str:
    """``${x#p}`` and ``${x##p}``."""
    end = compile_pattern(pattern).prefix(value, longest=longest)
    return value[end or 0 :]


def remove_suffix(value: str, pattern: str, *, longest: bool) -> str:
    """``${x%p}`` and ``${x%%p}``."""
    end = compile_pattern(pattern, backwards=True).prefix(value[::-1], longest=longest)
    return value[: len(value) - (end or 0)]


def replace(value: str, pattern: str, by: str, *, every: bool) -> str:
    """``${x/p/r}`` and ``${x//p/r}``; a match of nothing replaces nothing, as in a shell."""
    compiled = compile_pattern(pattern)
    pieces, start = [], 0
    while (found := compiled.search(value, start)) and found[1] > found[0]:
        pieces += [value[start : found[0]], by]
        start = found[1]
        if not every:
            break
    return "".join([*pieces, value[start:]])
