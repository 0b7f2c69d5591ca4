"""The images: everything in memory as one catalog, written through to the records before anyone sees it.

Three things must tell one story: the layer, the record, and the catalog. They come into being in that order and go in the other, so a crash
leaves at worst a layer without a record, which nobody can see and the daemon clears at its next start.
"""

import logging
import platform
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Collection, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

import attrs
import trio

from trioker.http.client import parse_url, shown
from trioker.images.catalog import Catalog
from trioker.images.holding import Holding, holding
from trioker.images.ports import Clock, Fetch, Layers, Records, Report, Unpacker
from trioker.images.references import DEFAULT_TAG, check_repository, check_tag
from trioker.images.removal import Users, plan_removal
from trioker.images.source import open_source, tell_nobody
from trioker.model.container import Config
from trioker.model.errors import Conflict, NotFound, TriokerError
from trioker.model.ids import new_id, short_id
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
        self._pins: Counter[tuple[str, str]] = Counter()
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

    def wanted_name(self, repository: str, tag: str) -> Tag | None:
        """The name for an image to be made; None without a repository. Raises InvalidParameter."""
        return wanted_name(repository, tag)

    async def tag(self, name: str, repository: str, tag: str, *, force: bool) -> None:
        """Name an image; durable. Raises NotFound, InvalidParameter, and Conflict when another image has the name and not ``force``."""
        new = checked_name(repository, tag)
        async with self._changing():
            new = attrs.evolve(new, image_id=self.get(name).id)
            old = self._catalog.names.get((new.repository, new.tag))
            if old == new:
                return
            if old and not force:
                raise Conflict(f"Conflict, {new.reference} already names image {short_id(old.image_id)}")
            await self._rooms.records.save_tag(new)
            self._catalog = self._catalog.with_images((), [new])

    async def remove(self, name: str) -> Sequence[Removal]:
        """Untag, then delete what nothing needs any more; see ``removal``. Durable. Raises NotFound, Conflict."""
        async with self._changing():
            plan = plan_removal(self._catalog, name, self._users)
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
        wanted = wanted_name(repository, tag)
        source = await open_source(chunks, tell_nobody, 0)
        return await self.create(Image("", 0, comment="Imported from -"), wanted, source)

    async def import_url(self, url: str, repository: str, tag: str, report: Report) -> Image:
        """The same from an http or https URL; ``report`` is told of each piece. Raises TriokerError for a failed fetch."""
        wanted = wanted_name(repository, tag)
        async with self._rooms.fetch(url) as download:
            source = await open_source(download.chunks, report, download.length)
            return await self.create(Image("", 0, comment=f"Imported from {shown(parse_url(url))}"), wanted, source)

    async def create(self, draft: Image, wanted: Tag | None, chunks: AsyncIterable[bytes]) -> Image:
        """A new image from the tar of its layer; durable. ``draft`` says all but id, time, size, layer and versions.

        Raises NotFound for an unknown parent, InvalidParameter for a bad tar. If it fails or is cancelled nothing is left.
        """
        parent = self._catalog.images[draft.parent].layer if draft.parent else ""
        async with self.holding() as held:
            async with held.stage(parent) as staging:
                unpacked = await self._rooms.unpacker.unpack(
                    staging.path, staging.whiteouts, chunks, below=staging.below
                )
                layer = held.keep(await staging.commit(unpacked.diff, durable=False))
            image = self.finished(attrs.evolve(draft, id=new_id(), layer=layer, size=unpacked.size))
            await self.publish([image], [attrs.evolve(wanted, image_id=image.id)] if wanted else [])
        return image

    def finished(self, draft: Image) -> Image:
        """With what every image made here is marked with: time, architecture, version."""
        return attrs.evolve(
            draft,
            created_ns=self._rooms.clock(),
            architecture=platform.machine(),
            docker_version=self._rooms.version,
        )

    def holding(self) -> AbstractAsyncContextManager[Holding]:
        """For a job that makes layers before it publishes their images: what no image shows at its end is removed."""
        return holding(self._rooms.layers, lambda key: key in self._catalog.layers)

    @contextmanager
    def pinned(self, image_id: str, by: str) -> Iterator[None]:
        """Keep an image from being deleted; ``by`` says who needs it ("a build"). Takes a full id."""
        self._pins[image_id, by] += 1
        try:
            yield
        finally:
            self._pins[image_id, by] -= 1

    def made_by(self, parent: str, recipe: str) -> Image | None:
        """The newest image that a build made over ``parent`` ("" for none) by ``recipe``."""
        return self._catalog.made_by(parent, recipe)

    def made_by_command(self, image_id: str, config: Config) -> Image | None:
        """A child of the image whose container had this configuration. Takes a full id."""
        if config.open_stdin:  # what came in cannot be compared
            return None
        return self._catalog.made_by_command(image_id, config)

    async def publish(self, images: Sequence[Image], tags: Sequence[Tag] = ()) -> None:
        """Make images known, parents before children, with their names; all or none, durable. An image that is known already is replaced.

        Their layers are put on the disk for good first. Raises NotFound where a parent has been deleted meanwhile.
        """
        await self._rooms.layers.settle([image.layer for image in images])
        async with self._changing():
            known = {*self._catalog.images, *(image.id for image in images), ""}
            for image in images:
                if image.parent not in known:
                    raise NotFound(f"No such image: {image.parent}: it was deleted meanwhile")
            await self._rooms.records.save_images(images, tags)
            self._catalog = self._catalog.with_images(images, tags)

    def _users(self, image_id: str) -> Sequence[str]:
        pins = (by for (pinned, by), count in self._pins.items() if pinned == image_id and count)
        return [*self._rooms.users(image_id), *pins]

    async def _remove_layers(self, images: Sequence[Image]) -> Sequence[Image]:
        """Returns those that had to stay: a container was made from them since the plan was."""
        kept = []
        for image in images:
            try:
                if not self._needs(image.layer):
                    await self._rooms.layers.remove(image.layer)
            except Conflict:
                if not self._needs(image.layer):
                    kept.append(image)
            except (TriokerError, OSError):  # the storage has noted its intent, and ends it at the next start
                logger.exception("image %s is deleted, but its layer could not be removed yet", image.id)
        if kept:
            await self._bring_back(kept)
        return kept

    def _needs(self, layer: str) -> bool:
        """Whether another image shows it, or a job holds it, which then removes what nobody wants."""
        return layer in self._catalog.layers or self._rooms.layers.held(layer)

    async def _bring_back(self, images: Sequence[Image]) -> None:
        async with self._changing():
            await self._rooms.records.save_images(images)
            self._catalog = self._catalog.with_images(images)

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[None]:
        """One change at a time; once begun it is not cancelled, so that records and catalog stay equal."""
        async with self._lock:
            with trio.CancelScope(shield=True):
                yield


def checked_name(repository: str, tag: str) -> Tag:
    """A name that has no image yet; the tag is "latest" where none is given. Raises InvalidParameter."""
    tag = tag or DEFAULT_TAG
    check_repository(repository)
    check_tag(tag)
    return Tag(repository, tag, image_id="")


def wanted_name(repository: str, tag: str) -> Tag | None:
    """The same, None without a repository."""
    return checked_name(repository, tag) if repository else None


def _load(records: Records, layer_keys: Collection[str]) -> Catalog:
    images = {image.id: image for image in records.images()}
    for image_id in sorted(image.id for image in images.values() if image.layer not in layer_keys):
        logger.error("image %s has lost its layer: its record is kept, but it cannot be used", image_id)
        del images[image_id]
    names = {}
    for tag in records.tags():
        if tag.image_id in images:
            names[tag.repository, tag.tag] = tag
        else:
            logger.warning("%s names image %s, which is not there: ignored", tag.reference, tag.image_id)
    return Catalog(images, names)
