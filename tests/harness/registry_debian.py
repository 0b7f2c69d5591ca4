"""Debian's docker-registry on loopback, and skopeo beside it. Nothing here imports trioker."""

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from daemon import free_port
from polling import PATIENCE, wait_until

USER, PASSWORD = "somebody", "open sesame"
_HTPASSWD = f"{USER}:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n"
_CONFIG = """
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {data}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"{tls}}}
"""
_AUTH = "auth: {{htpasswd: {{realm: tests, path: {path}}}}}\n"


class DebianRegistry(NamedTuple):
    """One that runs."""

    host: str
    directory: Path

    def reference(self, name: str) -> str:
        """As skopeo calls an image of it."""
        return f"docker://{self.host}/{name}"


@contextlib.contextmanager
def debian_registry(
    directory: Path, *, login: bool = False, certificate: Path | None = None, key: Path | None = None
) -> Iterator[DebianRegistry]:
    """A registry for the length of a with-block; ``login`` wants USER and PASSWORD, a certificate makes it talk TLS."""
    port = free_port()
    tls = f", tls: {{certificate: {certificate}, key: {key}}}" if certificate else ""
    config = _CONFIG.format(data=directory / "data", port=port, tls=tls)
    if login:
        (directory / "htpasswd").write_text(_HTPASSWD)
        config += _AUTH.format(path=directory / "htpasswd")
    (directory / "config.yml").write_text(config)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", directory / "config.yml"], stdout=log, stderr=log)
    try:
        wait_until(lambda: _listens(port), "a registry that listens")
        yield DebianRegistry(f"127.0.0.1:{port}", directory)
    finally:
        process.kill()
        process.wait(PATIENCE)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def skopeo(*arguments: str) -> str:
    """Run skopeo; its output. Raises AssertionError with what it says when it fails."""
    done = subprocess.run(
        ["skopeo", "--insecure-policy", *arguments], check=False, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
