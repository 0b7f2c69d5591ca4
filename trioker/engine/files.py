"""The files a container has on the host beside its layer: log, resolv.conf, volumes. All below the daemon's ROOT."""

import contextlib
import os
from pathlib import Path
from typing import Self

import attrs

from trioker.linux import trees
from trioker.model.container import Container
from trioker.model.run import Bind

HOST_RESOLV_CONF = "/etc/resolv.conf"


@attrs.frozen
class Files:
    """Where they are. The directories exist."""

    containers: str
    volumes: str

    @classmethod
    def below(cls, root: Path) -> Self:
        """The two directories in the daemon's root, made where missing."""
        for name in ("containers", "volumes"):
            (root / name).mkdir(mode=0o700, exist_ok=True)
        return cls(str(root / "containers"), str(root / "volumes"))

    def directory(self, container_id: str) -> str:
        """The container's own directory."""
        return f"{self.containers}/{container_id}"

    def log_directory(self, container_id: str) -> str:
        """Where its log is (``launcher.logfile``)."""
        return f"{self.containers}/{container_id}/log"

    def resolv_conf(self, container_id: str, dns: tuple[str, ...]) -> str:
        """Path of the file a container with these name servers sees as /etc/resolv.conf."""
        return f"{self.directory(container_id)}/resolv.conf" if dns else HOST_RESOLV_CONF

    def prepare(self, container: Container) -> None:
        """Make what a start needs and is not there yet. Only a container on record has files: a creation cut short leaves none."""
        os.makedirs(self.directory(container.id), 0o700, exist_ok=True)
        for each in container.volumes:
            with contextlib.suppress(FileExistsError):
                os.mkdir(f"{self.volumes}/{each.volume}", 0o755)
        if container.config.dns:
            with open(container.resolv_conf, "w", encoding="ascii") as file:
                os.fchmod(file.fileno(), 0o644)
                file.writelines(f"nameserver {each}\n" for each in container.config.dns)

    def remove(self, container: Container) -> None:
        """Delete the container's directory and the volumes its record still names, whatever containers have put there."""
        for each in container.volumes:
            _discard(f"{self.volumes}/{each.volume}")
        _discard(self.directory(container.id))

    def binds(self, container: Container) -> tuple[Bind, ...]:
        """What is shown inside the container: its volumes, and resolv.conf where the host has one."""
        in_order = sorted(
            container.volumes, key=lambda each: each.path
        )  # /v before /v/a: a later mount hides what is below it
        volumes = tuple(Bind(f"{self.volumes}/{each.volume}", each.path) for each in in_order)
        if not os.path.exists(container.resolv_conf):
            return volumes
        return (Bind(container.resolv_conf, HOST_RESOLV_CONF, readonly=True), *volumes)


def _discard(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        trees.remove_tree(path)
