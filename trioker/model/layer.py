"""Layers, as values."""

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


@attrs.frozen
class Unpacked:
    """What a layer's tar turned out to hold."""

    size: int
    """Bytes in regular files."""
    entries: int
