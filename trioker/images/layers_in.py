"""Layers on their way in: unpacked while they are fetched, in their order, and each only once whoever wants it."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from weakref import WeakValueDictionary

import attrs
import trio

from trioker.images.blobs import BlobStore
from trioker.images.board import Board
from trioker.images.fetching import Source, fetch
from trioker.images.holding import Holding
from trioker.images.parts import Part, Spoiled
from trioker.images.ports import Unpacker
from trioker.images.tasks import each, nursery
from trioker.model.errors import TriokerError
from trioker.model.ids import short_id
from trioker.model.layer import Blob

AT_ONCE = 3
"""Layers fetched at a time by one pull: enough to fill a line, few enough that the lowest, which all others wait for, comes soon."""
_TRIES = 3  # of a layer: kept bytes may be damaged, and so may what an earlier fetch left


@attrs.frozen
class Layer:
    """One layer that an image wants."""

    blob: Blob
    diff: str
    """Digest of its uncompressed tar."""
    chain: str
    """What it is together with all below it (``model.layer.chain_id``)."""

    @property
    def part(self) -> str:
        """What the client sees of it."""
        return short_id(self.blob.digest.removeprefix("sha256:"))


@attrs.frozen
class _Job:
    """What one pull gives along with each of its layers."""

    held: Holding
    source: Source
    board: Board


class LayersIn:
    """Puts layers where images find them."""

    def __init__(self, blobs: BlobStore, unpacker: Unpacker) -> None:
        self._blobs = blobs
        self._unpacker = unpacker
        self._locks: WeakValueDictionary[str, trio.Lock] = WeakValueDictionary()
        self.sizes: dict[str, int] = {}
        """Bytes in the layers that were just made, by key: no image tells them yet."""

    @asynccontextmanager
    async def placed(
        self, layers: Sequence[Layer], held: Holding, source: Source, board: Board
    ) -> AsyncIterator[Sequence[str]]:
        """The keys of the layers, lowest first, held; those that are not here are fetched. Raises TriokerError naming what is wrong."""
        keys = _present(layers, held, board)
        missing = layers[len(keys) :]
        for layer in missing:
            board.post("Pulling fs layer", layer.part)
        job = _Job(held, source, board)
        try:
            async with self._blobs.wanted(*(layer.blob.digest for layer in missing)):
                async with nursery() as tasks:
                    tasks.start_soon(each, missing, partial(self._fetch, job), AT_ONCE)
                    for layer in missing:
                        keys.append(await self._place(job, layer, keys[-1] if keys else ""))
                yield keys
        finally:
            for key in keys:
                self.sizes.pop(key, None)

    async def _fetch(self, job: _Job, layer: Layer) -> None:
        async with nursery() as tasks:
            tasks.start_soon(_show, self._blobs.part(layer.blob.digest), layer, job.board)
            await fetch(self._blobs, layer.blob, job.source)
            tasks.cancel_scope.cancel()
        job.board.post("Download complete", layer.part)

    async def _place(self, job: _Job, layer: Layer, parent: str) -> str:
        lock = self._locks.setdefault(layer.chain, trio.Lock())
        async with lock:  # another pull may be at it: then we find what it made
            key = job.held.find(layer.chain) or await self._make(job, layer, parent)
        job.board.post("Pull complete", layer.part)
        return key

    async def _make(self, job: _Job, layer: Layer, parent: str) -> str:
        for _ in range(_TRIES):
            part = self._blobs.part(layer.blob.digest)
            try:
                return await self._unpack(job, layer, parent, part)
            except Spoiled:
                await self._blobs.forget_damaged(part)
                await fetch(self._blobs, layer.blob, job.source)
        raise TriokerError(f"blob {layer.blob.digest} came damaged again and again")

    async def _unpack(self, job: _Job, layer: Layer, parent: str, part: Part) -> str:
        """As the layer is fetched beside us. It becomes one when its last byte is here and verified."""
        chunks = _counted(part.chunks(), layer, job.board)
        async with job.held.stage(parent) as staging, aclosing(chunks):
            try:
                unpacked = await self._unpacker.unpack(staging.path, staging.whiteouts, chunks, below=staging.below)
            except TriokerError:
                if part.doubtful:
                    await self._check(part)
                raise
            await part.wait_whole()
            if unpacked.diff != layer.diff:
                raise TriokerError(
                    f"layer {layer.blob.digest} unpacks to {unpacked.diff}, and its image says {layer.diff}"
                )
            key = job.held.keep(await staging.commit(unpacked.diff, durable=False))
        self.sizes.setdefault(key, unpacked.size)
        await self._blobs.note_diff(layer.blob.digest, layer.diff)
        return key

    async def _check(self, part: Part) -> None:
        """Raises Spoiled where it is not the layer that was wrong, but what we had kept of it."""
        await part.wait_whole()
        if not await self._blobs.verify(part.digest):
            raise Spoiled(f"blob {part.digest} was damaged on the disk")


def _present(layers: Sequence[Layer], held: Holding, board: Board) -> list[str]:
    keys: list[str] = []
    for layer in layers:
        key = held.find(layer.chain)
        if not key:
            break
        board.post("Already exists", layer.part)
        keys.append(key)
    return keys


async def _show(part: Part, layer: Layer, board: Board) -> None:
    """How far a fetch is, whoever does it."""
    with suppress(Spoiled):
        async for size in part.sizes():
            board.post("Downloading", layer.part, size, layer.blob.size)


async def _counted(chunks: AsyncGenerator[bytes, None], layer: Layer, board: Board) -> AsyncGenerator[bytes, None]:
    taken = 0
    async with aclosing(chunks):
        async for chunk in chunks:
            yield chunk
            taken += len(chunk)
            board.post("Extracting", layer.part, taken, layer.blob.size)
