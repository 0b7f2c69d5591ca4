"""Manifests and indexes: which blobs an image is made of, and which image of several is meant.

Docker image manifest v2 schema 2 and manifest list; OCI image-spec 1.1, manifest.md and image-index.md.
"""

import json
from collections.abc import Sequence

import attrs

from trioker.images.registry import media
from trioker.images.registry.documents import BadDocument, Document, printable, read_document
from trioker.images.registry.platforms import Offer, Platform
from trioker.model.layer import Blob

MANIFEST_BYTES = 4 * 2**20
"""Of a manifest or index: the least a registry has to take (OCI distribution-spec 1.1, "Pushing manifests")."""
CONFIG_BYTES = 2**20
"""Of a configuration; honest ones are a few kB. It stays in memory for good, and each MiB takes half a second of it to read."""
LAYERS = 1024
"""Of one image; Docker ends at 127, and overlay has to mount them."""
OFFERS = 1024
"""Of one index."""
LAYER_BYTES = 2**44
"""Of one layer, compressed: 16 TiB, the largest file of ext4."""


@attrs.frozen
class Manifest:
    """One image: its configuration, and its layers, lowest first."""

    config: Blob
    layers: tuple[Blob, ...]


@attrs.frozen
class Index:
    """One name for the images of several platforms."""

    offers: tuple[Offer, ...]


def parse_manifest(raw: bytes, media_type: str, name: str) -> Manifest | Index:
    """Read what a registry sent under ``media_type`` for ``name``. Raises BadDocument: broken, schema 1, an artefact, foreign layers."""
    document = read_document(raw, f"manifest of {name}")
    if media_type in media.SCHEMA1 or document.values.get("schemaVersion") == 1:
        raise BadDocument(f"{name} is in the old schema 1 format, which trioker does not read")
    if document.integer("schemaVersion") != 2:
        raise document.wrong("schemaVersion", "2")
    kind = _kind(document, media_type, name)
    # One document must not be an image to one reader and an index to another (CVE-2021-41190).
    other = ("layers", "config") if kind in media.INDEXES else ("manifests",)
    if odd := [key for key in other if document.has(key)]:
        raise BadDocument(f"{document.what}: it has {odd[0]}, which {kind} has not")
    return _index(document) if kind in media.INDEXES else _manifest(document, name)


def encode_manifest(config: Blob, layers: Sequence[Blob]) -> bytes:
    """The manifest of an image made here, as Docker's schema 2; equal images give equal bytes."""
    document = {
        "schemaVersion": 2,
        "mediaType": media.DOCKER_MANIFEST,
        "config": _encoded(config, media.DOCKER_CONFIG),
        "layers": [_encoded(layer, media.LAYERS.get(layer.media_type, media.DOCKER_LAYER_GZIP)) for layer in layers],
    }
    return json.dumps(document, indent=3).encode()


def _encoded(blob: Blob, media_type: str) -> dict[str, str | int]:
    return {"mediaType": media_type, "size": blob.size, "digest": blob.digest}


def _kind(document: Document, media_type: str, name: str) -> str:
    known = (*media.MANIFESTS, *media.INDEXES)
    said = document.text("mediaType")
    if said and media_type in known and said != media_type:
        raise BadDocument(f"{document.what}: sent as {media_type}, but says it is {printable(said, 100)}")
    kind = said or media_type
    if kind not in known:
        raise BadDocument(
            f"{name}: {printable(kind, 100) or 'a manifest without media type'} is no image manifest trioker reads"
        )
    return kind


def _index(document: Document) -> Index:
    entries = document.documents("manifests", OFFERS)
    return Index(
        tuple(
            Offer(_blob(entry, MANIFEST_BYTES), _platform(entry.document("platform")))
            for entry in entries
            if _readable(entry)
        )
    )


def _readable(entry: Document) -> bool:
    """An index may hold artefacts beside images; those are not ours to refuse."""
    return entry.text("mediaType") in (*media.MANIFESTS, *media.INDEXES)


def _platform(document: Document) -> Platform:
    return Platform(*(printable(document.text(name)) for name in ("os", "architecture", "variant")))


def _manifest(document: Document, name: str) -> Manifest:
    described = document.document("config")
    config_type = described.text("mediaType")
    if config_type not in media.CONFIGS:
        raise BadDocument(f"{name} is no image but an artefact of type {printable(config_type, 100) or 'unknown'}")
    layers = tuple(_layer(entry, name) for entry in document.documents("layers", LAYERS))
    return Manifest(_blob(described, CONFIG_BYTES), layers)


def _layer(entry: Document, name: str) -> Blob:
    media_type = entry.text("mediaType")
    if media.is_foreign(media_type):
        raise BadDocument(
            f"{name} has a foreign layer, {entry.digest('digest')}, which is not the registry's to give out"
        )
    if media_type not in media.LAYERS:
        raise BadDocument(
            f"{name} has a layer of type {printable(media_type, 100) or 'unknown'}, which trioker does not read"
        )
    return _blob(entry, LAYER_BYTES)


def _blob(entry: Document, most: int) -> Blob:
    size = entry.integer("size")
    if not 0 < size <= most:
        raise entry.wrong("size", f"1 to {most}")
    return Blob(entry.digest("digest"), size, entry.text("mediaType"))
