"""Layers on their way out: the blob they came as, or a new one, the same bytes each time."""

import hashlib
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import trio

from trioker.http.client import Upload
from trioker.images.blobs import BlobStore
from trioker.images.parts import PIECE
from trioker.images.ports import Layers, Send, Trees
from trioker.images.registry.media import DOCKER_LAYER_GZIP
from trioker.model.container import ChangeKind
from trioker.model.errors import TriokerError
from trioker.model.ids import short_id
from trioker.model.image import Image
from trioker.model.layer import KeptBlob

LEVEL = 4
"""Of gzip. Measured: twice as fast as its usual 6 for 4 % more bytes."""
_MOST = 2**44  # bytes of one layer, compressed: the largest file of ext4


class _Packing:
    """A tar that is compressed and hashed, a piece at a time, in a thread."""

    def __init__(self) -> None:
        self._tar = hashlib.sha256()
        self._gzip = zlib.compressobj(LEVEL, wbits=zlib.MAX_WBITS | 16)  # 16: as gzip, whose header then holds no time
        self._pending = bytearray()

    @property
    def diff(self) -> str:
        """The layer's diff id."""
        return f"sha256:{self._tar.hexdigest()}"

    async def take(self, data: bytes) -> bytes:
        """More of the tar; returns what is compressed."""
        self._pending += data
        return await self._compress() if len(self._pending) >= PIECE else b""

    async def end(self) -> bytes:
        """The last of it."""
        return await self._compress() + self._gzip.flush()

    async def _compress(self) -> bytes:
        data, self._pending = bytes(self._pending), bytearray()
        return await trio.to_thread.run_sync(self._work, data)

    def _work(self, data: bytes) -> bytes:
        self._tar.update(data)
        return self._gzip.compress(data)


@attrs.frozen
class LayersOut:
    """Finds or makes the blobs that layers are pushed as."""

    layers: Layers
    trees: Trees
    blobs: BlobStore

    @asynccontextmanager
    async def blob(self, key: str) -> AsyncIterator[KeptBlob]:
        """The layer as a blob that is kept for the body. Raises NotFound, and TriokerError where it cannot be packed."""
        async with AsyncExitStack() as stack:
            async with self.blobs.lock(key):
                kept = self.blobs.of_layer(self.layers.record(key).diff)
                if kept is None:
                    kept = await self._pack(key, stack)
                else:
                    await stack.enter_async_context(self.blobs.wanted(kept.digest))
            yield kept

    @asynccontextmanager
    async def archive(self, image: Image) -> AsyncIterator[Upload]:
        """The image's own layer for a registry of 2013 (``push_v1.Archives``)."""
        async with self.blob(image.layer) as kept:
            yield Upload(lambda: self.blobs.open_at(kept.digest)(0), kept.size)

    async def _pack(self, key: str, stack: AsyncExitStack) -> KeptBlob:
        part, packing = self.blobs.new_part(), _Packing()
        try:
            async with part.growing(_MOST) as append:

                async def send(data: bytes) -> None:
                    await append(await packing.take(data))

                await self._send_tar(key, send)
                await append(await packing.end())
            part.take_name()
            await stack.enter_async_context(self.blobs.wanted(part.digest))
            kept = await self.blobs.keep(part, DOCKER_LAYER_GZIP, packing.diff)
        except OSError as error:
            raise TriokerError(f"layer {short_id(key)} could not be packed: {error.strerror}") from error
        finally:
            if not part.whole:
                part.spoil()
        if not self.layers.record(key).diff:
            await self.layers.learn_diff(key, kept.diff)
        return kept

    async def _send_tar(self, key: str, send: Send) -> None:
        """The whole tree of a bottom layer, else what differs from the layer below."""
        mounts = await self.layers.mounts(key, readonly=True)
        if not self.layers.record(key).parent:
            await self.trees.pack(mounts, send)
            return
        changes = await self.layers.changes(key)
        deleted = [path for path, kind in changes if kind is ChangeKind.DELETED]
        only = [path for path, kind in changes if kind is not ChangeKind.DELETED]
        await self.trees.pack(mounts, send, only=only, deleted=deleted)
