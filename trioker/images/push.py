"""Pushing: from names in the store to a registry, the same bytes each time as long as nothing changed."""

from collections.abc import Mapping, Sequence
from functools import partial

import attrs

from trioker.images.blobs import BlobStore, digest_of
from trioker.images.board import Board, board
from trioker.images.layers_in import AT_ONCE
from trioker.images.layers_out import LayersOut
from trioker.images.push_v1 import PusherV1
from trioker.images.reach import first_v2
from trioker.images.registry import media
from trioker.images.registry.configurations import Step, encode_config, parse_config
from trioker.images.registry.documents import BadDocument
from trioker.images.registry.manifests import Manifest, encode_manifest, parse_manifest
from trioker.images.registry.names import Registries, Remote, endpoints, parse_remote
from trioker.images.registry.tokens import Tokens
from trioker.images.registry.uploads import upload
from trioker.images.registry.v1 import Index, index_urls, registry_at
from trioker.images.registry.v2 import Session
from trioker.images.shelf import Shelf
from trioker.images.tasks import each
from trioker.model.errors import InvalidParameter, NotFound, TriokerError
from trioker.model.ids import short_id
from trioker.model.image import Image, Tag
from trioker.model.layer import Blob
from trioker.model.progress import Credentials, Tell

NEIGHBOURS = 100
"""Images of the same registry that may lend their blobs: to look into one takes a quarter of a millisecond."""


@attrs.frozen
class _Document:
    """A manifest, ready to be sent."""

    raw: bytes
    media_type: str


@attrs.frozen
class _Job:
    """One push to one repository."""

    session: Session
    remote: Remote
    board: Board
    elsewhere: Mapping[str, str]
    """Blobs that other repositories of the registry have, as far as we know: which one by digest."""
    done: set[str] = attrs.field(factory=set)
    """Digests that are there now."""


class _Gone(TriokerError):
    """A blob that neither is kept nor at the target any more."""


@attrs.frozen
class Pusher:
    """Sends images of the store to registries."""

    store: Shelf
    layers_out: LayersOut
    blobs: BlobStore
    v1: PusherV1
    tokens: Tokens
    registries: Registries

    async def push(self, name: str, tag: str, registry: str, credentials: Credentials, tell: Tell) -> None:
        """Send a repository's tags, or the one that ``name`` or ``tag`` says. ``registry`` is a URL of 2013 to send an image without names to.

        Raises InvalidParameter for a bad name, NotFound, Unauthorized, Forbidden, TriokerError naming what is wrong.
        """
        if registry:
            target = registry_at(self.tokens.client, registry, self.registries, credentials)
            await self.v1.push_image(target, self.store.get(name).id, tell)
            return
        remote = parse_remote(name, tag, self.registries)
        tags = self._tags(remote, name)
        async with board(tell) as shown:
            places = (place for place in endpoints(remote.host, self.registries) if not place.mirror)
            place = await first_v2(places, self.tokens)
            if place:
                session = Session(
                    self.tokens, place, remote.repository, credentials=credentials, push=True, name=remote.local
                )
                await self._push(_Job(session, remote, shown, await self._elsewhere(remote)), tags)
                return
        urls = index_urls(remote.host, self.registries)
        indexes = [Index(self.tokens.client, url, self.registries, credentials) for url in urls]
        await self.v1.push(indexes, remote.repository, tags, tell)

    def _tags(self, remote: Remote, name: str) -> Sequence[Tag]:
        if remote.digest:
            raise InvalidParameter(f"{name}: a push needs a tag, not a digest")
        tags = [tag for tag in self.store.tags() if tag.repository == remote.local and ":" not in tag.tag]
        tags = [tag for tag in tags if remote.tag in {"", tag.tag}]
        if not tags:
            raise NotFound(f"No such id: {name}")
        return tags

    async def _push(self, job: _Job, tags: Sequence[Tag]) -> None:
        job.board.post(f"The push refers to a repository [{job.remote.local}] (len: {len(tags)})")
        for tag in tags:
            with self.store.pinned(tag.image_id, "a push"):
                image = self.store.lineage(tag.image_id)[0]
                document = await self._send_original(job, image) or await self._send_made(job, image)
                digest = await job.session.put_manifest(tag.tag, document.media_type, document.raw)
            job.board.post(f"{tag.tag}: digest: {digest} size: {len(document.raw)}")

    async def _send_original(self, job: _Job, image: Image) -> _Document | None:
        """All that the image was pulled with, or pushed with before; None where not all of it can be had any more."""
        raw, manifest = await self._kept_manifest(image)
        if raw is None or manifest is None:
            return None
        needed = [*manifest.layers, manifest.config]
        async with self.blobs.wanted(*(blob.digest for blob in needed)):
            try:
                await each(needed, partial(self._send, job), AT_ONCE)
            except _Gone:
                return None
        return raw

    async def _kept_manifest(self, image: Image) -> tuple[_Document | None, Manifest | None]:
        kept = self.blobs.get(image.manifest)
        raw = await self.blobs.load(image.manifest)
        if kept is None or raw is None:
            return None, None
        manifest = parse_manifest(raw, kept.media_type, f"image {short_id(image.id)}")
        return _Document(raw, kept.media_type), manifest if isinstance(manifest, Manifest) else None

    async def _send_made(self, job: _Job, image: Image) -> _Document:
        """A manifest of our own making: the layers as they are kept or packed anew, each generation a line of its history."""
        lineage = self.store.lineage(image.id)[::-1]
        layers: dict[str, Blob] = {}
        diffs: dict[str, str] = {}

        async def send(key: str) -> None:
            async with self.layers_out.blob(key) as kept:
                layers[key] = Blob(kept.digest, kept.size, kept.media_type)
                diffs[key] = kept.diff
                await self._send(job, layers[key])

        keys = list(dict.fromkeys(each.layer for each in lineage))
        await each(keys, send, AT_ONCE)
        raw_config = await self._config(lineage, diffs, keys)
        async with self.blobs.wanted(digest_of(raw_config)):
            config = await self.blobs.save(raw_config, media.DOCKER_CONFIG)
            await self._send(job, config)
            raw = encode_manifest(config, [layers[key] for key in keys])
            manifest = await self.blobs.save(raw, media.DOCKER_MANIFEST)
        if image.manifest != manifest.digest:
            await self.store.publish([attrs.evolve(image, manifest=manifest.digest)])
        return _Document(raw, media.DOCKER_MANIFEST)

    async def _config(self, lineage: Sequence[Image], diffs: Mapping[str, str], keys: Sequence[str]) -> bytes:
        """The one it was pulled with, if the layers are still the same inside, so that the image keeps its id."""
        original = await self.blobs.load(f"sha256:{lineage[-1].id}")
        if original is not None:
            try:
                if parse_config(original, "the image", len(keys)).diff_ids == tuple(diffs[key] for key in keys):
                    return original
            except BadDocument:
                pass
        left = dict(diffs)  # a generation that shows its parent's layer has none of its own
        return encode_config([Step(image, left.pop(image.layer, "")) for image in lineage])

    async def _send(self, job: _Job, blob: Blob) -> None:
        """See that the target has a blob. Raises _Gone."""
        if blob.digest in job.done:
            return
        part = short_id(blob.digest.removeprefix("sha256:"))
        job.board.post("Preparing", part)
        if await job.session.blob_size(blob.digest) is not None:
            job.board.post("Layer already exists", part)
        elif await self._mount(job, blob):
            job.board.post(f"Mounted from {job.elsewhere[blob.digest]}", part)
        else:
            await self._upload(job, blob, part)
        job.done.add(blob.digest)

    async def _mount(self, job: _Job, blob: Blob) -> bool:
        repository = job.elsewhere.get(blob.digest)
        try:
            return bool(repository) and await job.session.mount(blob.digest, str(repository))
        except TriokerError:  # not allowed to look there, or it knows nothing of mounting: then it is uploaded
            return False

    async def _upload(self, job: _Job, blob: Blob, part: str) -> None:
        if self.blobs.get(blob.digest) is None or not await self.blobs.verify(blob.digest):
            raise _Gone(f"blob {blob.digest} is not here any more")

        async def sent(count: int) -> None:
            job.board.post("Pushing", part, count, blob.size)

        await upload(job.session, blob, self.blobs.open_at(blob.digest), sent)
        job.board.post("Pushed", part)

    async def _elsewhere(self, remote: Remote) -> Mapping[str, str]:
        """What the manifests kept of other repositories of the registry list."""
        homes: dict[str, str] = {}  # of images
        for tag in self.store.tags():
            repository = self._repository_at(remote.host, tag.repository)
            if repository not in {"", remote.repository} and len(homes) < NEIGHBOURS:
                homes.setdefault(tag.image_id, repository)
        found: dict[str, str] = {}
        for image in [image for image in self.store.all() if image.id in homes]:
            _, manifest = await self._kept_manifest(image)
            for blob in (*manifest.layers, manifest.config) if manifest else ():
                found.setdefault(blob.digest, homes[image.id])
        return found

    def _repository_at(self, host: str, name: str) -> str:
        """How a registry calls a repository of ours; "" if it is not there."""
        try:
            remote = parse_remote(name, "", self.registries)
        except InvalidParameter:
            return ""
        return remote.repository if remote.host == host else ""
