"""The files a container has on the host beside its layer: log, names, volumes. All below the daemon's ROOT."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import attrs

from trioker.linux import trees
from trioker.model.container import Container, VolumeMount
from trioker.model.run import Bind

_UNFINISHED = ".new"
"""Behind the name of a volume that is being filled."""


@attrs.frozen
class Names:
    """What a run is told of its own name and of others', as the text of files in its /etc."""

    hostname: str
    hosts: str
    resolv_conf: str


@attrs.frozen
class Files:
    """Where they are. The directories exist."""

    containers: str
    volumes: str
    steps: str

    @classmethod
    def below(cls, root: Path) -> Self:
        """The directories in the daemon's root, made where missing. What a killed daemon's builds left is removed."""
        _discard(str(root / "steps"))
        for name in ("containers", "volumes", "steps"):
            (root / name).mkdir(mode=0o700, exist_ok=True)
        return cls(str(root / "containers"), str(root / "volumes"), str(root / "steps"))

    def directory(self, container_id: str) -> str:
        """The container's own directory."""
        return f"{self.containers}/{container_id}"

    def log_directory(self, container_id: str) -> str:
        """Where its log is (``launcher.logfile``)."""
        return f"{self.containers}/{container_id}/log"

    def resolv_conf(self, container_id: str) -> str:
        """Path of the file a container sees as /etc/resolv.conf."""
        return f"{self.directory(container_id)}/resolv.conf"

    def prepare(self, container: Container, names: Names) -> None:
        """Make what a start needs. Only a container on record has files: a creation cut short leaves none."""
        _write_names(self.directory(container.id), names)

    @contextlib.contextmanager
    def for_step(self, run_id: str, names: Names) -> Iterator[tuple[Bind, ...]]:
        """What is shown in a run that is no container's, for as long as the context lasts."""
        directory = f"{self.steps}/{run_id}"
        try:
            _write_names(directory, names)
            yield _name_binds(directory)
        finally:
            _discard(directory)

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
        """What is shown inside the container: its names, and its volumes."""
        in_order = sorted(
            container.volumes, key=lambda each: each.path
        )  # /v before /v/a: a later mount hides what is below it
        volumes = tuple(Bind(f"{self.volumes}/{each.volume}", each.path) for each in in_order)
        return (*_name_binds(self.directory(container.id)), *volumes)


def _write_names(directory: str, names: Names) -> None:
    """Write them anew: a run may have changed those of the one before, and addresses do."""
    os.makedirs(directory, 0o700, exist_ok=True)
    for name, text in (("resolv.conf", names.resolv_conf), ("hosts", names.hosts), ("hostname", f"{names.hostname}\n")):
        with open(f"{directory}/{name}", "w", encoding="utf-8", errors="surrogateescape") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)


def _name_binds(directory: str) -> tuple[Bind, ...]:
    """As in 2013 resolv.conf cannot be written in; programs do write into the others, and so they may."""
    return (
        Bind(f"{directory}/resolv.conf", "/etc/resolv.conf", readonly=True),
        Bind(f"{directory}/hosts", "/etc/hosts"),
        Bind(f"{directory}/hostname", "/etc/hostname"),
    )


def _discard(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        trees.remove_tree(path)
