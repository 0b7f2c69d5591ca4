"""A blob on its way in: a file that only grows, hashed as it does, and followed by whoever unpacks it."""

import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from trioker.model.errors import TriokerError

PIECE = 2**20
"""Bytes hashed, written or read by a thread at a time: a trip to one costs as much as hashing 100 KB."""


class Spoiled(TriokerError):
    """What was read of a blob is not what its digest stands for, and has been thrown away."""


class WrongLength(TriokerError):
    """A registry has something else under a digest than its manifest says."""


@attrs.define(eq=False)
class Part:
    """One blob, whole or as far as it has come."""

    digest: str
    path: Path
    """Where the bytes are now; a whole blob is moved to its place."""
    size: int = 0
    """Bytes in the file, and in the hash."""
    whole: bool = False
    """All is here, and the file is where it stays."""
    spoiled: bool = False
    doubtful: bool = False
    """Some of it was here before anybody alive saw it: what reads it may stumble before the digest tells that it is damaged."""
    _hash: "hashlib._Hash | None" = attrs.field(factory=hashlib.sha256)
    """None for what an earlier daemon or hour has verified: then each reader verifies."""
    _grown: trio.Event = attrs.field(factory=trio.Event)

    async def take_up(self) -> None:
        """Hash what an earlier daemon left, to go on behind it."""
        if not self.size and self.path.exists():
            self._hash, self.size = await trio.to_thread.run_sync(_hashed, self.path)
            self.doubtful = True
            self._tell()

    @asynccontextmanager
    async def growing(self, most: int) -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
        """Gives a function that appends, up to ``most`` bytes in all. Small pieces are gathered; what was appended stays when the body fails.

        Raises WrongLength, and OSError where the disk is full.
        """
        pending = bytearray()
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)

        async def append(data: bytes) -> None:
            if self.size + len(pending) + len(data) > most:
                raise WrongLength(f"blob {self.digest}: expected {most} bytes, the registry sends more")
            pending.extend(data)
            if len(pending) >= PIECE:
                await flush()

        async def flush() -> None:
            data = bytes(pending)
            pending.clear()
            await trio.to_thread.run_sync(self._write, fd, data)
            self.size += len(data)
            self._tell()

        try:
            os.ftruncate(fd, self.size)  # behind that may be a piece that was not written to its end
            try:
                yield append
            finally:
                with trio.CancelScope(shield=True):
                    if pending:
                        await flush()
        finally:
            os.close(fd)
            if not self.size:
                self.path.unlink(missing_ok=True)

    def is_sound(self) -> bool:
        """Whether the bytes that came are those of the digest."""
        return self._hash is not None and f"sha256:{self._hash.hexdigest()}" == self.digest

    def take_name(self) -> None:
        """It was made here, and what came is what it is."""
        self.digest = f"sha256:{self._hash.hexdigest()}" if self._hash else self.digest

    def settle(self, path: Path) -> None:
        """It is whole, sound, and at ``path`` now."""
        self.path, self.whole = path, True
        self._tell()

    def spoil(self) -> None:
        """Throw away what is here; who follows gets Spoiled."""
        self.spoiled = True
        self.path.unlink(missing_ok=True)
        self._tell()

    async def wait_whole(self) -> None:
        """Until all is here and verified. Raises Spoiled."""
        async for _ in self.sizes():
            pass

    async def sizes(self) -> AsyncGenerator[int, None]:
        """How many bytes there are, whenever there are more, until it is whole. Raises Spoiled."""
        while not self.whole:
            await self._wait_for(self.size + 1)
            yield self.size

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes from the start, waiting for those to come. Close it. Raises Spoiled, at the latest at the end."""
        check = hashlib.sha256() if self._hash is None else None
        await self._wait_for(1)
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise self._is_spoiled() from None
        try:
            position = 0
            while await self._wait_for(position + 1):
                piece = await trio.to_thread.run_sync(_read, fd, position, min(PIECE, self.size - position), check)
                if not piece:
                    raise self._is_spoiled()
                position += len(piece)
                yield piece
        finally:
            os.close(fd)
        if check is not None and f"sha256:{check.hexdigest()}" != self.digest:
            raise self._is_spoiled()

    async def _wait_for(self, size: int) -> bool:
        """Whether there are so many bytes, once that is known. Raises Spoiled."""
        while self.size < size and not self.whole and not self.spoiled:
            await self._grown.wait()
        if self.spoiled:
            raise self._is_spoiled()
        return self.size >= size

    def _is_spoiled(self) -> Spoiled:
        return Spoiled(f"blob {self.digest} is damaged")

    def _tell(self) -> None:
        self._grown.set()
        self._grown = trio.Event()

    def _write(self, fd: int, data: bytes) -> None:
        view = memoryview(data)
        offset = self.size
        while view:
            written = os.pwrite(fd, view, offset)
            offset, view = offset + written, view[written:]
        if self._hash is not None:
            self._hash.update(data)


def _hashed(path: Path) -> "tuple[hashlib._Hash, int]":
    with path.open("rb") as file:
        done = hashlib.file_digest(file, "sha256")
        return done, file.tell()


def _read(fd: int, position: int, size: int, check: "hashlib._Hash | None") -> bytes:
    piece = os.pread(fd, size, position)
    if check is not None:
        check.update(piece)
    return piece
