"""Hand-written stand-ins for the rooms around the image store."""

import hashlib
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from trioker.images.store import ImageStore, Rooms
from trioker.model.errors import Conflict, InvalidParameter, NotFound, TriokerError
from trioker.model.image import Image
from trioker.model.layer import Unpacked, chain_id


@attrs.define
class FakeRecords:
    """What is on the disk. ``broken`` makes every write fail; ``gate`` holds them up."""

    image_rows: dict = attrs.field(factory=dict)
    tag_rows: dict = attrs.field(factory=dict)
    broken: bool = False
    writes: int = 0
    gate: trio.Event | None = None

    def images(self):
        return tuple(self.image_rows.values())

    def tags(self):
        return tuple(self.tag_rows.values())

    async def _write(self):
        await trio.lowlevel.checkpoint()
        if self.gate is not None:
            await self.gate.wait()
        if self.broken:
            raise TriokerError("disk full")
        self.writes += 1

    async def save_images(self, images, tags=()):
        await self._write()
        self.image_rows |= {image.id: image for image in images}
        self.tag_rows |= {(tag.repository, tag.tag): tag for tag in tags}

    async def save_tag(self, tag):
        await self._write()
        self.tag_rows[tag.repository, tag.tag] = tag

    async def delete_names(self, tags, images):
        await self._write()
        for tag in tags:
            del self.tag_rows[tag.repository, tag.tag]
        for image_id in images:
            del self.image_rows[image_id]


@attrs.define
class FakeStaging:
    layers: "FakeLayers"
    key: str
    parent: str
    path: Path = Path("/staging")
    whiteouts: str = "remove"
    below: tuple = ()

    async def commit(self, diff, *, durable=True):
        await trio.lowlevel.checkpoint()
        self.layers.staged.pop(self.key)
        chain = chain_id(self.layers.chains.get(self.parent, ""), diff)
        if same := self.layers.find(chain):
            return same
        self.layers.parents[self.key] = self.parent
        self.layers.chains[self.key] = chain
        return self.key


@attrs.define
class FakeLayers:
    """Layers by key; containers' layers stand on them like any other."""

    parents: dict = attrs.field(factory=dict)
    chains: dict = attrs.field(factory=dict)
    staged: dict = attrs.field(factory=dict)
    failing: set = attrs.field(factory=set)
    """Keys that cannot be removed."""
    holds: Counter = attrs.field(factory=Counter)
    settled: list = attrs.field(factory=list)

    @asynccontextmanager
    async def stage(self, parent):
        key = f"{len(self.parents) + len(self.staged) + 1:064x}"
        self.staged[key] = parent
        try:
            yield FakeStaging(self, key, parent)
        finally:
            self.staged.pop(key, None)

    async def create(self, key, parent):
        await trio.lowlevel.checkpoint()
        self.parents[key] = parent

    def find(self, chain):
        return next((key for key, value in self.chains.items() if value == chain and key in self.parents), "")

    async def settle(self, keys):
        await trio.lowlevel.checkpoint()
        self.settled += keys

    def hold(self, key):
        if key not in self.parents:
            raise NotFound("No such layer")
        self.holds[key] += 1

    def let_go(self, key):
        self.holds[key] -= 1

    def held(self, key):
        return self.holds[key] > 0

    async def remove(self, key):
        await trio.lowlevel.checkpoint()
        if self.in_use(key) or self.held(key):
            raise Conflict("a layer stands on it")
        if key in self.failing:
            raise OSError("input/output error")
        self.parents.pop(key, None)

    def in_use(self, key):
        return key in self.parents.values() or key in self.staged.values()


@attrs.define
class FakeUnpacker:
    """Takes what comes; refuses a tar with "evil" in it."""

    seen: bytes = b""

    async def unpack(self, path, whiteouts, chunks, *, below=()):
        async for chunk in chunks:
            self.seen += chunk
            if b"evil" in chunk:
                raise InvalidParameter("the entry ../evil leaves the root")
        return Unpacked(len(self.seen), 1, f"sha256:{hashlib.sha256(self.seen).hexdigest()}")


@attrs.define
class FakeDownload:
    length: int
    chunks: object


@attrs.define
class FakeWeb:
    """One page at any address."""

    pieces: tuple = (b"0123456789", b"abc")
    length: int = 13
    fetched: list = attrs.field(factory=list)

    @asynccontextmanager
    async def fetch(self, url):
        self.fetched.append(url)
        yield FakeDownload(self.length, pieces(*self.pieces))


class pieces:  # noqa: N801 - reads like a function
    """An async iterable of bytes; an exception among them is raised, an Event waited for."""

    def __init__(self, *items):
        self._items = list(items)

    def __aiter__(self):
        return self

    async def __anext__(self):
        await trio.lowlevel.checkpoint()
        if not self._items:
            raise StopAsyncIteration
        item = self._items.pop(0)
        if isinstance(item, Exception):
            raise item
        if isinstance(item, trio.Event):
            await item.wait()
            return b"late"
        return item


@attrs.define
class Scene:
    """An image store with fakes around it. Images are given as ``name: parent``; their ids are the letter repeated."""

    records: FakeRecords = attrs.field(factory=FakeRecords)
    layers: FakeLayers = attrs.field(factory=FakeLayers)
    unpacker: FakeUnpacker = attrs.field(factory=FakeUnpacker)
    web: FakeWeb = attrs.field(factory=FakeWeb)
    containers: dict = attrs.field(factory=dict)
    """Image id by container id."""
    clock: Counter = attrs.field(factory=Counter)

    def put(self, *images: Image, tags=()):
        for image in images:
            self.records.image_rows[image.id] = image
            self.layers.parents.setdefault(image.layer, image.parent)
        for tag in tags:
            self.records.tag_rows[tag.repository, tag.tag] = tag
        return self

    def run(self, container, image):
        self.containers[container] = image.id
        self.layers.parents[container] = image.id
        return self

    def open(self) -> ImageStore:
        return ImageStore(
            Rooms(
                records=self.records,
                layers=self.layers,
                unpacker=self.unpacker,
                fetch=self.web.fetch,
                clock=self.tick,
                users=lambda image_id: [
                    f"container {key[:12]}" for key, value in self.containers.items() if value == image_id
                ],
                version="9.8.7",
            ),
            self.layers.parents.keys(),
        )

    def tick(self):
        self.clock["now"] += 1
        return self.clock["now"]

    def whole(self, store: ImageStore) -> bool:
        """Catalog, records and layers tell the same story, and nothing is half-made."""
        ids = {image.id for image in store.all()}
        assert ids == set(self.records.image_rows)
        assert {image.layer for image in store.all()} == self.layers.parents.keys() - self.containers.keys()
        assert not +self.layers.holds
        assert set(store.tags()) == set(self.records.tag_rows.values())
        assert {tag.image_id for tag in store.tags()} <= ids
        assert not self.layers.staged
        return True
