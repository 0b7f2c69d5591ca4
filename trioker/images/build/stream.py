"""The tar that puts what COPY and ADD selected into a tree."""

import os
from collections.abc import Callable, Iterable, Iterator

from trioker.images.build.context import Data, with_holes
from trioker.images.build.entries import ContextEntry, Placed
from trioker.images.build.modes import Change, parse_mode
from trioker.launcher.tar_header import DIRECTORY, FILE, HARD_LINK, Entry
from trioker.launcher.tar_writer import END, encode_header, padding

Open = Callable[[ContextEntry], Iterable[Data]]
"""The stored bytes of a file, ``stored`` of them: without the holes of a sparse one."""


def tar_of(placed: Iterable[Placed], open_data: Open, *, mode: str = "", keep_owner: bool = False) -> Iterator[Data]:
    """The archive, piece by piece; names are relative to the destination.

    ``mode`` is that of ``--chmod``. All belongs to root, as what comes from a context does (Dockerfile reference, "COPY --chown");
    ``keep_owner`` is for what comes from another stage or image. Raises InvalidParameter for a bad mode.
    """
    change = parse_mode(mode)
    return _tar(placed, open_data, change, keep_owner=keep_owner)


def _tar(placed: Iterable[Placed], open_data: Open, change: Change, *, keep_owner: bool) -> Iterator[Data]:
    names: dict[int, str] = {}  # of the source at hand: where each file's bytes are stored, and its first name
    for each in placed:
        entry = each.entry
        if each.named:
            names.clear()
        elif entry.kind == FILE and names.setdefault(entry.offset, each.name) != each.name:
            yield encode_header(_another_name(each.name, names[entry.offset]))
            continue
        yield encode_header(_header(each.name, entry, change, keep_owner=keep_owner))
        if entry.kind == FILE:
            yield from _data(entry, open_data)
            yield padding(entry.size)
    yield END


def _header(name: str, entry: ContextEntry, change: Change, *, keep_owner: bool) -> Entry:
    directory = entry.kind == DIRECTORY
    mode = change(entry.mode, directory) if directory or entry.kind == FILE else entry.mode
    owner = (entry.uid, entry.gid) if keep_owner else (0, 0)
    path = os.fsencode(f"{name}/" if directory else name)
    link, xattrs = os.fsencode(entry.link), dict(entry.xattrs)
    return Entry(path, entry.kind, mode, *owner, entry.mtime_ns, entry.size, entry.size, link, entry.device, xattrs)


def _another_name(name: str, first: str) -> Entry:
    """A hard link: two names in one source that share their bytes are of one file, and stay so."""
    return Entry(os.fsencode(name), HARD_LINK, 0, 0, 0, 0, 0, 0, os.fsencode(first), 0)


def _data(entry: ContextEntry, open_data: Open) -> Iterator[Data]:
    if entry.pieces is None:
        yield from open_data(entry)
        return
    stored = _Stored(open_data(entry))
    yield from with_holes(entry.size, entry.pieces, stored.take)


class _Stored:
    """A row of blocks, taken in other portions."""

    def __init__(self, blocks: Iterable[Data]) -> None:
        self._blocks = iter(blocks)
        self._block: Data = b""

    def take(self, size: int) -> Iterator[Data]:
        """The next ``size`` bytes."""
        while size:
            piece, self._block = self._block[:size], self._block[size:]
            size -= len(piece)
            yield piece
            if size and not self._block:
                self._block = next(self._blocks)
