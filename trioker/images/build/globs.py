r"""Patterns over paths, many at once: ``*`` and ``?`` (not over a slash), ``[a-z]``, ``[^a-z]``, ``\``, and ``**``, which is any row of directories.

Source: Go's path/filepath.Match; the Dockerfile reference, ".dockerignore file", for ``**``.

All patterns together are one automaton, and a state of it is a set of places in them, kept as the bits of a number: a path takes as
many steps as it has characters, whatever the patterns are. A tree is walked with the state of each directory in hand, so that an entry
costs only its own name.
"""

from collections.abc import Callable, Iterable

import attrs

from trioker.images.dockerfile.words import shown

_MOST_STATES = 4096  # of those remembered: a cache, and what hostile patterns may take of memory
_LONGEST = 4096  # characters of a pattern: no path is longer (PATH_MAX)
_MOST_SETS = 100  # bracket expressions: each is asked about each character that was not seen before

Fits = Callable[[str], bool]


class State:
    """What is known of a path so far."""

    __slots__ = ("accepted", "following", "places")

    def __init__(self, places: int, accepted: int) -> None:
        self.places = places
        """0 where no pattern can match any more, whatever follows."""
        self.accepted = accepted
        """A bit for each pattern that matches the path up to here; a later pattern's is higher."""
        self.following: dict[str, State] = {}


@attrs.define
class _Places:
    """The patterns as a row of places; place n is passed by a character that fits it, on to place n + 1."""

    count: int = 0
    single: int = 0
    """Places passed by any character but a slash."""
    literal: dict[str, int] = attrs.field(factory=dict)
    """Character to the places passed by it."""
    sets: list[tuple[int, Fits]] = attrs.field(factory=list)
    loops: int = 0
    """Places that take any number of characters but slashes."""
    all_loops: int = 0
    """Places that take any number of any."""
    skips: int = 0
    """Places that are left for the next without a character."""
    leaps: int = 0
    """Places that are left for the third behind them without a character."""

    def add(self, field: str) -> None:
        """The next place is of this kind."""
        setattr(self, field, getattr(self, field) | 1 << self.count)
        if field in ("loops", "all_loops", "leaps"):
            self.skips |= 1 << self.count
        self.count += 1

    def add_literal(self, character: str) -> None:
        self.literal[character] = self.literal.get(character, 0) | 1 << self.count
        self.count += 1

    def add_set(self, fits: Fits) -> None:
        self.sets.append((1 << self.count, fits))
        if len(self.sets) > _MOST_SETS:
            raise ValueError(f"more than {_MOST_SETS} bracket expressions in patterns")
        self.count += 1


class Globs:
    """Patterns, ready to be followed along paths. Raises ValueError for a bad one."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._places = _Places()
        self._passes: dict[str, tuple[int, int]] = {}
        self._states: dict[int, State] = {}
        self._accepting = 0
        self._order: dict[int, int] = {}
        begin = 0
        for number, pattern in enumerate(patterns):
            begin |= 1 << self._places.count
            _compile(pattern, self._places)
            self._accepting |= 1 << self._places.count
            self._order[self._places.count + 1] = number
            self._places.count += 1
        self.start = self._state(begin)

    def follow(self, state: State, text: str) -> State:
        """The state behind more of a path."""
        for character in text:
            state = state.following.get(character) or self._step(state, character)
        return state

    def last(self, accepted: int) -> int:
        """Number of the last pattern in ``accepted``, -1 for none."""
        return self._order[accepted.bit_length()] if accepted else -1

    def _step(self, state: State, character: str) -> State:
        if character not in self._passes:
            self._passes[character] = self._passed(character)
        moves, stays = self._passes[character]
        found = self._state((state.places & moves) << 1 | state.places & stays)
        state.following[character] = found
        return found

    def _passed(self, character: str) -> tuple[int, int]:
        """The places a character moves on from, and those it stays in."""
        places = self._places
        moves = places.literal.get(character, 0)
        if character == "/":
            return moves, places.all_loops
        sets = sum(place for place, fits in places.sets if fits(character))
        return moves | places.single | sets, places.loops | places.all_loops

    def _state(self, bits: int) -> State:
        """The state of these places and all that are reached from them without a character."""
        places, reached = self._places, bits
        while True:
            reached |= (reached & places.skips) << 1 | (reached & places.leaps) << 3
            if reached == bits:
                break
            bits = reached
        if bits not in self._states:
            if len(self._states) >= _MOST_STATES:
                self._states.clear()
            self._states[bits] = State(bits, bits & self._accepting)
        return self._states[bits]


def has_pattern(path: str) -> bool:
    """Whether it is more than a name."""
    return any(character in path for character in "*?[\\")


def _compile(pattern: str, places: _Places) -> None:
    if len(pattern) > _LONGEST:
        raise ValueError(f"the pattern {shown(pattern)!r} is longer than {_LONGEST} characters")
    at, rows_end = 0, -1
    while at < len(pattern):
        character = pattern[at]
        if pattern.startswith("**", at):
            at += 2
            if at == len(pattern):
                places.add("all_loops")
            else:
                if rows_end != places.count:  # two in a row are one
                    _add_directories(places)
                    rows_end = places.count
                at += pattern[at] == "/"
        elif character == "[":
            at = _add_set(pattern, at + 1, places)
        else:
            at = _add_character(pattern, at, places)


def _add_directories(places: _Places) -> None:
    """Any row of directories, or none: leapt over, or else ended by a slash."""
    places.add("leaps")
    places.add("all_loops")
    places.add_literal("/")


def _add_character(pattern: str, at: int, places: _Places) -> int:
    character = pattern[at]
    if character == "*":
        places.add("loops")
    elif character == "?":
        places.add("single")
    elif character == "\\":
        at += 1
        if at == len(pattern):
            raise ValueError(f"syntax error in pattern {shown(pattern)!r}: nothing behind the last \\")
        places.add_literal(pattern[at])
    else:
        places.add_literal(character)
    return at + 1


def _add_set(pattern: str, at: int, places: _Places) -> int:
    negated = pattern[at : at + 1] == "^"
    ranges, end = _ranges(pattern, at + negated)
    if not ranges:
        raise ValueError(f"syntax error in pattern {shown(pattern)!r}: empty brackets")
    places.add_set(lambda character: any(first <= character <= last for first, last in ranges) != negated)
    return end


def _ranges(pattern: str, at: int) -> tuple[list[tuple[str, str]], int]:
    """The ranges up to the closing bracket, and the place behind it."""
    ranges = []
    while pattern[at : at + 1] != "]":
        first, at = _set_character(pattern, at)
        last = first
        if pattern[at : at + 1] == "-":
            last, at = _set_character(pattern, at + 1)
        ranges.append((first, last))
    return ranges, at + 1


def _set_character(pattern: str, at: int) -> tuple[str, int]:
    escaped = pattern[at : at + 1] == "\\"
    at += escaped
    if at >= len(pattern) or (pattern[at] in "-]" and not escaped):
        raise ValueError(f"syntax error in pattern {shown(pattern)!r}: brackets without end")
    return pattern[at], at + 1
