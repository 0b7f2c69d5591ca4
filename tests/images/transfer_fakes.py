"""A store with tars for layers, and what pulls and pushes need around it."""

import hashlib
import itertools
import zlib
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio
from image_fakes import FakeLayers, FakeStaging, Scene

from trioker.http.client import Client
from trioker.images.blobs import BlobStore
from trioker.images.layers_in import LayersIn
from trioker.images.layers_out import LayersOut
from trioker.images.pull import Puller
from trioker.images.pull_v1 import PullerV1
from trioker.images.push import Pusher
from trioker.images.push_v1 import PusherV1
from trioker.images.registry.names import Registries
from trioker.images.registry.platforms import Platform
from trioker.images.registry.tokens import Tokens
from trioker.model.errors import InvalidParameter
from trioker.model.ids import new_id
from trioker.model.layer import LayerRecord, Unpacked, chain_id
from trioker.model.progress import Credentials

NOBODY = Credentials()


@attrs.define
class FakeBlobRecords:
    rows: dict = attrs.field(factory=dict)

    def blobs(self):
        return tuple(sorted(self.rows.values(), key=lambda blob: blob.used_ns))

    async def save_blob(self, blob):
        await trio.lowlevel.checkpoint()
        self.rows[blob.digest] = blob

    async def delete_blob(self, digest):
        await trio.lowlevel.checkpoint()
        self.rows.pop(digest, None)


@attrs.define(slots=False)
class TarLayers(FakeLayers):
    """Layers whose content is the tar they were made of."""

    tars: dict = attrs.field(factory=dict)
    diffs: dict = attrs.field(factory=dict)

    @asynccontextmanager
    async def stage(self, parent):
        key = new_id()
        self.staged[key] = parent
        try:
            yield TarStaging(self, key, parent, Path("/") / key)
        finally:
            self.staged.pop(key, None)

    def record(self, key):
        return LayerRecord(
            key, self.parents[key], ready=True, chain=self.chains.get(key, ""), diff=self.diffs.get(key, "")
        )

    async def mounts(self, key, *, readonly):
        await trio.lowlevel.checkpoint()
        return [key]

    async def changes(self, key):
        await trio.lowlevel.checkpoint()
        return []

    async def usage(self, key):
        await trio.lowlevel.checkpoint()
        return len(self.tars[key])

    async def learn_diff(self, key, diff):
        await trio.lowlevel.checkpoint()
        self.diffs[key], self.chains[key] = diff, chain_id(self.chains.get(self.parents[key], ""), diff)


class TarStaging(FakeStaging):
    async def commit(self, diff, *, durable=True):
        key = await super().commit(diff, durable=durable)
        self.layers.diffs[key] = diff
        return key


@attrs.define(slots=False)
class TarUnpacker:
    """Undoes gzip, and refuses what the real one would."""

    layers: TarLayers
    unpacked: list = attrs.field(factory=list)
    hold: trio.Event | None = None

    async def unpack(self, path, whiteouts, chunks, *, below=()):
        if self.hold is not None:
            await self.hold.wait()
        tar, inflate = b"", zlib.decompressobj(zlib.MAX_WBITS | 16)
        async for chunk in chunks:
            try:
                tar += inflate.decompress(chunk)
            except zlib.error as error:
                raise InvalidParameter(f"damaged gzip data: {error}") from None
            if b"evil" in tar:
                raise InvalidParameter("the entry ../evil leaves the root")
        self.layers.tars[path.name] = tar
        self.unpacked.append(path.name)
        return Unpacked(len(tar), 1, f"sha256:{hashlib.sha256(tar).hexdigest()}")


@attrs.define(slots=False)
class TarTrees:
    layers: TarLayers
    packed: list = attrs.field(factory=list)

    async def pack(self, mounts, send, *, only=None, deleted=(), sources=()):
        self.packed.append(mounts[0])
        await send(self.layers.tars[mounts[0]])


@attrs.define(slots=False)
class Transfers:
    """One daemon's store, puller and pusher."""

    directory: Path
    registries: Registries = Registries()
    limit: int = 10**9
    scene: Scene = attrs.field(factory=lambda: Scene(layers=TarLayers()))
    records: FakeBlobRecords = attrs.field(factory=FakeBlobRecords)
    told: list = attrs.field(factory=list)

    async def open(self):
        self.layers = self.scene.layers
        self.unpacker, self.trees = TarUnpacker(self.layers), TarTrees(self.layers)
        self.store = self.scene.open()
        ticks = itertools.count(10**18)
        self.blobs = await BlobStore.open(self.directory, self.records, lambda: next(ticks), self.limit)
        tokens = Tokens(Client(), self.registries)
        out = LayersOut(self.layers, self.trees, self.blobs)
        self.puller = Puller(
            self.store, self.layers, LayersIn(self.blobs, self.unpacker), self.blobs, PullerV1(self.store, self.unpacker),
            tokens, self.registries, Platform("linux", "amd64", "v2"),
        )  # fmt: skip
        self.pusher = Pusher(self.store, out, self.blobs, PusherV1(self.store, out), tokens, self.registries)
        return self

    async def tell(self, progress):
        await trio.lowlevel.checkpoint()
        self.told.append(progress)

    @property
    def said(self):
        return [each.status for each in self.told]

    async def pull(self, name, tag=""):
        await self.puller.pull(name, tag, "", NOBODY, self.tell)

    async def push(self, name, tag=""):
        await self.pusher.push(name, tag, "", NOBODY, self.tell)

    def files(self, kind):
        """Sizes of the blobs ``whole`` or ``partial``, by name."""
        return {each.name: each.stat().st_size for each in (self.directory / kind).iterdir()}

    def unused(self):
        """Nothing is wanted, held or half-made."""
        return not +self.blobs._wanted and not +self.layers.holds and not self.layers.staged
