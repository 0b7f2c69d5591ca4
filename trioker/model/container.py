"""What a container is, as values: its configuration, its state, its record."""

import enum

import attrs

from trioker.model.network import Endpoint

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Of a container whose configuration names none."""


@attrs.frozen
class Label:
    """One label of an image or a container."""

    name: str
    value: str


@attrs.frozen
class Healthcheck:
    """How an image says its containers are probed (OCI and Docker image configuration, ``Healthcheck``); carried, not run. Times in ns."""

    test: tuple[str, ...] = ()
    """``("NONE",)``, ``("CMD", argument...)`` or ``("CMD-SHELL", command)``."""
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    retries: int = 0
    start_interval_ns: int = 0


@attrs.frozen
class Config:
    """What a user asks of a container. Empty strings, zeros and empty tuples mean "not set"."""

    hostname: str = ""
    user: str = ""
    """Name, uid, ``uid:gid`` or ``name:group``; resolved inside the container's own root at start."""
    memory: int = 0
    """Limit in bytes; 0 is none."""
    memory_swap: int = 0
    """Memory plus swap in bytes; 0 is twice ``memory``, -1 is unlimited swap."""
    cpu_shares: int = 0
    """Relative weight as in cgroup version 1 (1024 is the kernel's default); 0 is the default."""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    port_specs: tuple[str, ...] = ()
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    image: str = ""
    """The image as the user typed it."""
    volumes: tuple[str, ...] = ()
    """Absolute paths inside the container that get a volume each."""
    volumes_from: str = ""
    """Reference of the container whose volumes are shared."""
    entrypoint: tuple[str, ...] = ()
    """What runs; ``command`` is then its arguments."""
    working_dir: str = ""
    """Absolute path inside the container where the command starts, made there where missing; "" is "/"."""
    labels: tuple[Label, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    """``80/tcp``: what an image says it listens on; nothing is published by it."""
    stop_signal: str = ""
    """Name (``SIGQUIT``, ``QUIT``) or number; "" is SIGTERM."""
    healthcheck: Healthcheck | None = None
    on_build: tuple[str, ...] = ()
    """Dockerfile instructions run by a build that begins FROM the image."""
    shell: tuple[str, ...] = ()
    """What a Dockerfile's shell forms run in; () is ``("/bin/sh", "-c")``."""


class Phase(enum.Enum):
    """Where a container is in its life; the allowed moves are the table in ``engine.lifecycle``."""

    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    EXITED = "exited"
    REMOVING = "removing"


@attrs.frozen
class State:
    """The changing part of a container. Times are nanoseconds since the epoch, 0 for "never"."""

    phase: Phase = Phase.CREATED
    pid: int = 0
    """Process id of the container's init on the host; 0 unless running."""
    exit_code: int = 0
    started_ns: int = 0
    finished_ns: int = 0
    error: str = ""
    """Why the last start failed or the container was lost; empty otherwise."""
    oom_killed: bool = False

    @property
    def running(self) -> bool:
        """Whether the container's process lives."""
        return self.phase is Phase.RUNNING


@attrs.frozen
class VolumeMount:
    """One volume at one place in a container."""

    path: str
    """Absolute path inside the container."""
    volume: str
    """The volume's id."""


@attrs.frozen
class Container:
    """The whole record of a container, as it is stored."""

    id: str
    created_ns: int
    config: Config
    """The merged configuration (user's over image's), host name filled in."""
    image_id: str
    state: State = State()
    volumes: tuple[VolumeMount, ...] = ()
    resolv_conf: str = "/etc/resolv.conf"
    """Host path of the file the container sees as /etc/resolv.conf."""
    endpoint: Endpoint | None = None
    """Its place on the network, from before it is started until it has ended."""


class ChangeKind(enum.IntEnum):
    """How a path differs from the image (page, "Inspect changes on a container's filesystem")."""

    MODIFIED = 0
    ADDED = 1
    DELETED = 2


@attrs.frozen
class Created:
    """The answer to a creation."""

    id: str
    warnings: tuple[str, ...] = ()
