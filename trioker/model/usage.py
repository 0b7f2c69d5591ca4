"""What the store holds and who uses it."""

import attrs


@attrs.frozen
class LayerUsage:
    """One layer of the storage."""

    key: str
    parent: str
    size: int
    """Bytes in the layer itself."""
    images: tuple[str, ...] = ()
    """Ids of the images that show it (their own, or one they share)."""
    container: str = ""
    """Id of the container whose writable layer it is; "" for an image's."""


@attrs.frozen
class DiskUsage:
    """Everything that takes room below ROOT. Sizes in bytes."""

    layers: tuple[LayerUsage, ...]
    volumes: tuple[tuple[str, int], ...]
    """Id and size."""
    blobs: int
    """Of compressed originals kept for pushing, and of downloads to be resumed."""
    blob_limit: int
