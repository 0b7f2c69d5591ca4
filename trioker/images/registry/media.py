"""Media types of the distribution protocol (OCI image-spec, media-types.md; Docker image manifest v2 schema 2)."""

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"

MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES = (OCI_INDEX, DOCKER_LIST)
CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)
SCHEMA1 = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)

LAYERS = {
    DOCKER_LAYER: DOCKER_LAYER,
    f"{DOCKER_LAYER}.gzip": f"{DOCKER_LAYER}.gzip",
    f"{DOCKER_LAYER}.zstd": f"{DOCKER_LAYER}.zstd",
    OCI_LAYER: DOCKER_LAYER,
    f"{OCI_LAYER}+gzip": f"{DOCKER_LAYER}.gzip",
    f"{OCI_LAYER}+zstd": f"{DOCKER_LAYER}.zstd",
}
"""Layers that can be had from a registry, and what Docker's manifest calls the same bytes."""

DOCKER_LAYER_GZIP = f"{DOCKER_LAYER}.gzip"

_ELSEWHERE = ("application/vnd.docker.image.rootfs.foreign.", "application/vnd.oci.image.layer.nondistributable.")


def is_foreign(media_type: str) -> bool:
    """Whether a layer's bytes are not the registry's to give: they lie at URLs of somebody else."""
    return media_type.startswith(_ELSEWHERE)
