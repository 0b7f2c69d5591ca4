"""What a user asked of the daemon on its command line, already checked."""

from pathlib import Path

import attrs

from trioker.model.network import NetworkOptions
from trioker.model.run import LogPolicy


@attrs.frozen
class TlsFiles:
    """PEM files for TCP: only clients whose certificate ``ca`` signed are let in."""

    ca: Path
    certificate: Path
    key: Path


@attrs.frozen
class RegistryOptions:
    """Where images are pulled from and pushed to."""

    default: str = "docker.io"
    """``host[:port]`` or URL of the registry for names without a host."""
    mirrors: tuple[str, ...] = ()
    """URLs asked before the default registry."""
    insecure: tuple[str, ...] = ()
    """``host[:port]`` or network (CIDR) of registries that may be spoken to without TLS, or with a certificate nobody vouches for."""
    ca: Path | None = None
    """PEM file of further authorities, beside the system's."""
    blob_limit: int = 10 * 2**30
    """Bytes of compressed originals kept for pushing them on unchanged."""


@attrs.frozen
class Rlimit:
    """One limit of setrlimit(2); -1 is no limit."""

    name: str
    """As in resource.RLIMIT_*, in lower case."""
    soft: int
    hard: int


@attrs.frozen
class ContainerLimits:
    """What every container may use that has no limits of its own."""

    rlimits: tuple[Rlimit, ...] = ()
    """Those that are not as the daemon's own."""
    processes: int = 4096
    """Processes and threads; 0 is no limit. A fork bomb ends here, and it is far above what the services of one container run."""


@attrs.frozen
class DaemonOptions:
    """Everything the daemon is told when it is started. All paths are absolute."""

    listeners: tuple[str, ...]
    """Addresses as ``http.addresses.parse_address`` reads them."""
    exposed: bool = False
    """Plain TCP beyond loopback was asked for (``--tls=false``)."""
    root: Path = Path("/var/lib/trioker")
    exec_root: Path = Path("/run/trioker")
    """For what need not survive a reboot: run directories, sockets between daemon and monitors."""
    storage_driver: str = ""
    """Empty to take what the root already has, else the best that works."""
    storage_options: tuple[tuple[str, str], ...] = ()
    driver_dirs: tuple[Path, ...] = ()
    host_names: tuple[str, ...] = ()
    """Further values that a Host header may have on TCP."""
    cors: bool = False
    tls: TlsFiles | None = None
    pid_file: Path | None = None
    debug: bool = False
    log_json: bool = False
    """The daemon's own log as one JSON object a line."""
    container_logs: LogPolicy = LogPolicy()
    registries: RegistryOptions = RegistryOptions()
    network: NetworkOptions = NetworkOptions()
    limits: ContainerLimits = ContainerLimits()
    userns_remap: str = ""
    """Whose ids containers get on the host: ``default``, ``USER[:GROUP]`` or ``UID[:GID]``; "" for the host's own."""
    cleanup: bool = False
    """Whether the host's network is left as it was, when the daemon stops and no container runs."""


@attrs.frozen
class MigrateOptions:
    """What a user asked of ``migrate``. All paths are absolute."""

    to: str
    """Name of the driver that is to keep the layers."""
    root: Path = DaemonOptions(()).root
    storage_options: tuple[tuple[str, str], ...] = ()
    driver_dirs: tuple[Path, ...] = ()
    keep: bool = False
    """Whether the old driver's data stay."""
