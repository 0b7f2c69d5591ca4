"""What the sources of COPY and ADD select, and where it goes.

Source: Dockerfile reference, "ADD" and "COPY"; the words of errors are Docker's.
"""

import hashlib
import posixpath
from collections.abc import Iterable, Iterator, Sequence

import attrs

from trioker.images.build.context import MOST_ENTRIES, Context
from trioker.images.build.entries import ContextEntry, Placed, Selection
from trioker.images.build.globs import Globs, has_pattern
from trioker.images.build.ignore import Ignore, ignore_patterns
from trioker.images.dockerfile.instructions import Heredoc
from trioker.images.dockerfile.words import shown
from trioker.launcher.tar_header import DIRECTORY
from trioker.model.errors import InvalidParameter


@attrs.frozen
class Found:
    """Something a source selects: an entry with its links followed, and the path that led to it."""

    path: str
    entry: ContextEntry


def select(
    context: Context,
    sources: Iterable[str],
    *,
    word: str = "COPY",
    exclude: Sequence[str] = (),
    parents: bool = False,
    place: str = "build context or excluded by .dockerignore",
) -> Selection:
    """What all the sources select: of a directory its content, of anything else itself.

    ``parents`` keeps the directories of each source's path, from behind a ``/./`` in it where there is one; ``place`` is what errors
    call the context. Raises InvalidParameter where a source selects nothing, or leads out of the context.
    """
    ignore = ignore_patterns(exclude)
    placed: list[Placed] = []
    for source in sources:
        found = list(_found(context, source, word, place))
        if not found:
            raise InvalidParameter(f"{word} failed: no source files were specified")
        for each in found:
            placed += _with_parents(context, source, each) if parents else _placed(context, each)
            if len(placed) > MOST_ENTRIES:
                raise InvalidParameter(f"{word} failed: the sources come to more than {MOST_ENTRIES} files")
    return Selection(tuple(_left(placed, ignore) if exclude else placed))


def documents(files: Iterable[Heredoc]) -> Selection:
    """Here-documents as files. Their bytes are ``content.encode()``, known again by ``entry.digest``. Raises InvalidParameter."""
    return Selection(tuple(_document(file) for file in files))


def check_destination(selection: Selection, destination: str, word: str = "COPY") -> None:
    """Raises InvalidParameter where several sources would become one file."""
    several = sum(each.named for each in selection.placed) > 1
    if several and not names_directory(destination):
        raise InvalidParameter(
            f"When using {word} with more than one source file, the destination must be a directory and end with a /"
        )


def names_directory(destination: str) -> bool:
    """Whether a destination can only be a directory."""
    return posixpath.basename(destination) in ("", ".", "..")


def resolve(path: str, working_dir: str) -> str:
    """The absolute path of a destination or a WORKDIR; the slash at its end stays, for it tells of a directory. Follows no links."""
    whole = posixpath.normpath("//" + posixpath.join(working_dir, path)).replace("//", "/")
    return whole if whole == "/" or not names_directory(path) else f"{whole}/"


def _found(context: Context, source: str, word: str, place: str) -> Iterator[Found]:
    path = posixpath.normpath(source.lstrip("/") or ".")
    if path == ".." or path.startswith("../"):
        raise InvalidParameter(f"{word} failed: forbidden path outside the build context: {shown(source)} ()")
    if has_pattern(path):
        yield from _matching(context, path)
        return
    entry = context.find(path)
    if entry is None:
        raise InvalidParameter(f"{word} failed: file not found in {place}: stat {shown(path)}: file does not exist")
    yield Found("" if path == "." else path, entry)


def _matching(context: Context, pattern: str) -> Iterator[Found]:
    """Follow the pattern down the tree, from the last directory that it names plainly. Links are followed when they match, not before."""
    parts = pattern.split("/")
    plain = next(number for number, part in enumerate(parts) if has_pattern(part))
    base = context.find("/".join(parts[:plain]))
    try:
        globs = Globs(["/".join(parts[plain:])])
    except ValueError as error:
        raise InvalidParameter(str(error)) from None
    todo = [(base.path, "/".join(parts[:plain]), globs.start)] if base else []
    while todo:
        directory, shown_as, state = todo.pop()
        below = []
        for name in context.children.get(directory, ()):
            path, named = posixpath.join(directory, name), posixpath.join(shown_as, name)
            reached = globs.follow(state, name)
            if reached.accepted:
                yield Found(named, _followed(context, path))
            if path in context.children and (deeper := globs.follow(reached, "/")).places:
                below.append((path, named, deeper))
        todo += reversed(below)


def _followed(context: Context, path: str) -> ContextEntry:
    entry = context.find(path)
    if entry is None:
        raise InvalidParameter(f"{shown(path)} is a symbolic link that leads nowhere in the build context")
    return entry


def _placed(context: Context, found: Found) -> Iterator[Placed]:
    """A file under its own name; a directory's content where the directory itself would be."""
    if found.entry.kind != DIRECTORY:
        yield Placed(posixpath.basename(found.path), found.entry, named=True)
        return
    yield from _directory(context, found.entry, ".")


def _directory(context: Context, top: ContextEntry, name: str) -> Iterator[Placed]:
    skip = len(top.path) + 1 if top.path else 0
    for entry in context.walk(top.path):
        if entry is top:
            yield Placed(name, entry, named=True)
        else:
            below = entry.path[skip:]
            yield Placed(below if name == "." else f"{name}/{below}", entry)


def _with_parents(context: Context, source: str, found: Found) -> Iterator[Placed]:
    """A source with the directories it is in, those before a ``/./`` left out."""
    pivot = _pivot(source)
    parts = found.path.split("/")[pivot:]
    above = found.path.split("/")[:pivot]
    for end in range(1, len(parts)):
        entry = context.find("/".join(above + parts[:end]))
        if entry is not None:
            yield Placed("/".join(parts[:end]), entry)
    name = "/".join(parts) or "."
    if found.entry.kind == DIRECTORY:
        yield from _directory(context, found.entry, name)
    else:
        yield Placed(name, found.entry, named=True)


def _pivot(source: str) -> int:
    """How many directories stand before the ``/./``."""
    before, pivot, _ = source.lstrip("/").removeprefix("./").partition("/./")
    return len(posixpath.normpath(before).split("/")) if pivot else 0


def _left(placed: Iterable[Placed], ignore: Ignore) -> Iterator[Placed]:
    return (each for each in placed if each.name == "." or not ignore.excludes_path(each.name))


def _document(file: Heredoc) -> Placed:
    if "/" in file.name or file.name in (".", ".."):
        raise InvalidParameter(f"a here-document's name becomes a file's, and {shown(file.name)!r} is none")
    content = file.content.encode()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return Placed(file.name, ContextEntry(file.name, size=len(content), stored=len(content), digest=digest), named=True)
