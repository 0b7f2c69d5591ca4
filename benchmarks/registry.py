"""Debian's docker-registry on loopback, and the little of its protocol that filling and checking one takes.

The protocol is distribution's (docs/spec/api.md): "Pushing an Image", "Pulling an Image".
"""

import contextlib
import http.client
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from benchmarks.layered import MANIFEST, Layered
from benchmarks.processes import running

PROGRAM = "docker-registry"
FULL, EMPTY = "127.0.0.1:15000", "127.0.0.1:15001"
"""Where an image is pulled from, and where it is pushed to; podman must be told before it starts that they speak plain HTTP."""

MEMORY = "/dev/shm"
"""So that the disk is the engines' alone."""
TIMEOUT = 60

BYTES = {"Content-Type": "application/octet-stream"}
MANIFESTS = {"Accept": f"{MANIFEST}, application/vnd.oci.image.manifest.v1+json"}


class RegistryError(Exception):
    """The registry's answer is not the one expected."""


def installed() -> bool:
    """Whether there is one on this host."""
    return shutil.which(PROGRAM) is not None


@contextlib.contextmanager
def serving(address: str) -> Iterator["Registry"]:
    """An empty registry; gone with all that is in it at the end."""
    with tempfile.TemporaryDirectory(prefix="trioker-bench-", dir=MEMORY) as directory:
        configuration = Path(directory, "config.yml")
        configuration.write_text(json.dumps(_configuration(address, directory)), encoding="utf-8")
        registry = Registry(address)
        with running([PROGRAM, "serve", str(configuration)], registry.ping, Path(directory, "log")):
            yield registry


def _configuration(address: str, directory: str) -> dict[str, Any]:
    """JSON, which is YAML too."""
    return {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": f"{directory}/data"}, "cache": {"blobdescriptor": "inmemory"}},
        "http": {"addr": address},
    }


class Registry:
    """A registry that serves plain HTTP at ``address``."""

    def __init__(self, address: str) -> None:
        self.address = address

    def ping(self) -> None:
        """OSError while it doesn't listen."""
        self._ask("GET", "/v2/")

    def fill(self, repository: str, image: Layered) -> None:
        """Have the image, as ``latest``."""
        for digest, blob in image.blobs.items():
            place = urlsplit(self._ask("POST", f"/v2/{repository}/blobs/uploads/").headers["Location"])
            self._ask("PUT", f"{place.path}?{place.query}&digest={digest}", blob, BYTES)
        self._ask("PUT", f"/v2/{repository}/manifests/latest", image.manifest, {"Content-Type": MANIFEST})

    def layers(self, repository: str) -> int:
        """How many layers ``latest`` has; RegistryError unless each is there, as long as it should be."""
        manifest = json.loads(self._ask("GET", f"/v2/{repository}/manifests/latest", headers=MANIFESTS).body)
        for layer in manifest["layers"]:
            length = self._ask("HEAD", f"/v2/{repository}/blobs/{layer['digest']}").headers["Content-Length"]
            if int(length) != layer["size"]:
                raise RegistryError(f"layer {layer['digest']} has {length} bytes instead of {layer['size']}")
        return len(manifest["layers"])

    def _ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> "_Answer":
        with contextlib.closing(http.client.HTTPConnection(self.address, timeout=TIMEOUT)) as connection:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            answer = _Answer(response.headers, response.read())
        if response.status >= 400:
            raise RegistryError(f"{method} {path}: {response.status} {answer.body.decode(errors='replace').strip()}")
        return answer


class _Answer(NamedTuple):
    headers: http.client.HTTPMessage
    body: bytes
