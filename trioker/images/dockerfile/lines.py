"""From text to statements: directives, comments, continuation lines and here-documents taken care of.

Source: Dockerfile reference, "Parser directives", "Format", "Here-Documents".
"""

import re
from collections.abc import Iterator

import attrs

from trioker.images.dockerfile.words import first_word, shown, split_words, unquote

DEFAULT_ESCAPE = "\\"

_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(\S.*)")
_KNOWN_DIRECTIVES = ("escape", "syntax", "check")
_HEREDOC = re.compile(r"[0-9]*<<(-?)([^<]+)")
_WITH_HEREDOCS = ("RUN", "COPY", "ADD")


@attrs.frozen
class Document:
    """A here-document as written."""

    spec: str
    """The word that announces it: ``<<EOF``."""
    name: str
    text: str
    """Its lines, the delimiter's not among them."""
    expands: bool
    strips: bool
    """Whether ``<<-`` takes away the tabs each line begins with."""

    @property
    def content(self) -> str:
        """What a command or a file gets of it."""
        return re.sub(r"^\t+", "", self.text, flags=re.MULTILINE) if self.strips else self.text

    @property
    def written(self) -> str:
        """All of it, as a shell or a parser reads it again."""
        return f"{self.text}{self.name}\n"


@attrs.frozen
class Statement:
    """One instruction's text."""

    line: int
    text: str
    """On one line."""
    documents: tuple[Document, ...] = ()


class BadLine(ValueError):
    """What is wrong with the line numbered ``line``."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class Lines:
    """Iterate over a text's statements. Raises BadLine for a directive that cannot be obeyed, then or at once."""

    def __init__(self, text: str) -> None:
        self._lines = text.removeprefix("\ufeff").split("\n")
        self._next = 0
        self.escape = DEFAULT_ESCAPE
        self.warnings: list[str] = []
        self._obey_directives()

    def __iter__(self) -> Iterator[Statement]:
        while self._next < len(self._lines):
            number = self._next + 1
            text = self._join(self._take().strip())
            if not text:
                continue
            yield Statement(number, text, tuple(self._documents(number, text)))

    def _take(self) -> str:
        self._next += 1
        return self._lines[self._next - 1].removesuffix("\r")

    def _obey_directives(self) -> None:
        """Directives come before all else; the first line that is none ends them, a comment too."""
        seen = set()
        while self._next < len(self._lines):
            match = _DIRECTIVE.fullmatch(self._lines[self._next].strip())
            name = match[1].lower() if match else ""
            if match is None or name not in _KNOWN_DIRECTIVES:
                return
            if name in seen:
                raise BadLine(self._next + 1, f"only one {name} parser directive can be used")
            if name == "escape":
                self._set_escape(match[2])
            seen.add(name)
            self._next += 1

    def _set_escape(self, value: str) -> None:
        if value not in ("\\", "`"):
            raise BadLine(self._next + 1, f"invalid ESCAPE '{shown(value)}'. Must be ` or \\")
        self.escape = value

    def _join(self, line: str) -> str:
        """The line with those that continue it; none for a comment."""
        if line.startswith("#"):
            return ""
        piece, goes_on = self._continues(line)
        pieces, blank = [piece], False
        while goes_on and self._next < len(self._lines):
            line = self._take()
            stripped = line.strip()
            if stripped and not stripped.startswith("#"):
                piece, goes_on = self._continues(line)
                pieces.append(piece)
            blank = blank or not stripped
        text = "".join(pieces).strip()
        if blank and text:
            self.warnings.append(f"Empty continuation line found in: {shown(text)}")
        return text

    def _continues(self, line: str) -> tuple[str, bool]:
        """The line without the escape at its end, and whether there was one; two escapes are a character."""
        bare = line.rstrip(" \t")
        if bare.endswith(self.escape) and not bare.endswith(2 * self.escape):
            return bare[:-1], True
        return line, False

    def _documents(self, number: int, text: str) -> Iterator[Document]:
        word, rest = first_word(text)
        if word.upper() == "ONBUILD":
            word, rest = first_word(rest)
        if word.upper() not in _WITH_HEREDOCS or "<<" not in rest:
            return
        for spec in split_words(rest, self.escape):
            match = _HEREDOC.fullmatch(spec)
            if match and (name := unquote(match[2], DEFAULT_ESCAPE)):
                yield Document(spec, name, self._until(number, name, match[1]), name == match[2], bool(match[1]))

    def _until(self, number: int, name: str, strips: str) -> str:
        start = self._next
        while self._next < len(self._lines):
            line = self._take()
            if (line.lstrip("\t") if strips else line) == name:
                return "".join(f"{each}\n" for each in self._lines[start : self._next - 1])
        raise BadLine(number, f"unterminated heredoc: no line is {shown(name)!r}")
