"""Pulling: from a name to images in the store, whichever of its endpoints has them."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress

import attrs

from trioker.images.blobs import BlobStore
from trioker.images.board import Board, board
from trioker.images.fetching import fetch
from trioker.images.holding import Holding
from trioker.images.layers_in import Layer, LayersIn
from trioker.images.ports import Layers
from trioker.images.pull_v1 import PullerV1
from trioker.images.reach import first_v2
from trioker.images.references import check_tag
from trioker.images.registry.configurations import ParsedConfig, Step, parse_config
from trioker.images.registry.documents import BadDocument, printable, read_document
from trioker.images.registry.lineage import chain_ids, lineage_from
from trioker.images.registry.manifests import Manifest, parse_manifest
from trioker.images.registry.names import Endpoint, Registries, Remote, endpoints, parse_remote, repositories
from trioker.images.registry.platforms import Platform, choose, host_platform
from trioker.images.registry.tokens import NOBODY, Tokens
from trioker.images.registry.v1 import Index as IndexV1
from trioker.images.registry.v1 import check_image_id, index_urls, registry_at
from trioker.images.registry.v2 import RawManifest, Session
from trioker.images.shelf import Shelf
from trioker.model.errors import Forbidden, InvalidParameter, NotFound, TriokerError, Unauthorized
from trioker.model.ids import new_id, short_id
from trioker.model.image import Image, Tag
from trioker.model.progress import Credentials, Tell

logger = logging.getLogger(__name__)

_NESTED = 3  # an index that lists an index is allowed, and hardly ever seen


_Manifests = Mapping[str, RawManifest | None]
"""What is wanted of a repository, by tag or digest; None where it has not been asked for yet."""


@attrs.frozen
class _Job:
    """One pull from one repository."""

    session: Session
    remote: Remote
    board: Board

    def name(self, reference: str) -> str:
        """What the user calls it."""
        return f"{self.remote.local}{'@' if ':' in reference else ':'}{reference}"


@attrs.frozen
class Puller:
    """Brings images of registries into the store."""

    store: Shelf
    layers: Layers
    layers_in: LayersIn
    blobs: BlobStore
    v1: PullerV1
    tokens: Tokens
    registries: Registries
    platform: Platform = attrs.Factory(host_platform)

    async def pull(self, name: str, tag: str, registry: str, credentials: Credentials, tell: Tell) -> None:
        """Fetch ``name``; without tag or digest, there or in ``tag``, all its tags. ``registry`` is a URL of 2013 to fetch an image by its id from.

        The image is known when all of it is here and on the disk. If this fails or is cancelled, no image has come; what was fetched and
        is sound stays for the next try. Raises InvalidParameter for a bad name, NotFound, Unauthorized, TriokerError naming what is wrong.
        """
        if registry:
            source = registry_at(self.tokens.client, registry, self.registries, credentials)
            await self.v1.pull_image(source, check_image_id(name), tell)
            return
        remote = parse_remote(name, tag, self.registries)
        places = endpoints(remote.host, self.registries)
        async with board(tell) as shown:
            for mirror in (place for place in places if place.mirror):
                if await self._pull_from_mirror(mirror, remote, shown):
                    return
            own = [place for place in places if not place.mirror]
            place = await first_v2(own, self.tokens)
            if place:
                await self._pull(place, remote, credentials, shown)
                return
        await self._pull_v1(remote, credentials, tell)

    async def _pull_v1(self, remote: Remote, credentials: Credentials, tell: Tell) -> None:
        if remote.digest:
            raise NotFound(f"{remote}: {remote.host} speaks the protocol of 2013, which knows no digests")
        client = self.tokens.client
        indexes = [
            IndexV1(client, url, self.registries, credentials) for url in index_urls(remote.host, self.registries)
        ]
        await self.v1.pull(indexes, remote.repository, remote.local, remote.tag, tell)

    async def _pull_from_mirror(self, mirror: Endpoint, remote: Remote, shown: Board) -> bool:
        """A mirror may lack anything, and be down: then the registry itself is asked."""
        try:
            if await Session(self.tokens, mirror).ping():
                await self._pull(mirror, remote, NOBODY, shown)
                return True
        except TriokerError as error:
            logger.info("mirror %s: %s", mirror.url, error)
        return False

    async def _pull(self, place: Endpoint, remote: Remote, credentials: Credentials, shown: Board) -> None:
        session, manifests = await self._find(place, remote, credentials)
        shown.post(f"Pulling repository {remote.local}")
        job = _Job(session, remote, shown)
        if remote.tag or remote.digest:
            await self._pull_image(job, *next(iter(manifests.items())))
        else:
            await self._pull_all(job, manifests)

    async def _find(self, place: Endpoint, remote: Remote, credentials: Credentials) -> tuple[Session, _Manifests]:
        """What is wanted, under the first of the repository's possible names that has it."""
        *others, last = (
            Session(self.tokens, place, name, credentials=credentials, name=remote.local)
            for name in repositories(remote)
        )
        for session in others:
            with suppress(NotFound, Unauthorized, Forbidden):  # who may not look is told so of what there is not, too
                return session, await _manifests(session, remote)
        return last, await _manifests(last, remote)

    async def _pull_all(self, job: _Job, manifests: _Manifests) -> None:
        """Tags that hold no image for us (other platforms, signatures) are told and passed over, unless there is nothing else."""
        failures: list[TriokerError] = []
        for tag, found in manifests.items():
            try:
                _check_tag(tag)
                await self._pull_image(job, tag, found)
            except (BadDocument, NotFound, InvalidParameter) as error:
                job.board.post(f"Skipping {printable(tag)}: {error}")
                failures.append(error)
        if len(failures) == len(manifests):
            raise failures[0] if failures else NotFound(f"{job.remote.local} has no tags")

    async def _pull_image(self, job: _Job, reference: str, found: RawManifest | None) -> None:
        name = job.name(reference)
        found = found or await job.session.manifest(reference)
        chosen, manifest = await self._choose(job, found, name)
        async with self.store.holding() as held, self.blobs.wanted(manifest.config.digest):
            config = await self._config(job, manifest, name)
            image_id = manifest.config.digest.removeprefix("sha256:")
            job.board.post(f"Pulling image {short_id(image_id)} ({reference}) from {job.remote.local}")
            steps = lineage_from(config, manifest.config.digest, chosen.digest)
            wanted = _layers(manifest, config)
            async with self.layers_in.placed(wanted, held, job.session.blob, job.board) as keys:
                images = await self._images(steps, keys, held)
                await self.blobs.save(chosen.raw, _media_type(chosen, name))
                is_new = Tag(job.remote.local, reference, image_id) not in self.store.tags()
                await self.store.publish(images, [Tag(job.remote.local, reference, image_id)])
        job.board.post(f"Digest: {found.digest}")
        job.board.post(f"Status: {'Downloaded newer image' if is_new else 'Image is up to date'} for {name}")

    async def _choose(self, job: _Job, found: RawManifest, name: str) -> tuple[RawManifest, Manifest]:
        """The manifest itself, or the one for this host of those that an index lists; an index may list another one."""
        for _ in range(_NESTED):
            parsed = parse_manifest(found.raw, found.media_type, name)
            if isinstance(parsed, Manifest):
                return found, parsed
            found = await job.session.manifest(choose(parsed.offers, self.platform, name).digest)
        raise BadDocument(f"{name}: an index of indexes of indexes")

    async def _config(self, job: _Job, manifest: Manifest, name: str) -> ParsedConfig:
        raw = await self.blobs.load(manifest.config.digest)
        if raw is None:
            await fetch(self.blobs, manifest.config, job.session.blob)
            raw = await self.blobs.load(manifest.config.digest)
        if raw is None:
            raise TriokerError(f"configuration {manifest.config.digest} was damaged on the disk")
        config = parse_config(raw, name, len(manifest.layers))
        if config.platform.architecture not in {"", self.platform.architecture}:
            job.board.post(
                f"WARNING: {name} is for {printable(str(config.platform))}, and this host is {self.platform}"
            )
        return config

    async def _images(self, steps: Sequence[Step], keys: Sequence[str], held: Holding) -> Sequence[Image]:
        """The generations, each with its layer."""
        if not keys:
            return [attrs.evolve(steps[0].image, layer=await self._empty_layer(steps[0].image.id, held))]
        sizes = {image.layer: image.size for image in sorted(self.store.all(), key=lambda image: image.size)}
        sizes |= self.layers_in.sizes
        return [
            attrs.evolve(step.image, layer=key, size=sizes[key] if key in sizes else await self.layers.usage(key))
            for step, key in zip(steps, keys, strict=True)
        ]

    async def _empty_layer(self, image_id: str, held: Holding) -> str:
        """Of an image without layers. What is known already keeps the one it has."""
        for image in self.store.all():
            if image.id == image_id:
                return held.keep(image.layer)
        key = new_id()
        await held.create(key, "")
        return key


async def _manifests(session: Session, remote: Remote) -> _Manifests:
    if remote.tag or remote.digest:
        return {remote.reference: await session.manifest(remote.reference)}
    return dict.fromkeys(await session.tags())


def _check_tag(tag: str) -> None:
    try:
        check_tag(tag)
    except InvalidParameter:
        raise BadDocument(f"the registry has a tag that none can be: {printable(tag)}") from None


def _media_type(manifest: RawManifest, name: str) -> str:
    """What it calls itself, and will be pushed as: some registries send everything as plain JSON."""
    return read_document(manifest.raw, name).text("mediaType") or manifest.media_type


def _layers(manifest: Manifest, config: ParsedConfig) -> Sequence[Layer]:
    return [Layer(*each) for each in zip(manifest.layers, config.diff_ids, chain_ids(config.diff_ids), strict=True)]
