"""What an image is, as values: one record per layer, as in the API of 2013."""

import attrs

from trioker.model.container import Config


@attrs.frozen
class Image:
    """One image: one layer over its parent. ``id`` is also the key of its layer in the storage."""

    id: str
    created_ns: int
    parent: str = ""
    comment: str = ""
    author: str = ""
    container: str = ""
    """Full id of the container it was committed from."""
    container_config: Config = Config()
    config: Config | None = None
    """What containers made from it inherit; None when it has none (an import)."""
    architecture: str = ""
    docker_version: str = ""
    size: int = 0
    """Bytes in the image's own layer."""


@attrs.frozen
class Tag:
    """A name of an image."""

    repository: str
    tag: str
    image_id: str

    @property
    def reference(self) -> str:
        """``repository:tag``."""
        return f"{self.repository}:{self.tag}"


@attrs.frozen
class Removal:
    """What happened to one name or one image in a removal: exactly one of the two is set, to a full image id."""

    untagged: str = ""
    deleted: str = ""
