"""The blobs registries know by their digests, kept so that what was pulled is pushed byte for byte, and a broken pull goes on where it was.

ROOT/blobs/sha256/HEX are whole, ROOT/blobs/partial/HEX on their way. All of it is a cache: verified whenever it is used, never synced, and
bounded. Beyond ``limit`` bytes, or where less than a tenth of the file system is free, what was not wanted for longest goes first: layers
and what is half-fetched before manifests and configurations, which are small and worth the most. A layer whose blob went is packed anew.
"""

import hashlib
import logging
import os
import re
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Self
from weakref import WeakValueDictionary

import attrs
import trio

from trioker.images.parts import PIECE, Part, Spoiled
from trioker.images.ports import BlobRecords, Clock
from trioker.model.ids import new_id
from trioker.model.layer import Blob, KeptBlob

logger = logging.getLogger(__name__)

FREE = 0.1
"""Of the file system is left to others."""
FORGOTTEN_AFTER = 7 * 24 * 3600 * 10**9
"""Nanoseconds until a fetch that nobody took up again is given up: registries forget half an upload after a week, too."""
_HEX = re.compile(r"[0-9a-f]{64}")


class _Victim(NamedTuple):
    """What may go, in the order in which it goes."""

    is_document: bool
    used_ns: int
    digest: str
    size: int
    is_partial: bool


class BlobStore:
    """All blobs that are kept or on their way."""

    def __init__(self, root: Path, records: BlobRecords, clock: Clock, limit: int) -> None:
        """``limit`` bounds what is kept while nobody uses it, in bytes."""
        self.limit = limit
        self._whole, self._partial = root / "sha256", root / "partial"
        self._records = records
        self._clock = clock
        self._kept: dict[str, KeptBlob] = {}
        self._by_diff: dict[str, str] = {}
        self._parts: WeakValueDictionary[str, Part] = WeakValueDictionary()
        self._locks: WeakValueDictionary[str, trio.Lock] = WeakValueDictionary()
        self._wanted: Counter[str] = Counter()
        self._trimming = trio.Lock()

    @classmethod
    async def open(cls, root: Path, records: BlobRecords, clock: Clock, limit: int) -> Self:
        """The store as an earlier daemon left it; what it knows nothing of, or forgot a week ago, is removed."""
        blobs = cls(root, records, clock, limit)
        for directory in (blobs._whole, blobs._partial):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        await blobs._survey()
        await blobs.trim()
        return blobs

    def get(self, digest: str) -> KeptBlob | None:
        """What is known of a blob that is kept whole."""
        return self._kept.get(digest)

    def of_layer(self, diff: str) -> KeptBlob | None:
        """The blob a layer with this diff id came as, or was pushed as."""
        return self._kept.get(self._by_diff.get(diff, "")) if diff else None

    def lock(self, digest: str) -> trio.Lock:
        """Who holds it is the only one that fetches or makes this."""
        return self._locks.setdefault(digest, trio.Lock())

    @asynccontextmanager
    async def wanted(self, *digests: str) -> AsyncIterator[None]:
        """Keep blobs, whole or not, whatever the bounds; these count again when nobody wants them any more."""
        self._wanted.update(digests)
        try:
            for digest in dict.fromkeys(digests):
                await self._use(digest)
            yield
        finally:
            self._wanted.subtract(digests)
            with trio.CancelScope(shield=True):
                await self.trim()

    def part(self, digest: str) -> Part:
        """The blob as far as it is here. All who ask at the same time get the same one."""
        part = self._parts.get(digest)
        if part is None or part.spoiled:
            kept = self._kept.get(digest)
            if kept is None:
                part = Part(digest, self._partial / _hex(digest))
            else:
                part = Part(digest, self._whole / _hex(digest), kept.size, whole=True, doubtful=True, hash=None)
            self._parts[digest] = part
        return part

    def new_part(self) -> Part:
        """For a blob that is made here, whose digest nobody knows yet. Its file is removed at the next start, unless it is kept."""
        return Part("", self._partial / f"new-{new_id()}")

    async def keep(self, part: Part, media_type: str, diff: str = "") -> KeptBlob:
        """A part is whole and sound: from now on it is kept. ``diff`` as in KeptBlob."""
        kept = KeptBlob(part.digest, diff, part.size, media_type, self._clock())
        place = self._whole / _hex(part.digest)
        with trio.CancelScope(shield=True):
            os.rename(part.path, place)
            part.settle(place)
            await self._note(kept)
        return kept

    async def note_diff(self, digest: str, diff: str) -> None:
        """Which layer a blob turned out to be."""
        kept = self._kept.get(digest)
        if kept is not None and kept.diff != diff:
            await self._note(attrs.evolve(kept, diff=diff))

    async def save(self, raw: bytes, media_type: str) -> Blob:
        """Keep a manifest or a configuration."""
        digest = digest_of(raw)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync((self._whole / _hex(digest)).write_bytes, raw)
            await self._note(KeptBlob(digest, "", len(raw), media_type, self._clock()))
        return Blob(digest, len(raw), media_type)

    async def load(self, digest: str) -> bytes | None:
        """A manifest or a configuration; None if it is not here, or no longer what it was."""
        if digest not in self._kept:
            return None
        await self._use(digest)
        try:
            raw = await trio.to_thread.run_sync((self._whole / _hex(digest)).read_bytes)
        except FileNotFoundError:
            raw = b""
        if digest_of(raw) == digest:
            return raw
        await self.forget(digest)
        return None

    async def verify(self, digest: str) -> bool:
        """Whether a kept blob is what it was; it is forgotten if not."""
        part = self.part(digest)
        if not part.doubtful:
            return True
        try:
            async for _ in part.chunks():
                pass
        except Spoiled:
            await self.forget_damaged(part)
            return False
        return True

    def open_at(self, digest: str) -> Callable[[int], AsyncGenerator[bytes, None]]:
        """A kept blob's bytes from an offset on. Wanted as long as it is used."""
        path = self._whole / _hex(digest)
        return lambda offset: _read_from(path, offset)

    async def forget(self, digest: str) -> None:
        """Remove a blob, whole or partial; an unknown one is no error."""
        part = self._parts.pop(digest, None)
        if part is not None:
            part.spoil()
        for directory in (self._whole, self._partial):
            (directory / _hex(digest)).unlink(missing_ok=True)
        kept = self._kept.pop(digest, None)
        if kept is not None:
            if self._by_diff.get(kept.diff) == digest:
                del self._by_diff[kept.diff]
            with trio.CancelScope(shield=True):
                await self._records.delete_blob(digest)

    async def forget_damaged(self, part: Part) -> None:
        """Remove a blob that was kept as whole and turned out damaged, unless what is kept by now is another fetch's."""
        if part.whole and self._parts.get(part.digest) is part:
            await self.forget(part.digest)

    async def size(self) -> int:
        """Bytes of all that is here."""
        return sum(victim.size for victim in await self._victims())

    async def trim(self) -> None:
        """Let go of what is beyond the bounds and not wanted."""
        async with self._trimming:
            victims = sorted(await self._victims())
            size = sum(victim.size for victim in victims)
            for victim in victims:
                if size <= self.limit and not self._is_scarce():
                    return
                if not self._wanted[victim.digest]:
                    await self.forget(victim.digest)
                    size -= victim.size

    async def _victims(self) -> list[_Victim]:
        kept = [_Victim(not each.diff, each.used_ns, each.digest, each.size, False) for each in self._kept.values()]
        return [*kept, *await trio.to_thread.run_sync(self._partials)]

    def _partials(self) -> list[_Victim]:
        found = []
        for entry in _entries(self._partial):
            with suppress(FileNotFoundError):  # it has just become whole, or was given up
                status = entry.stat()
                found.append(_Victim(False, status.st_mtime_ns, f"sha256:{entry.name}", status.st_size, True))
        return found

    def _is_scarce(self) -> bool:
        system = os.statvfs(self._whole)
        return system.f_bavail < FREE * system.f_blocks

    async def _use(self, digest: str) -> None:
        kept = self._kept.get(digest)
        if kept is not None:
            await self._note(attrs.evolve(kept, used_ns=self._clock()))

    async def _note(self, kept: KeptBlob) -> None:
        self._kept[kept.digest] = kept
        if kept.diff:
            self._by_diff[kept.diff] = kept.digest
        with trio.CancelScope(shield=True):
            await self._records.save_blob(kept)

    async def _survey(self) -> None:
        """Make files and records tell one story."""
        sizes = {f"sha256:{entry.name}": entry.stat().st_size for entry in _entries(self._whole)}
        for kept in self._records.blobs():
            if sizes.pop(kept.digest, None) == kept.size:
                self._kept[kept.digest] = kept
                self._by_diff[kept.diff] = kept.digest
            else:
                await self._records.delete_blob(kept.digest)
                (self._whole / _hex(kept.digest)).unlink(missing_ok=True)
        for digest in sizes:
            (self._whole / _hex(digest)).unlink()
        for entry in _entries(self._partial):
            if not _HEX.fullmatch(entry.name) or self._clock() - entry.stat().st_mtime_ns > FORGOTTEN_AFTER:
                os.unlink(entry)


def digest_of(raw: bytes) -> str:
    """How registries name these bytes."""
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _entries(directory: Path) -> Iterator["os.DirEntry[str]"]:
    with os.scandir(directory) as found:
        yield from found


async def _read_from(path: Path, offset: int) -> AsyncGenerator[bytes, None]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while piece := await trio.to_thread.run_sync(os.pread, fd, PIECE, offset):
            offset += len(piece)
            yield piece
    finally:
        os.close(fd)
