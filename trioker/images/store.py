"""The images: everything in memory as one catalog, written through to the records before anyone sees it.

Three things must tell one story: the layer, the record, and the catalog. They come into being in that order and go in the other, so a crash
leaves at worst a layer without a record, which nobody can see and the daemon clears at its next start.
"""

import logging
import platform
from collections.abc import AsyncIterable, AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from trioker.images.catalog import Catalog
from trioker.images.ports import Clock, Fetch, Layers, Records, Report, Unpacker
from trioker.images.references import DEFAULT_TAG, check_repository, check_tag
from trioker.images.removal import Users, plan_removal
from trioker.images.source import open_source, tell_nobody
from trioker.model.errors import Conflict, TriokerError
from trioker.model.ids import short_id
from trioker.model.image import Image, Removal, Tag

logger = logging.getLogger(__name__)


@attrs.frozen
class Rooms:
    """What the store works with; ``users`` is the engine's word on which containers were made from an image."""

    records: Records
    layers: Layers
    unpacker: Unpacker
    fetch: Fetch
    clock: Clock
    users: Users
    version: str
    """Noted in each image made here."""


class ImageStore:
    """Implements ``api.backend.Images`` and ``engine.ports.Images``."""

    def __init__(self, rooms: Rooms, layer_keys: Collection[str]) -> None:
        """``layer_keys`` are the layers that are whole. An image without its layer is reported and stays out of sight, as do its names."""
        self._rooms = rooms
        self._lock = trio.Lock()
        self._catalog = _load(rooms.records, layer_keys)

    def all(self) -> Sequence[Image]:
        """Every image, newest first."""
        return self._catalog.all_images

    def tags(self) -> Sequence[Tag]:
        """Every tag, sorted by repository and tag."""
        return self._catalog.all_tags

    def get(self, name: str) -> Image:
        """One image by unique id prefix or ``repo[:tag]``. Raises NotFound."""
        return self._catalog.find(name).image

    def lineage(self, image_id: str) -> Sequence[Image]:
        """The image and its ancestors, newest first. Takes a full id. Raises NotFound."""
        return self._catalog.lineage(image_id)

    def name_of(self, image_id: str) -> str:
        """The alphabetically first ``repo:tag``, else the short id. Takes a full id, known or not."""
        return self._catalog.name_of(image_id)

    async def tag(self, name: str, repository: str, tag: str, *, force: bool) -> None:
        """Name an image; durable. Raises NotFound, InvalidParameter, and Conflict when another image has the name and not ``force``."""
        new = _name(repository, tag)
        async with self._changing():
            new = attrs.evolve(new, image_id=self.get(name).id)
            old = self._catalog.names.get((new.repository, new.tag))
            if old == new:
                return
            if old and not force:
                raise Conflict(f"Conflict, {new.reference} already names image {short_id(old.image_id)}")
            await self._rooms.records.save_tag(new)
            self._catalog = self._catalog.with_tag(new)

    async def remove(self, name: str) -> Sequence[Removal]:
        """Untag, then delete what nothing needs any more; see ``removal``. Durable. Raises NotFound, Conflict."""
        async with self._changing():
            plan = plan_removal(self._catalog, name, self._rooms.users)
            await self._rooms.records.delete_names(plan.untag, [image.id for image in plan.delete])
            self._catalog = self._catalog.without(plan.untag, [image.id for image in plan.delete])
        with trio.CancelScope(shield=True):
            kept = await self._remove_layers(plan.delete)
        removals = plan.removals(kept)
        if not removals:
            raise Conflict(f"Conflict, {name} wasn't deleted: it has just come into use")
        return removals

    async def import_stream(self, chunks: AsyncIterable[bytes], repository: str, tag: str) -> Image:
        """A new base image from a tar. An empty ``repository`` leaves it untagged, an empty ``tag`` is "latest", a name that exists moves.

        Durable. Raises InvalidParameter for a bad name or tar. If it fails or is cancelled nothing is left.
        """
        wanted = _wanted_name(repository, tag)
        return await self._import(await open_source(chunks, tell_nobody, 0), wanted, "Imported from -")

    async def import_url(self, url: str, repository: str, tag: str, report: Report) -> Image:
        """The same from an http or https URL; ``report`` is told of each piece. Raises TriokerError for a failed fetch."""
        wanted = _wanted_name(repository, tag)
        async with self._rooms.fetch(url) as download:
            source = await open_source(download.chunks, report, download.length)
            return await self._import(source, wanted, f"Imported from {url}")

    async def _import(self, source: AsyncIterator[bytes], wanted: Tag | None, comment: str) -> Image:
        with trio.CancelScope() as scope:
            async with self._rooms.layers.stage("") as staging:
                await self._rooms.unpacker.unpack(staging.path, staging.whiteouts, source)
                scope.shield = True  # a layer that is committed must get its record, whoever hangs up
                image = self._new_image(staging.key, comment, await staging.commit())
            await self._publish(image, wanted and attrs.evolve(wanted, image_id=image.id))
        return image

    def _new_image(self, key: str, comment: str, size: int) -> Image:
        return Image(
            id=key,
            created_ns=self._rooms.clock(),
            comment=comment,
            architecture=platform.machine(),
            docker_version=self._rooms.version,
            size=size,
        )

    async def _publish(self, image: Image, tag: Tag | None) -> None:
        try:
            async with self._changing():
                await self._rooms.records.save_image(image, tag)
                self._catalog = self._catalog.with_image(image, tag)
        except BaseException:
            await self._rooms.layers.remove(image.id)
            raise

    async def _remove_layers(self, images: Sequence[Image]) -> Sequence[Image]:
        """Returns those that had to stay: a container was made from them since the plan was."""
        kept = []
        for image in images:
            try:
                await self._rooms.layers.remove(image.id)
            except Conflict:
                kept.append(image)
            except (TriokerError, OSError):  # the storage has noted its intent, and ends it at the next start
                logger.exception("image %s is deleted, but its layer could not be removed yet", image.id)
        if kept:
            await self._bring_back(kept)
        return kept

    async def _bring_back(self, images: Iterable[Image]) -> None:
        async with self._changing():
            for image in images:
                await self._rooms.records.save_image(image)
                self._catalog = self._catalog.with_image(image)

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[None]:
        """One change at a time; once begun it is not cancelled, so that records and catalog stay equal."""
        async with self._lock:
            with trio.CancelScope(shield=True):
                yield


def _name(repository: str, tag: str) -> Tag:
    """A name that has no image yet. Raises InvalidParameter."""
    tag = tag or DEFAULT_TAG
    check_repository(repository)
    check_tag(tag)
    return Tag(repository, tag, image_id="")


def _wanted_name(repository: str, tag: str) -> Tag | None:
    return _name(repository, tag) if repository else None


def _load(records: Records, layer_keys: Collection[str]) -> Catalog:
    images = {image.id: image for image in records.images()}
    for image_id in sorted(images.keys() - set(layer_keys)):
        logger.error("image %s has lost its layer: its record is kept, but it cannot be used", image_id)
        del images[image_id]
    names = {}
    for tag in records.tags():
        if tag.image_id in images:
            names[tag.repository, tag.tag] = tag
        else:
            logger.warning("%s names image %s, which is not there: ignored", tag.reference, tag.image_id)
    return Catalog(images, names)
