"""What an image is, as values: one record per generation, as in the API of 2013. Its tree is a layer of the storage."""

import attrs

from trioker.model.container import Config


@attrs.frozen
class Image:
    """One image over its parent."""

    id: str
    """64 hex digits. A pulled image's is the digest of its configuration, so that it is the same wherever it is pulled."""
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
    """The kernel's word (``x86_64``), as the API of 2013 shows it."""
    docker_version: str = ""
    size: int = 0
    """Bytes the image adds to its parent: those of its own layer, 0 where it has none."""
    layer: str = attrs.field(default=attrs.Factory(lambda self: self.id, takes_self=True))
    """Key of the layer that shows the image's tree: its own, or its parent's where it changed only the configuration."""
    recipe: str = ""
    """What a build made it by: sha256 of the step and of all the step depends on but the parent; "" if it was made otherwise."""
    manifest: str = ""
    """``sha256:...`` of the registry manifest it was pulled with, kept among the blobs; "" if it was made here."""
    foreign: bool = False
    """Whether a registry told it: how it was made is then a stranger's word."""


@attrs.frozen
class Tag:
    """A name of an image."""

    repository: str
    tag: str
    """Or a digest, ``sha256:...``, for what was pulled by one."""
    image_id: str

    @property
    def reference(self) -> str:
        """``repository:tag``, or ``repository@digest``."""
        return f"{self.repository}{'@' if ':' in self.tag else ':'}{self.tag}"


@attrs.frozen
class Removal:
    """What happened to one name or one image in a removal: exactly one of the two is set, to a full image id."""

    untagged: str = ""
    deleted: str = ""
