"""The engines that are measured side by side, and how each is started: data on a disk of its own, the rest below /run."""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.client import Client, network
from benchmarks.processes import running
from benchmarks.registry import EMPTY, FULL
from benchmarks.subject import Subject

PYZ = Path(__file__).resolve().parent.parent / "dist" / "trioker.pyz"
DISK_BYTES = 16 << 30
"""Of a sparse file: it takes what is written."""
MAKE = {
    "ext4": ("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"),
    "btrfs": ("mkfs.btrfs", "-q"),
}


class Engine(NamedTuple):
    """How to start one of them."""

    label: str
    disk: Path
    """An empty directory, for a disk of its own."""
    command: list[str]
    host: str
    environment: Mapping[str, str] = {}
    filesystem: str = "ext4"


def engines(scratch: Path) -> Iterator[Engine]:
    """Those that this host has, trioker first. They and their sockets live in ``scratch``."""
    makers = {"trioker": _trioker, "dockerd": _dockerd, "podman": _podman}
    for label, make in makers.items():
        if label == "trioker" or shutil.which(label):
            yield make(scratch / label, f"unix://{scratch}/{label}.sock")


def _trioker(disk: Path, host: str) -> Engine:
    networkless = ["-b", "none"] if network() == "none" else []
    command = [
        sys.executable,
        str(PYZ),
        "-d",
        "-H",
        host,
        "-g",
        f"{disk}/data",
        "--exec-root",
        "/run/trioker",
        *networkless,
    ]
    return Engine("trioker", disk, command, host)


def _dockerd(disk: Path, host: str) -> Engine:
    state = ["--data-root", f"{disk}/data", "--exec-root", "/run/docker", "--pidfile", "/run/docker.pid"]
    no_bridge = ["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]
    networkless = no_bridge if network() == "none" else []
    command = ["dockerd", "-H", host, *state, *networkless, "--cgroup-parent", "/trioker-bench"]
    return Engine("dockerd", disk, command, host)


def _podman(disk: Path, host: str) -> Engine:
    """Its API service. Which registries speak plain HTTP it must be told; the others take that for granted on loopback."""
    state = ["--root", f"{disk}/data", "--runroot", "/run/podman", "--tmpdir", "/run/podman-tmp"]
    # crun refuses hosts that mount both versions of cgroups; without systemd there is no journal to write events to.
    runtime = ["--runtime=runc"] if shutil.which("runc") else []
    tools = ["--cgroup-manager=cgroupfs", "--events-backend=none", *runtime]
    registries = disk.with_name("registries.conf")
    plain = [f'[[registry]]\nlocation = "{address}"\ninsecure = true\n' for address in (FULL, EMPTY)]
    registries.write_text("".join(plain), encoding="utf-8")
    # Where it puts layers on their way is for the environment to say.
    environment = {"CONTAINERS_REGISTRIES_CONF": str(registries), "TMPDIR": f"{disk}/tmp"}
    return Engine("podman", disk, ["podman", *state, *tools, "system", "service", "--time=0", host], host, environment)


@contextlib.contextmanager
def measured(engine: Engine, root_tar: str) -> Iterator[Subject]:
    """The engine started and its image imported; stopped at the end."""
    with started(engine) as process, Subject(engine.label, engine.host, process.pid, root_tar) as subject:
        yield subject


@contextlib.contextmanager
def started(engine: Engine) -> "Iterator[subprocess.Popen[bytes]]":
    """The engine; stopped at the end. Its disk goes with our mount namespace."""
    _mount_disk(engine.disk, engine.filesystem)

    def answers() -> None:
        with Client(engine.host) as client:
            client.call("GET", "/version")

    with running(engine.command, answers, engine.disk.with_suffix(".log"), engine.environment) as process:
        yield process


def _mount_disk(where: Path, filesystem: str) -> None:
    """A new one: on one disk, an engine that syncs would wait for what the others wrote and did not sync.

    An ext4 has a journal, as hosts' have: without, it gives out no inode again for minutes, and takes seconds to find thousands of others.
    """
    disk = where.with_suffix(".img")
    with disk.open("wb") as file:
        file.truncate(DISK_BYTES)
    quiet = subprocess.DEVNULL  # mkfs.btrfs -q is not
    subprocess.run([*MAKE[filesystem], str(disk)], check=True, stdout=quiet)
    where.mkdir()
    subprocess.run(["mount", "-o", "loop", str(disk), str(where)], check=True)
    (where / "tmp").mkdir()
