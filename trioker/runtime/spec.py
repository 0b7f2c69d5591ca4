"""From the engine's Run to the launcher's LaunchSpec: what every container gets, beyond what its user asked for."""

import glob
from collections.abc import Sequence
from functools import cache
from typing import Any

import attrs

from trioker.launcher.spec import Bind, LaunchSpec, LinkSpec
from trioker.linux.capabilities import DEFAULT as DEFAULT_CAPABILITIES
from trioker.linux.mounts import Mount
from trioker.model.container import DEFAULT_PATH
from trioker.model.network import Endpoint
from trioker.model.run import Run

# What the kernel shows of the host in /proc and /sys; the list docker and podman mask, for the same reasons.
MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


@attrs.frozen
class Place:
    """Where the runtime keeps what a run needs on the host."""

    run_root: str
    """Holds one directory per live container."""
    mount_point: str
    cgroup_parent: str
    rlimits: dict[str, list[int]]
    """What containers get, by the names of resource.RLIMIT_* in lower case."""
    pids_limit: int = 0
    """How many processes and threads a container may have; 0 is no limit."""


@cache
def throttle_counters(processors: str = "/sys/devices/system/cpu") -> tuple[str, ...]:
    """Masked too: how often each processor was too hot tells one container what another computes (moby's GHSA-6fw5-f8r9-fgfm)."""
    return tuple(sorted(glob.glob(f"{processors}/cpu[0-9]*/thermal_throttle")))


def environment(tty: bool, home: str, wanted: tuple[str, ...]) -> list[str]:
    """The container's environment, as behaviour.md section 7: a few defaults, then the user's; a later name wins."""
    values = {"TERM": "xterm"} if tty else {}
    values |= {"HOME": home} if home else {}
    values |= {"PATH": DEFAULT_PATH}
    for entry in wanted:
        name, _, value = entry.partition("=")
        values[name] = value
    return [f"{name}={value}" for name, value in values.items()]


def launch_spec(run: Run, mounts: Sequence[Mount], place: Place) -> dict[str, Any]:
    """The complete order for one run, ready for JSON."""
    config, run_dir = run.config, f"{place.run_root}/{run.id}"
    return LaunchSpec(
        id=run.id,
        run_dir=run_dir,
        hostname=config.hostname,
        argv=[*config.entrypoint, *config.command],
        env=environment(config.tty, run.home, config.env),
        cwd=config.working_dir or "/",
        user=config.user,
        tty=config.tty,
        open_stdin=config.open_stdin,
        mounts=list(mounts),
        mount_point=place.mount_point,
        binds=[Bind(each.source, each.path, each.readonly) for each in run.binds],
        log_dir=run.log_directory or f"{run_dir}/log",
        log_size=run.log_policy.size,
        log_files=run.log_policy.files,
        attached=run.attached,
        capabilities=sorted(DEFAULT_CAPABILITIES),
        seccomp=True,
        masked_paths=[*MASKED_PATHS, *throttle_counters()],
        readonly_paths=list(READONLY_PATHS),
        rlimits=place.rlimits,
        cgroup_parent=place.cgroup_parent,
        memory=config.memory,
        memory_swap=config.memory_swap,
        cpu_shares=config.cpu_shares,
        pids_limit=place.pids_limit,
        network=link_spec(run.endpoint) if run.endpoint else None,
    )._asdict()


def link_spec(place: Endpoint) -> LinkSpec:
    """What the launcher makes of a place on the network."""
    link = LinkSpec(place.link, place.mac, f"{place.address}/{place.prefix}", place.gateway)
    if not place.address6:
        return link
    return link._replace(address6=f"{place.address6}/{place.prefix6}", gateway6=place.gateway6)
