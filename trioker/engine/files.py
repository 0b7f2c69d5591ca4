"""The files a container has on the host beside its layer: log, resolv.conf, volumes. All below the daemon's ROOT."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import attrs

from trioker.model.container import Container, VolumeMount
from trioker.model.ids import new_id
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

    def create(self, container_id: str, dns: tuple[str, ...]) -> str:
        """Make the container's directory; returns the path of its resolv.conf."""
        os.mkdir(self.directory(container_id), 0o700)
        if not dns:
            return HOST_RESOLV_CONF
        path = f"{self.directory(container_id)}/resolv.conf"
        with open(path, "x", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o644)
            file.writelines(f"nameserver {each}\n" for each in dns)
        return path

    def create_volumes(self, paths: Iterable[str]) -> tuple[VolumeMount, ...]:
        """A fresh, empty directory for each path."""
        mounts = tuple(VolumeMount(path, new_id()) for path in paths)
        for each in mounts:
            os.mkdir(f"{self.volumes}/{each.volume}", 0o755)
        return mounts

    def remove_volumes(self, volumes: Iterable[str]) -> None:
        """Delete volumes and what is in them; one that is gone is no error."""
        for each in volumes:
            shutil.rmtree(f"{self.volumes}/{each}", ignore_errors=True)

    def remove(self, container_id: str) -> None:
        """Delete the container's directory."""
        shutil.rmtree(self.directory(container_id), ignore_errors=True)

    def binds(self, container: Container) -> tuple[Bind, ...]:
        """What is shown inside the container: its volumes, and resolv.conf where the host has one."""
        volumes = tuple(Bind(f"{self.volumes}/{each.volume}", each.path) for each in container.volumes)
        if not os.path.exists(container.resolv_conf):
            return volumes
        return (Bind(container.resolv_conf, HOST_RESOLV_CONF, readonly=True), *volumes)
