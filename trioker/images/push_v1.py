"""Pushing by the registry protocol of 2013."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol

import attrs

from trioker.http.client import Upload
from trioker.images.registry.v1 import Index, Registry
from trioker.images.registry.v1_forms import Entry, Grant, layer_checksum
from trioker.images.registry.v1_image import encode_image
from trioker.images.registry.v1_wire import first_answer
from trioker.model.ids import short_id
from trioker.model.image import Image, Tag
from trioker.model.progress import Progress, Tell

EMPTY_TAR = bytes(1024)
"""The layer of an image that changed only the configuration: tar's two end blocks."""


class Images(Protocol):
    """The image store."""

    def lineage(self, image_id: str) -> Sequence[Image]:
        """The image and its ancestors, newest first. Takes a full id. Raises NotFound."""


class Archives(Protocol):
    """The layers as tars."""

    def archive(self, image: Image) -> AbstractAsyncContextManager[Upload]:
        """The image's own layer, compressed or not: the same bytes each time it is opened, while the context lasts."""


@attrs.frozen
class _Parcel:
    """One generation, ready to be sent."""

    image: Image
    json: bytes
    checksum: str
    layer: Upload


@attrs.frozen
class PusherV1:
    """Sends images to 2013's registries."""

    images: Images
    archives: Archives

    async def push(self, indexes: Sequence[Index], repository: str, tags: Sequence[Tag], tell: Tell) -> None:
        """A repository's tags, with all generations below them, to every registry that the index names; the first that answers is used.

        Raises Unauthorized, Forbidden, TriokerError.
        """
        async with AsyncExitStack() as stack:
            parcels = await self._pack(stack, [tag.image_id for tag in tags], tell)
            await tell(Progress("Sending image list"))
            entries = _entries(parcels, tags)
            index, grant = await first_answer(indexes, lambda each: _granted(each, repository, entries))
            for endpoint in grant.endpoints:
                await tell(Progress(f"Pushing repository {tags[0].repository} to {endpoint} ({len(tags)} tags)"))
                registry = index.registry(grant, endpoint)
                for parcel in parcels:
                    await _send(registry, parcel, tell)
                    for tag in tags:
                        if tag.image_id == parcel.image.id:
                            await tell(
                                Progress(f"Pushing tag for rev [{short_id(tag.image_id)}] on {{{registry.url}}}")
                            )
                            await registry.put_tag(repository, tag.tag, tag.image_id)
            await index.end_push(repository, grant)

    async def push_image(self, registry: Registry, image_id: str, tell: Tell) -> None:
        """One image and what it stands on, without names, straight to a registry."""
        async with AsyncExitStack() as stack:
            for parcel in await self._pack(stack, [image_id], tell):
                await _send(registry, parcel, tell)

    async def _pack(self, stack: AsyncExitStack, heads: Sequence[str], tell: Tell) -> Sequence[_Parcel]:
        """Parents before children. The list and the JSON are sent before the layers, and have their checksums: so each is read once before."""
        lineages = (reversed(self.images.lineage(head)) for head in heads)
        images = {image.id: image for lineage in lineages for image in lineage}
        parcels = []
        for image in images.values():
            await tell(Progress("Buffering to disk", id=short_id(image.id)))
            layer = await self._layer(stack, image)
            encoded = encode_image(image)
            parcels.append(_Parcel(image, encoded, await _checksum(encoded, layer), layer))
        return parcels

    async def _layer(self, stack: AsyncExitStack, image: Image) -> Upload:
        parents = self.images.lineage(image.id)[1:2]
        if image.layer == (parents[0].layer if parents else ""):
            return Upload(_empty)
        return await stack.enter_async_context(self.archives.archive(image))


async def _granted(index: Index, repository: str, entries: Sequence[Entry]) -> tuple[Index, Grant]:
    return index, await index.begin_push(repository, entries)


async def _empty() -> AsyncIterator[bytes]:
    yield EMPTY_TAR


async def _checksum(image_json: bytes, layer: Upload) -> str:
    checksum = layer_checksum(image_json)
    async for chunk in layer.open():
        checksum.update(chunk)
    return f"sha256:{checksum.hexdigest()}"


def _entries(parcels: Sequence[_Parcel], tags: Sequence[Tag]) -> Sequence[Entry]:
    """A line for each image, and for each of its names."""
    found = []
    for parcel in parcels:
        names = [tag.tag for tag in tags if tag.image_id == parcel.image.id] or [""]
        found += [Entry(parcel.image.id, parcel.checksum, name) for name in names]
    return found


async def _send(registry: Registry, parcel: _Parcel, tell: Tell) -> None:
    name = short_id(parcel.image.id)
    await tell(Progress("Pushing", id=name))
    if not await registry.put_image(parcel.image.id, parcel.json, parcel.checksum):
        await tell(Progress("Image already pushed, skipping", id=name))
        return
    await registry.put_layer(parcel.image.id, Upload(lambda: _told(parcel.layer, name, tell)))
    await tell(Progress("Pushed", id=name))


async def _told(layer: Upload, name: str, tell: Tell) -> AsyncIterator[bytes]:
    sent = 0
    async for chunk in layer.open():
        sent += len(chunk)
        await tell(Progress("Pushing", id=name, current=sent, total=layer.length or 0))
        yield chunk
