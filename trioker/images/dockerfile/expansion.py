"""Variables, quotes and escapes in a word, as a shell treats them.

Source: Dockerfile reference, "Environment replacement"; POSIX.1-2017, Shell Command Language, 2.6.2 "Parameter Expansion".
"""

import re
from collections.abc import Callable

from trioker.images.dockerfile.patterns import remove_prefix, remove_suffix, replace
from trioker.images.dockerfile.words import shown
from trioker.model.errors import InvalidParameter

Lookup = Callable[[str], str | None]
"""A variable's value; None if it is not set."""

LONGEST = 2**20
"""Characters a word may come to, those of the variables' values that are taken on the way counted. The kernel takes no argument beyond
128 KiB; a here-document may be as large as a Dockerfile. Without it ``ENV x=$x$x``, forty times, would take all memory."""

_DEEPEST = 50  # of defaults within defaults: each takes some of Python's stack
_WORK = 2**25  # characters looked at for patterns: a tenth of a second
_NAME = re.compile(r"[0-9]+|[@*#?$!-]|\w+")
_MESSAGES = {False: "is not allowed to be unset", True: "is not allowed to be empty"}

Piece = tuple[str, bool]
"""Text, and whether the blanks in it divide words: those of quotes and escapes do not."""


def expand(word: str, lookup: Lookup, escape: str = "\\") -> str:
    """The word with its variables' values in place of their names, without its quotes and escapes.

    Raises InvalidParameter for an unfinished or unknown form, for ``${x?}`` where x is not set, and for what grows out of bounds.
    """
    return "".join(text for text, _ in _pieces(word, _Expander(word, lookup, escape)))


def expand_words(word: str, lookup: Lookup, escape: str = "\\") -> tuple[str, ...]:
    """The same, divided into words at the blanks that are neither quoted nor escaped. Raises InvalidParameter."""
    words, current = [], ""
    for text, divides in _pieces(word, _Expander(word, lookup, escape)):
        first, *rest = re.split(r"\s+", text) if divides else [text]
        current += first
        for each in rest:
            words.append(current)
            current = each
    return tuple(each for each in [*words, current] if each)


def expand_document(text: str, lookup: Lookup) -> str:
    r"""A here-document's content: quotes mean nothing there, and ``\`` is what escapes. Raises InvalidParameter."""
    return "".join(piece for piece, _ in _pieces(text, _Expander(text, lookup, "\\", quotes="")))


def _pieces(word: str, expander: "_Expander") -> list[Piece]:
    try:
        return expander.until("")
    except ValueError as error:
        raise InvalidParameter(f"failed to process {shown(word)!r}: {error}") from None


class _Expander:
    """A place in a word, and what has been made of it so far."""

    def __init__(self, word: str, lookup: Lookup, escape: str, *, quotes: str = "'\"") -> None:
        self._word = word
        self._lookup = lookup
        self._escape = escape
        self._quotes = quotes
        self._plain = re.compile(rf"[^$'\"/}}{re.escape(escape)}]+")
        self._at = 0
        self._depth = 0
        self._size = 0
        self._work = 0

    def until(self, stop: str, *, keep_escapes: bool = False) -> list[Piece]:
        """All up to ``stop``, a character that is taken too; "" is the word's end. ``keep_escapes`` leaves them to a pattern."""
        pieces: list[Piece] = []
        while self._at < len(self._word):
            character = self._word[self._at]
            if character == stop:
                self._at += 1
                return pieces
            pieces.append(self._piece(character, keep_escapes))
            self._grow(pieces[-1][0])
        if stop:
            raise ValueError(f"syntax error: missing '{stop}'")
        return pieces

    def _piece(self, character: str, keep_escapes: bool) -> Piece:
        if character == "$":
            return self._dollar(), True
        if character == self._escape:
            escaped = self._take(2)
            return escaped if keep_escapes else escaped[1:], False
        if character in self._quotes:
            return (self._single() if character == "'" else self._double()), False
        plain = self._plain.match(self._word, self._at)
        return self._take(len(plain[0]) if plain else 1), True

    def _take(self, size: int = 1) -> str:
        taken = self._word[self._at : self._at + size]
        self._at += size
        return taken

    def _grow(self, text: str) -> None:
        self._size += len(text)
        if self._size > LONGEST:
            raise ValueError(f"it grows to more than {LONGEST} characters")

    def _single(self) -> str:
        end = self._word.find("'", self._at + 1)
        if end < 0:
            raise ValueError("unexpected end of statement while looking for matching single-quote")
        return self._take(end + 1 - self._at)[1:-1]

    def _double(self) -> str:
        self._at += 1
        pieces: list[str] = []
        while self._at < len(self._word):
            character = self._word[self._at]
            if character == '"':
                self._at += 1
                return "".join(pieces)
            pieces.append(self._double_piece(character))
            self._grow(pieces[-1])
        raise ValueError("unexpected end of statement while looking for matching double-quote")

    def _double_piece(self, character: str) -> str:
        """In double quotes an escape takes away the meaning of three characters, and is itself one before all others."""
        if character == "$":
            return self._dollar()
        if character == self._escape and self._word[self._at + 1 : self._at + 2] in ('"', "$", self._escape):
            return self._take(2)[1:]
        plain = self._plain.match(self._word, self._at)
        return self._take(len(plain[0]) if plain else 1)

    def _name(self) -> str:
        match = _NAME.match(self._word, self._at)
        return self._take(len(match[0])) if match else ""

    def _dollar(self) -> str:
        self._at += 1
        if self._word[self._at : self._at + 1] != "{":
            name = self._name()
            return (self._lookup(name) or "") if name else "$"
        self._at += 1
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError(f"more than {_DEEPEST} substitutions within each other")
        name = self._name()
        if not name:
            raise ValueError("syntax error: bad substitution")
        result = self._substitution(name, self._take())
        self._depth -= 1
        return result

    def _substitution(self, name: str, operator: str) -> str:
        """What stands behind ``${name`` and ``operator``."""
        value = self._lookup(name)
        if operator == "}":
            return value or ""
        if operator == "/":
            return self._replaced(value or "")
        if operator in ("#", "%"):
            return self._trimmed(value or "", operator)
        unset = value is None
        if operator == ":":
            unset = not value
            operator = self._take()
        if not operator:
            raise ValueError("syntax error: missing '}'")
        if operator not in ("-", "+", "?"):
            raise ValueError(f"unsupported modifier ({shown(operator)}) in substitution")
        word = self._inner("}")
        if operator == "+":
            return "" if unset else word
        if unset and operator == "?":
            raise ValueError(f"{name}: {word or _MESSAGES[value is not None]}")
        return word if unset else value or ""

    def _inner(self, stop: str, *, keep_escapes: bool = False) -> str:
        return "".join(text for text, _ in self.until(stop, keep_escapes=keep_escapes))

    def _trimmed(self, value: str, operator: str) -> str:
        longest = self._word[self._at : self._at + 1] == operator
        self._at += longest
        pattern = self._inner("}", keep_escapes=True)
        self._charge(value, pattern)
        return (remove_prefix if operator == "#" else remove_suffix)(value, pattern, longest=longest)

    def _replaced(self, value: str) -> str:
        every = self._word[self._at : self._at + 1] == "/"
        self._at += every
        pattern, by = self._inner("/", keep_escapes=True), self._inner("}")
        self._charge(value, pattern)
        if len(value) * len(by) > _WORK:
            raise ValueError(f"it grows to more than {LONGEST} characters")
        return replace(value, pattern, by, every=every)

    def _charge(self, value: str, pattern: str) -> None:
        self._work += len(value) * (1 + len(pattern))
        if self._work > _WORK:
            raise ValueError("its patterns take too long")
