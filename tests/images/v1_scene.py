"""An image store with fakes around it, an in-test registry, and those that pull and push between them."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import attrs
from image_fakes import Scene
from registry_v1 import RegistryV1, running_registry

from trioker.http.client import Client, Upload
from trioker.images.pull_v1 import PullerV1
from trioker.images.push_v1 import PusherV1
from trioker.images.registry.names import Registries
from trioker.images.registry.v1 import Index, index_urls
from trioker.images.store import ImageStore
from trioker.model.image import Image
from trioker.model.layer import Unpacked
from trioker.model.progress import Credentials, Progress

NOBODY = Credentials()


@attrs.define
class Unpacking:
    """Remembers each tar. ``early`` stops reading after the first piece, as the unpacker does at a tar's end."""

    tars: list[bytes] = attrs.field(factory=list)
    early: bool = False

    async def unpack(self, path, whiteouts, chunks, *, below=()):
        tar = b""
        async for chunk in chunks:
            tar += chunk
            if self.early:
                break
        self.tars.append(tar)
        return Unpacked(len(tar), 1, f"sha256:{hashlib.sha256(tar).hexdigest()}")


@attrs.define
class Archives:
    """Layers as tars, by image id; counts how often each was read."""

    tars: dict[str, bytes] = attrs.field(factory=dict)
    read: list[str] = attrs.field(factory=list)

    @asynccontextmanager
    async def archive(self, image: Image) -> AsyncIterator[Upload]:
        async def pieces() -> AsyncIterator[bytes]:
            self.read.append(image.id)
            yield self.tars[image.id]

        yield Upload(pieces)


@attrs.define
class V1Scene:
    """Both sides."""

    registry: RegistryV1
    scene: Scene
    store: ImageStore
    puller: PullerV1
    pusher: PusherV1
    unpacking: Unpacking
    archives: Archives
    told: list[Progress] = attrs.field(factory=list)

    async def tell(self, progress: Progress) -> None:
        self.told.append(progress)

    @asynccontextmanager
    async def indexes(self, credentials: Credentials = NOBODY) -> AsyncIterator[list[Index]]:
        client = Client()
        try:
            urls = index_urls(self.registry.address, Registries())
            yield [Index(client, url, Registries(), credentials) for url in urls]
        finally:
            await client.aclose()

    async def pull(self, repository: str, tag: str = "", local: str = "") -> None:
        async with self.indexes() as each:
            await self.puller.pull(each, repository, local or repository, tag, self.tell)

    def names(self) -> dict[str, str]:
        return {tag.reference: tag.image_id for tag in self.store.tags()}


@contextmanager
def v1_scene(*images: Image, scene: Scene | None = None) -> Iterator[V1Scene]:
    scene = scene or Scene()
    store = scene.put(*images).open()
    unpacking, archives = Unpacking(), Archives()
    with running_registry() as registry:
        yield V1Scene(
            registry, scene, store, PullerV1(store, unpacking), PusherV1(store, archives), unpacking, archives
        )
