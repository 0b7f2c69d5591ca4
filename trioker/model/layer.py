"""Layers, as values."""

import hashlib

import attrs


@attrs.frozen
class LayerRecord:
    """One tree in the storage: an image's layer or a container's writable one."""

    key: str
    """64 lower-case hex digits."""
    parent: str
    """Key of the layer it stands on; "" for none."""
    ready: bool
    """False from the intent until the commit; what is not ready at start-up is removed."""
    chain: str = ""
    """The OCI chain id (image-spec, config.md, "Layer ChainID"), ``sha256:...``: equal chains hold equal trees, so a layer whose chain
    is here is never fetched or kept twice. "" where the layer never was a tar (a container's, a build step's)."""
    diff: str = ""
    """The OCI diff id: digest of the layer's uncompressed tar; "" as for ``chain``."""


@attrs.frozen
class Unpacked:
    """What a layer's tar turned out to hold."""

    size: int
    """Bytes in regular files."""
    entries: int
    diff: str
    """``sha256:...`` of the uncompressed tar, padding included."""


@attrs.frozen
class Blob:
    """Bytes a registry knows by their digest, as kept below ROOT/blobs."""

    digest: str
    """``sha256:`` and 64 hex digits."""
    size: int
    media_type: str = ""


@attrs.frozen
class KeptBlob:
    """A blob that is kept below ROOT/blobs, and what it is good for."""

    digest: str
    diff: str
    """The diff id of the layer it is the (compressed) tar of; "" for a manifest or a configuration."""
    size: int
    media_type: str
    used_ns: int
    """When it was last wanted; nanoseconds since the epoch."""


def chain_id(parent: str, diff: str) -> str:
    """The chain id of a layer with this diff id over a layer with the chain id ``parent`` ("" for none)."""
    return f"sha256:{hashlib.sha256(f'{parent} {diff}'.encode()).hexdigest()}" if parent else diff
