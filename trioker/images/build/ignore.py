"""The .dockerignore file: what of a context COPY and ADD do not see. Source: Dockerfile reference, ".dockerignore file"."""

import posixpath
from collections.abc import Iterable, Sequence

import attrs

from trioker.images.build.globs import Globs, State
from trioker.model.errors import InvalidParameter

LARGEST = 2**15
"""Bytes of the file. Long ones have a hundred lines; every entry of the context is held against all of them."""


@attrs.frozen
class Ignore:
    """Patterns in their order: the last that matches a path, or a directory it is in, decides."""

    globs: Globs
    keeps: Sequence[bool]
    """For each pattern whether it takes back (``!``) what those before it left out."""

    def excludes(self, accepted: int) -> bool:
        """Whether a path is left out that these patterns match (``State.accepted``, that of its directories included)."""
        last = self.globs.last(accepted)
        return last >= 0 and not self.keeps[last]

    def excludes_path(self, path: str) -> bool:
        """Whether one path is left out, however it is reached."""
        state, accepted = self.globs.start, 0
        for number, name in enumerate(path.split("/")):
            state = self.enter(state, name, top=number == 0)
            accepted |= state.accepted
        return self.excludes(accepted)

    def enter(self, state: State, name: str, *, top: bool) -> State:
        """The state of an entry of the directory that ``state`` belongs to."""
        return self.globs.follow(state, name if top else f"/{name}")


def parse_ignore(source: bytes) -> Ignore:
    """Read the file. Raises InvalidParameter naming the line's pattern."""
    if len(source) > LARGEST:
        raise InvalidParameter(f"the .dockerignore file is larger than {LARGEST} bytes")
    lines = source.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").split("\n")
    return ignore_patterns(line for line in lines if not line.startswith("#"))


def ignore_patterns(lines: Iterable[str]) -> Ignore:
    """The patterns of a file's lines, or of ``--exclude``. Raises InvalidParameter."""
    patterns, keeps = [], []
    for line in map(str.strip, lines):
        pattern = line.removeprefix("!").strip()
        if line == "!":
            raise InvalidParameter('illegal exclusion pattern: "!"')
        if pattern:
            patterns.append(posixpath.normpath(pattern).lstrip("/"))
            keeps.append(line.startswith("!"))
    try:
        return Ignore(Globs(patterns), keeps)
    except ValueError as error:
        raise InvalidParameter(f"error in .dockerignore or --exclude: {error}") from None
