"""One run of a container, as values: what is asked of the runtime and what it tells back."""

import attrs

from trioker.model.container import Config
from trioker.model.network import Endpoint


@attrs.frozen
class Bind:
    """A host file or directory shown inside a container at ``path`` (resolved inside its root, made where missing)."""

    source: str
    path: str
    readonly: bool = False


@attrs.frozen
class LogPolicy:
    """How much output is kept: at most ``files`` files of ``size`` bytes each."""

    size: int = 10 * 2**20
    files: int = 5


@attrs.frozen
class Run:
    """One run of one container; with the mounts of its root the runtime needs to know nothing else."""

    id: str
    config: Config
    binds: tuple[Bind, ...]
    log_directory: str
    """Where the log is kept; "" for a run whose log ends with it."""
    log_policy: LogPolicy
    attached: bool
    """Whether output is wanted live from the first byte."""
    home: str = "/"
    """``HOME`` in its environment, unless the configuration names one; "" for what the root's own /etc/passwd says of its user."""
    endpoint: Endpoint | None = None
    """Its place on the network; None for its loopback alone."""


@attrs.frozen
class Exit:
    """How a run ended."""

    code: int
    finished_ns: int
    oom_killed: bool = False
    error: str = ""


@attrs.frozen
class Output:
    """One piece of live output. ``position`` is the log position just behind it (see ``launcher.logfile``)."""

    stream: int
    """1 stdout, 2 stderr."""
    data: bytes
    position: int


@attrs.frozen
class Attached:
    """Output is told from here on: all that is logged behind ``position``."""

    position: int
