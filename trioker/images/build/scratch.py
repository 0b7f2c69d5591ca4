"""A build's own directory below ROOT/tmp, and files written there piece by piece."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from trioker.images.ports import Send
from trioker.model.errors import InvalidParameter

T = TypeVar("T")

Data = bytes | memoryview
PREFIX = "build-"
_BATCH = 2**18  # bytes: what a thread is worth waking for


@asynccontextmanager
async def scratch(root: Path) -> AsyncIterator[Path]:
    """A new directory, gone with all that is in it when the body ends."""
    root.mkdir(mode=0o700, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
    try:
        yield path
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(partial(shutil.rmtree, path, ignore_errors=True))


def sweep(root: Path) -> None:
    """Remove what builds of an earlier daemon left. For start-up."""
    for path in root.glob(f"{PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)


async def save(chunks: AsyncIterable[bytes], path: Path, limit: int, what: str) -> tuple[int, str]:
    """Write what comes to a new file; its size and ``sha256:`` digest. Raises InvalidParameter naming ``what`` past ``limit`` bytes."""
    size, digest = 0, hashlib.sha256()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def take(chunk: bytes) -> None:
        digest.update(chunk)
        write_all(fd, chunk)

    try:
        async for chunk in chunks:
            size += len(chunk)
            if size > limit:
                raise InvalidParameter(f"{what} is larger than the {limit} bytes allowed")
            await trio.to_thread.run_sync(take, chunk)
    finally:
        os.close(fd)
    return size, f"sha256:{digest.hexdigest()}"


class _Pieces(AsyncIterator[bytes]):
    """See ``pieces_of``; not a generator: one that is left half-way would need closing."""

    def __init__(self, pieces: Iterable[Data]) -> None:
        self._pieces = iter(pieces)

    async def __anext__(self) -> bytes:
        batch = await trio.to_thread.run_sync(self._batch)
        if not batch:
            raise StopAsyncIteration
        return batch

    def _batch(self) -> bytes:
        batch = bytearray()
        for piece in self._pieces:
            batch += piece
            if len(batch) >= _BATCH:
                break
        return bytes(batch)


def pieces_of(pieces: Iterable[Data]) -> AsyncIterator[bytes]:
    """The same bytes to be waited for: what is iterated over may block, and is so in a thread."""
    return _Pieces(pieces)


def file_pieces(path: Path) -> AsyncIterator[bytes]:
    """A file's bytes."""
    return pieces_of(_read(path))


def _read(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while piece := file.read(_BATCH):
            yield piece


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Every byte of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


async def through_thread(feed: Callable[[Send], Awaitable[None]], work: Callable[[int], T]) -> T:
    """What ``work`` makes, in a thread, of the descriptor from which it reads what ``feed`` sends.

    A thread cannot be cancelled, but its source can end: so it does when the caller is cancelled or ``feed`` fails.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    done: list[T] = []
    failures: list[Exception] = []

    async def read() -> None:
        try:
            done.append(await trio.to_thread.run_sync(work, reader))
        except Exception as error:  # noqa: BLE001  raised below, without the nursery's wrapping
            failures.append(error)
        finally:
            os.close(reader)

    async with trio.open_nursery() as nursery, trio.lowlevel.FdStream(writer) as pipe:
        nursery.start_soon(read)
        try:
            await feed(pipe.send_all)
        except trio.BrokenResourceError:
            pass  # the thread has stopped reading, and says why
        except Exception as error:  # noqa: BLE001  the thread will complain of an early end: this is why
            failures.append(error)
    if failures:
        raise failures[0]
    return done[0]


def sending(chunks: AsyncIterable[bytes]) -> Callable[[Send], Awaitable[None]]:
    """A ``feed`` of what is there to iterate over."""

    async def feed(send: Send) -> None:
        async for chunk in chunks:
            await send(chunk)

    return feed
