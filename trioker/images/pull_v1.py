"""Pulling by the registry protocol of 2013: generation by generation, each over its parent, all made known at the end.

An id of 2013 proves nothing of what it stands for, unlike a digest: it is whatever the registry says, and an image that is here already
under that id is taken for the registry's. What can be checked is checked: the ancestry, each generation's parent, and the checksums of
the index.
"""

import hashlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import attrs

from trioker.images.claims import Claims
from trioker.images.holding import Holding
from trioker.images.ports import Unpacker
from trioker.images.registry.v1 import Index, Registry
from trioker.images.registry.v1_forms import Grant, layer_checksum
from trioker.images.registry.v1_image import parse_image
from trioker.images.registry.v1_wire import first_answer
from trioker.model.errors import Conflict, InvalidParameter, NotFound, TriokerError
from trioker.model.ids import short_id
from trioker.model.image import Image, Tag
from trioker.model.progress import Progress, Tell

TRAILING_BYTES = 64 * 2**20
"""Read behind the end of a layer's tar only to know its checksum; what pads a tar is a few kB."""


class Images(Protocol):
    """The image store."""

    def lineage(self, image_id: str) -> Sequence[Image]:
        """The image and its ancestors, newest first. Takes a full id. Raises NotFound."""

    def holding(self) -> AbstractAsyncContextManager[Holding]:
        """For a job that makes layers before it publishes their images."""

    async def publish(self, images: Sequence[Image], tags: Sequence[Tag] = ()) -> None:
        """Make images known, parents before children, with their names; all or none, durable."""


@attrs.frozen
class PullerV1:
    """Brings images of 2013's registries into the store."""

    images: Images
    unpacker: Unpacker
    _claims: Claims = attrs.Factory(Claims)

    async def pull(self, indexes: Sequence[Index], repository: str, local: str, tag: str, tell: Tell) -> None:
        """One tag of a repository, or all of them ("" for ``tag``); ``local`` is what the repository is called here.

        The first of the ``indexes`` that answers is used. Raises Unauthorized, NotFound, and TriokerError for what a server did wrong.
        If it fails or is cancelled nothing is left.
        """
        index, grant = await first_answer(indexes, lambda each: _granted(each, repository))
        await tell(Progress(f"Pulling repository {local} from {index.url}"))
        registries = [index.registry(grant, endpoint) for endpoint in grant.endpoints]
        registry, tags = await first_answer(registries, lambda each: _with_tags(each, repository))
        if tag:
            if tag not in tags:
                raise NotFound(f"Tag {tag} not found in repository {local}")
            tags = {tag: tags[tag]}
        for name, image_id in sorted(tags.items()):
            await tell(Progress(f"Pulling image {short_id(image_id)} ({name}) from {local}"))
        checksums = {entry.id: entry.checksum for entry in grant.entries if entry.checksum}
        await self._bring(
            registry, [Tag(local, *item) for item in sorted(tags.items())], tags.values(), checksums, tell
        )

    async def pull_image(self, registry: Registry, image_id: str, tell: Tell) -> None:
        """One image with its ancestry, without names, straight from a registry."""
        await tell(Progress(f"Pulling image {short_id(image_id)} from {registry.url}"))
        await self._bring(registry, (), [image_id], {}, tell)

    async def _bring(
        self, registry: Registry, tags: Sequence[Tag], heads: Collection[str], checksums: Mapping[str, str], tell: Tell
    ) -> None:
        parents: dict[str, str] = {}
        for head in dict.fromkeys(heads):
            _add_lineage(parents, await registry.ancestry(head))
        async with self._claims.of(parents), self.images.holding() as held:
            job = _Job(registry, held, self.unpacker, checksums, tell)
            known: dict[str, Image] = {}
            for image_id, parent in parents.items():
                found = self._find(image_id, parent)
                known[image_id] = found or await job.make(image_id, known.get(parent))
                if found:
                    held.keep(found.layer)
                    await tell(Progress("Already exists", id=short_id(image_id)))
            # Those that were here, too: a deletion may have taken their records meanwhile, never the layers we hold.
            whole = [self._find(image_id, parent) or known[image_id] for image_id, parent in parents.items()]
            await self.images.publish(whole, tags)

    def _find(self, image_id: str, parent: str) -> Image | None:
        try:
            image = self.images.lineage(image_id)[0]
        except NotFound:
            return None
        if image.parent != parent:
            raise Conflict(
                f"Conflict: two images have one id, {short_id(image_id)}: its parent is "
                f"{short_id(image.parent) or 'none'} here, and {short_id(parent) or 'none'} in the registry"
            )
        return image


async def _granted(index: Index, repository: str) -> tuple[Index, Grant]:
    return index, await index.images(repository)


async def _with_tags(registry: Registry, repository: str) -> tuple[Registry, Mapping[str, str]]:
    return registry, await registry.tags(repository)


def _add_lineage(parents: dict[str, str], ancestry: Sequence[str]) -> None:
    """Note each image's parent, parents before children. Raises TriokerError where two ancestries contradict each other."""
    parent = ""
    for image_id in reversed(ancestry):
        if parents.setdefault(image_id, parent) != parent:
            raise TriokerError(f"the registry has two ancestries of image {short_id(image_id)}")
        parent = image_id


@attrs.frozen
class _Job:
    """What one pull makes images with."""

    registry: Registry
    held: Holding
    unpacker: Unpacker
    checksums: Mapping[str, str]
    tell: Tell

    async def make(self, image_id: str, parent: Image | None) -> Image:
        """Fetch one generation over its parent."""
        name = short_id(image_id)
        await self.tell(Progress("Pulling metadata", id=name))
        reply = await self.registry.image(image_id)
        image = parse_image(reply.document, image_id, parent.id if parent else "")
        await self.tell(Progress("Pulling fs layer", id=name))
        async with self.registry.layer(image_id) as download:
            total = download.length or _number(reply.header(b"x-docker-size"))
            source = _Source(download.chunks, layer_checksum(reply.body), name, total, self.tell)
            async with self.held.stage(parent.layer if parent else "") as staging:
                try:
                    unpacked = await self.unpacker.unpack(staging.path, staging.whiteouts, source, below=staging.below)
                except InvalidParameter as error:  # it was the registry's, not the user's
                    raise TriokerError(f"the layer of image {name}: {error}") from error
                if wanted := self.checksums.get(image_id):
                    await source.check(wanted)
                layer = self.held.keep(await staging.commit(unpacked.diff, durable=False))
        await self.tell(Progress("Pull complete", id=name))
        return attrs.evolve(image, layer=layer, size=unpacked.size)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


class _Source(AsyncIterator[bytes]):
    """A layer on its way in, told and hashed. Not a generator: one that is left half-way would need closing."""

    def __init__(
        self, chunks: AsyncIterator[bytes], checksum: "hashlib._Hash", name: str, total: int, tell: Tell
    ) -> None:
        self._chunks = chunks
        self._checksum = checksum
        self._name = name
        self._total = total
        self._tell = tell
        self._taken = 0

    async def __anext__(self) -> bytes:
        chunk = await anext(self._chunks)
        self._checksum.update(chunk)
        self._taken += len(chunk)
        await self._tell(Progress("Downloading", id=self._name, current=self._taken, total=self._total))
        return chunk

    async def check(self, wanted: str) -> None:
        """Take what the unpacker left. Raises TriokerError unless the checksum is ``wanted``."""
        end = self._taken + TRAILING_BYTES
        async for _ in self:
            if self._taken > end:
                raise TriokerError(f"the layer of image {self._name} goes on behind the end of its tar")
        if (found := f"sha256:{self._checksum.hexdigest()}") != wanted:
            raise TriokerError(f"image {self._name} has the checksum {found}, but the index says {wanted}")
