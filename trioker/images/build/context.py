"""A build context: an index of a tar that lies spooled in one file. Nothing of it is ever unpacked on the host, so nothing can get out of it."""

import hashlib
import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs

from trioker.images.build.entries import ContextEntry
from trioker.images.build.ignore import Ignore
from trioker.launcher.tar_header import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    FIFO,
    FILE,
    HARD_LINK,
    SYMLINK,
    BadArchive,
    Entry,
    shown,
)
from trioker.launcher.tar_reader import Stream, TarReader
from trioker.launcher.xattrs import travels
from trioker.model.errors import InvalidParameter

Data = bytes | memoryview

MOST_ENTRIES = 500_000
"""Entries of a context, directories that are only implied among them: the index takes half a kilobyte for each. Chromium has 400,000."""

LONGEST_NAMES = 2**26
"""Characters of all paths, link targets and attributes together, the same bound in bytes of memory for those few that are long."""

_WITHOUT_DATA = (DIRECTORY, SYMLINK, FIFO, CHARACTER_DEVICE, BLOCK_DEVICE)
_LONGEST_NAME = 255  # NAME_MAX of every Linux file system
_MOST_LINKS = 40  # the kernel's own bound on the links in one path (path_resolution(7))
_BLOCK = 2**16
_ZEROS = bytes(_BLOCK)


@attrs.frozen
class Context:
    """A tree of files, directories, links and nodes."""

    entries: Mapping[str, ContextEntry]
    """By path; "" is the top."""
    children: Mapping[str, tuple[str, ...]]
    """Names in each directory, rising."""

    def find(self, path: str) -> ContextEntry | None:
        """What a path leads to, links followed inside the context, which is ``/`` to them; None if there is nothing, or a loop."""
        place: list[str] = []
        todo = path.split("/")[::-1]
        links = 0
        while todo:
            name = todo.pop()
            if name == "..":
                del place[-1:]
            elif name not in ("", "."):
                entry = self.entries.get("/".join([*place, name]))
                if entry is None or links > _MOST_LINKS:
                    return None
                if entry.kind != SYMLINK:
                    place.append(name)
                    continue
                links += 1
                place = [] if entry.link.startswith("/") else place
                todo += entry.link.split("/")[::-1]
        return self.entries.get("/".join(place))

    def walk(self, path: str) -> Iterator[ContextEntry]:
        """An entry and all below it; no links are followed."""
        todo = [path]
        while todo:
            path = todo.pop()
            yield self.entries[path]
            todo += (posixpath.join(path, name) for name in reversed(self.children.get(path, ())))

    def without(self, ignore: Ignore) -> "Context":
        """The context as COPY and ADD see it. A directory stays while something in it does."""
        kept = {""}
        todo = [("", ignore.globs.start, 0)]
        while todo:
            directory, state, matched = todo.pop()
            for name in self.children[directory]:
                path = posixpath.join(directory, name)
                found = ignore.enter(state, name, top=not directory)
                accepted = matched | found.accepted
                if path in self.children:
                    todo.append((path, found, accepted))
                if not ignore.excludes(accepted):
                    kept.update(_with_parents(path, kept))
        return _context({path: entry for path, entry in self.entries.items() if path in kept})


def _with_parents(path: str, known: set[str]) -> Iterator[str]:
    while path not in known:
        yield path
        path = posixpath.dirname(path)


def _context(entries: dict[str, ContextEntry]) -> Context:
    """From entries by path, parents first."""
    children: dict[str, list[str]] = {path: [] for path, entry in entries.items() if entry.kind == DIRECTORY}
    for path in entries:
        if path:
            directory, name = posixpath.split(path)
            children[directory].append(name)
    return Context(entries, {path: tuple(sorted(names)) for path, names in children.items()})


def index(read: Callable[[], bytes], *, max_bytes: int) -> Context:
    """Index an uncompressed tar as it is read, as ``launcher.decompress.open_blocks`` gives it; blocking, so for a worker thread.

    The last of several entries of one name counts. What ``.wh.`` names mean to a layer is nothing to a build. Raises InvalidParameter
    naming the entry for what is no archive, for names that lead out, and beyond ``max_bytes``, in the archive or in all its files.
    """
    stream = Stream(read, max_bytes)
    reader = TarReader(stream)
    tree = _Tree(max_bytes)
    try:
        for entry in reader:
            tree.take(entry, stream, reader)
    except BadArchive as error:
        raise InvalidParameter(f"bad build context: {error}") from None
    return _context(tree.entries())


def with_holes(size: int, pieces: Iterable[tuple[int, int]], take: Callable[[int], Iterable[Data]]) -> Iterator[Data]:
    """A sparse file's bytes; ``take`` gives the next so many of those that are stored."""
    at = 0
    for offset, length in pieces:
        yield from _zeros(offset - at)
        yield from take(length)
        at = offset + length
    yield from _zeros(size - at)


def _zeros(size: int) -> Iterator[Data]:
    for start in range(0, size, _BLOCK):
        yield _ZEROS[: size - start]


class _Node:
    """One entry of the tree being read."""

    __slots__ = ("children", "entry")

    def __init__(self, entry: ContextEntry) -> None:
        self.entry = entry
        self.children: dict[str, _Node] = {}


class _Tree:
    """The context being read."""

    def __init__(self, max_bytes: int) -> None:
        self._top = _Node(ContextEntry("", DIRECTORY, 0o755))
        self._bytes_left = max_bytes
        self._entries_left = MOST_ENTRIES
        self._names_left = LONGEST_NAMES

    def take(self, entry: Entry, stream: Stream, reader: TarReader) -> None:
        """Take in one entry of the archive."""
        path = _path(entry.name)
        if entry.kind == FILE:
            self._put(path, self._file(path, entry, stream.position, reader))
        elif entry.kind == HARD_LINK:
            self._put(path, self._linked(path, entry))
        elif entry.kind in _WITHOUT_DATA:
            self._put(path, _bare(path, entry))

    def entries(self) -> dict[str, ContextEntry]:
        """All, parents first."""
        found, todo = {}, [self._top]
        while todo:
            node = todo.pop()
            found[node.entry.path] = node.entry
            todo += node.children.values()
        return found

    def _file(self, path: str, entry: Entry, offset: int, reader: TarReader) -> ContextEntry:
        self._spend_bytes(entry.size, entry.name)
        digest = hashlib.sha256()
        pieces = entry.pieces if entry.pieces is not None else ((0, entry.size),)
        for data in with_holes(entry.size, pieces, reader.data):
            digest.update(data)
        return attrs.evolve(
            _bare(path, entry),
            size=entry.size,
            digest=f"sha256:{digest.hexdigest()}",
            offset=offset,
            stored=sum(length for _, length in pieces),
            pieces=entry.pieces,
        )

    def _linked(self, path: str, entry: Entry) -> ContextEntry:
        """Another name for a file: the same file, stored in the same place."""
        node: _Node | None = self._top
        for name in _path(entry.link).split("/"):
            node = node.children.get(name) if node else None
        if node is None or node.entry.kind == DIRECTORY:
            raise BadArchive(f"a link to {shown(entry.link)}, which is no file, in entry {shown(entry.name)}")
        self._spend_bytes(node.entry.size, entry.name)
        return attrs.evolve(node.entry, path=path)

    def _put(self, path: str, entry: ContextEntry) -> None:
        """Put it in its place, with the directories above it where they are missing."""
        if not path:
            if entry.kind != DIRECTORY:
                raise BadArchive("the archive's top is no directory")
            self._top.entry = entry
            return
        *parents, name = path.split("/")
        node, length = self._top, 0
        for parent in parents:
            length += len(parent) + 1
            node = self._child(node, parent, path[: length - 1])
        attributes = sum(len(key) + len(value) for key, value in entry.xattrs)
        self._spend_names(name not in node.children, len(path) + len(entry.link) + attributes)
        new = _Node(entry)
        if name in node.children and entry.kind == DIRECTORY:
            new.children = node.children[name].children
        node.children[name] = new

    def _child(self, node: _Node, name: str, path: str) -> _Node:
        child = node.children.get(name)
        if child is None:
            self._spend_names(True, len(path))
            child = node.children[name] = _Node(ContextEntry(path, DIRECTORY, 0o755))
        elif child.entry.kind != DIRECTORY:
            raise BadArchive(f"{shown(os.fsencode(path))} is no directory, and has something in it")
        return child

    def _spend_bytes(self, size: int, name: bytes) -> None:
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise BadArchive(f"the files are larger than what is allowed, with entry {shown(name)}")

    def _spend_names(self, new: bool, length: int) -> None:
        self._entries_left -= new
        self._names_left -= length
        if self._entries_left < 0:
            raise BadArchive(f"more than {MOST_ENTRIES} entries")
        if self._names_left < 0:
            raise BadArchive("the names are too long together")


def _bare(path: str, entry: Entry) -> ContextEntry:
    """All of an entry but its data."""
    link = os.fsdecode(entry.link) if entry.kind == SYMLINK else ""
    xattrs = tuple((name, value) for name, value in sorted(entry.xattrs.items()) if travels(name))
    ids = entry.uid, entry.gid
    return ContextEntry(
        path, entry.kind, entry.mode, *ids, entry.mtime_ns, link=link, device=entry.device, xattrs=xattrs
    )


def _path(name: bytes) -> str:
    """An entry's name as a path of the context. Raises BadArchive for one that leads out, or that no file can have."""
    path = posixpath.normpath(name.lstrip(b"/") or b".")
    parts = path.split(b"/")
    if parts[0] == b"..":
        raise BadArchive(f"a name that leads out of the context: entry {shown(name)}")
    if any(len(part) > _LONGEST_NAME for part in parts):
        raise BadArchive(f"a name longer than {_LONGEST_NAME} bytes: entry {shown(name)}")
    return "" if path == b"." else os.fsdecode(path)
