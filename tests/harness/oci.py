"""Images as registries hold them, made by hand: nothing here imports trioker."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def layer_tar(**files: bytes) -> bytes:
    """A tar with these files at its top."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


class OciImage(NamedTuple):
    """One image: its manifest, and all blobs by digest."""

    manifest: bytes
    blobs: Mapping[str, bytes]
    media_type: str = MANIFEST

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    @property
    def config_digest(self) -> str:
        return str(json.loads(self.manifest)["config"]["digest"])

    @property
    def layers(self) -> Sequence[str]:
        """Digests of the compressed layers, lowest first."""
        return [each["digest"] for each in json.loads(self.manifest)["layers"]]


def oci_image(*tars: bytes, architecture: str = "amd64", **config: Any) -> OciImage:
    """An image of these layers."""
    layers = [gzip.compress(tar, 1, mtime=0) for tar in tars]
    document = {
        "architecture": architecture,
        "os": "linux",
        "created": "2026-01-02T03:04:05.000000006Z",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]},
        "history": [{"created": "2026-01-02T03:04:05Z", "created_by": f"step {place}"} for place in range(len(tars))],
    }
    raw_config = json.dumps(document).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described(raw_config, CONFIG),
        "layers": [described(layer, LAYER) for layer in layers],
    }
    blobs = {digest_of(blob): blob for blob in (raw_config, *layers)}
    return OciImage(json.dumps(manifest).encode(), blobs)


def described(data: bytes, media_type: str, **further: Any) -> dict[str, Any]:
    """A descriptor of a blob."""
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **further}


def oci_index(**images: OciImage) -> bytes:
    """An index of images by architecture."""
    entries = [
        described(image.manifest, MANIFEST, platform={"os": "linux", "architecture": name})
        for name, image in images.items()
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()


def write_layout(directory: Path, name: str, image: OciImage) -> None:
    """The image as an OCI layout, for ``skopeo copy oci:DIRECTORY:NAME``."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for digest, blob in {**image.blobs, image.digest: image.manifest}.items():
        (blobs / digest.removeprefix("sha256:")).write_bytes(blob)
    entry = described(image.manifest, MANIFEST, annotations={"org.opencontainers.image.ref.name": name})
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
