"""The image that is pulled and pushed: five layers of 10 MB and 400 files each, made here, the same bytes for the same number.

Its manifest is Docker's schema 2 (distribution, docs/spec/manifest-v2-2.md), which all engines read.
"""

import functools
import gzip
import hashlib
import json
import platform
import random
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from benchmarks import image

LAYERS = 5
FILES = 400
"""Small ones in each layer, 10 kB on average."""
BLOB = 6 << 20
"""Bytes of the one large file in each layer."""

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"

GONE = "srv/0/0/0"
"""A file of the first layer that the last takes away."""
SUMS = "sums"
CHECK = ("/bin/sh", "-c", f"cd / && busybox sha256sum -s -c {SUMS} && test ! -e {GONE}")
"""Ends with 0 where every file is what it should be."""

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Go's names, which images use, for the kernel's."""


class Layered(NamedTuple):
    """An image as a registry holds it."""

    manifest: bytes
    blobs: Mapping[str, bytes]
    """By digest: the layers and the configuration."""


@functools.lru_cache(maxsize=1)  # all engines of a round get the same
def layered(number: int, *, files: int = FILES, blob: int = BLOB) -> Layered:
    """The image of this number. No layer of two numbers is the same."""
    tars = _tars(random.Random(number), files, blob)
    with ThreadPoolExecutor(2) as pool:  # zlib lets other threads run
        layers = list(pool.map(lambda tar: gzip.compress(tar, 6, mtime=0), tars))
    config = json.dumps(_config(tars)).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(CONFIG, config),
        "layers": [_descriptor(LAYER, layer) for layer in layers],
    }
    return Layered(json.dumps(manifest).encode(), {digest(blob): blob for blob in (config, *layers)})


def digest(data: bytes) -> str:
    """Its name in a registry."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _tars(source: random.Random, files: int, blob: int) -> list[bytes]:
    trees = [_tree(source, layer, files, blob) for layer in range(LAYERS)]
    trees[0] |= image.base_files()
    expected = {name: content for tree in trees for name, content in tree.items() if name != GONE}
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in expected.items())
    directory, _, name = GONE.rpartition("/")
    trees[-1] |= {SUMS: sums.encode(), f"{directory}/.wh.{name}": b""}
    links = {f"bin/{name}": "busybox" for name in image.APPLETS}
    return [image.pack(tree, {} if number else links) for number, tree in enumerate(trees)]


def _tree(source: random.Random, layer: int, files: int, blob: int) -> dict[str, bytes]:
    sizes = [1 + n * 53 % 20000 for n in range(files)]
    small = {f"srv/{layer}/{n // 100}/{n}": _content(source, size) for n, size in enumerate(sizes)}
    return small | {f"srv/{layer}/blob": _content(source, blob)}


def _content(source: random.Random, size: int) -> bytes:
    """Bytes that gzip shortens to about the half, as it does programs."""
    return source.randbytes(-(-size // 2)).hex()[:size].encode()


def _config(tars: list[bytes]) -> dict[str, Any]:
    return {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "created": "2013-07-01T00:00:00Z",
        "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(tar) for tar in tars]},
        "history": [{"created": "2013-07-01T00:00:00Z", "created_by": f"layer {n}"} for n in range(len(tars))],
    }


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "size": len(blob), "digest": digest(blob)}
