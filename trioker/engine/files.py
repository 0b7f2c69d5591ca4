"""The files a container has on the host beside its layer: log, resolv.conf, volumes. All below the daemon's ROOT."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import attrs

from trioker.linux import trees
from trioker.model.container import Container, VolumeMount
from trioker.model.run import Bind

HOST_RESOLV_CONF = "/etc/resolv.conf"
_UNFINISHED = ".new"
"""Behind the name of a volume that is being filled."""


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
        if container.config.dns:
            with open(container.resolv_conf, "w", encoding="ascii") as file:
                os.fchmod(file.fileno(), 0o644)
                file.writelines(f"nameserver {each}\n" for each in container.config.dns)

    def missing_volumes(self, container: Container) -> tuple[VolumeMount, ...]:
        """Those of its volumes that were not made yet."""
        return tuple(each for each in container.volumes if not os.path.exists(f"{self.volumes}/{each.volume}"))

    @contextlib.contextmanager
    def new_volume(self, volume: str) -> Iterator[Path]:
        """Make a volume: the empty directory this gives becomes it when the body has ended well, filled or not."""
        path = f"{self.volumes}/{volume}{_UNFINISHED}"
        _discard(path)
        os.mkdir(path, 0o755)
        yield Path(path)
        os.rename(path, f"{self.volumes}/{volume}")

    def volume_sizes(self) -> tuple[tuple[str, int], ...]:
        """Every volume's id, and the bytes in it."""
        found = sorted(entry.name for entry in os.scandir(self.volumes) if not entry.name.endswith(_UNFINISHED))
        return tuple((volume, trees.measure(f"{self.volumes}/{volume}").bytes) for volume in found)

    def remove(self, container: Container) -> None:
        """Delete the container's directory and the volumes its record still names, whatever containers have put there."""
        for each in container.volumes:
            _discard(f"{self.volumes}/{each.volume}")
            _discard(f"{self.volumes}/{each.volume}{_UNFINISHED}")
        _discard(self.directory(container.id))

    def binds(self, container: Container) -> tuple[Bind, ...]:
        """What is shown inside the container: its volumes, and resolv.conf where the host has one."""
        in_order = sorted(
            container.volumes, key=lambda each: each.path
        )  # /v before /v/a: a later mount hides what is below it
        volumes = tuple(Bind(f"{self.volumes}/{each.volume}", each.path) for each in in_order)
        return (*_resolv_bind(container.resolv_conf), *volumes)

    def plain_binds(self) -> tuple[Bind, ...]:
        """What is shown in a run that is no container's."""
        return _resolv_bind(HOST_RESOLV_CONF)


def _resolv_bind(path: str) -> tuple[Bind, ...]:
    """Nothing where the host has no such file."""
    return (Bind(path, HOST_RESOLV_CONF, readonly=True),) if os.path.exists(path) else ()


def _discard(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        trees.remove_tree(path)
