"""Tars that lie in a build's directory, uncompressed and indexed: its context, and what COPY takes from other images."""

import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import attrs

from trioker.images.build.context import Context, index
from trioker.images.build.entries import ContextEntry
from trioker.images.build.scratch import through_thread, write_all
from trioker.images.ports import Send
from trioker.launcher.decompress import open_blocks
from trioker.launcher.tar_header import BLOCK, BadArchive, parse_header
from trioker.model.errors import InvalidParameter

LARGEST = 2**34
"""Bytes of one tar, uncompressed. The disk it lies on is also the images': nothing a client sends may fill it without bound."""

_PIECE = 2**18
HEAD = 2**20
"""Bytes of a file by which an archive is told: bzip2 gives nothing before a whole block, which is up to 900 kB."""


@attrs.frozen
class Archive:
    """A file and what is where in it."""

    path: Path
    context: Context

    def data(self, entry: ContextEntry) -> Iterator[bytes]:
        """The stored bytes of one of its files; blocking."""
        with open(self.path, "rb") as file:
            file.seek(entry.offset)
            left = entry.stored
            while left and (piece := file.read(min(left, _PIECE))):
                left -= len(piece)
                yield piece


EMPTY = Archive(Path(os.devnull), Context({"": ContextEntry("", b"5", 0o755)}, {"": ()}))
"""The context of a build that was given none."""


async def receive(feed: Callable[[Send], Awaitable[None]], path: Path) -> Archive:
    """Write the tar that ``feed`` sends, compressed or not, to a new file. Raises InvalidParameter for what is none, and what ``feed`` raises."""
    return Archive(path, await through_thread(feed, partial(_index_into, path)))


def _index_into(path: Path, fd: int) -> Context:
    with open(path, "xb", buffering=0) as file:

        def read() -> bytes:
            block = blocks()
            write_all(file.fileno(), block)
            return block

        try:
            blocks = open_blocks(fd)
        except BadArchive as error:
            raise InvalidParameter(f"bad build context: {error}") from None
        return index(read, max_bytes=LARGEST)


def is_archive(pieces: Iterable[bytes]) -> bool:
    """Whether a file's content is a tar, in any compression we know: what ADD unpacks (Dockerfile reference, "ADD"). Blocking."""
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= HEAD:
            break
    fd = os.memfd_create("head", os.MFD_CLOEXEC)
    try:
        write_all(fd, head)
        os.lseek(fd, 0, os.SEEK_SET)
        parse_header(_first_block(fd))
        return True
    except (BadArchive, ValueError):
        return False
    finally:
        os.close(fd)


def _first_block(fd: int) -> bytes:
    read = open_blocks(fd)
    block = b""
    while len(block) < BLOCK and (more := read()):
        block += more
    if len(block) < BLOCK:
        raise BadArchive("no whole block")
    return block[:BLOCK]
