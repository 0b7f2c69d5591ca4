"""Where a host has its control groups and what is written there: knowledge, no deeds but reading.

Version 1 has a tree per controller (Documentation/admin-guide/cgroup-v1), version 2 one tree for all (admin-guide/cgroup-v2.rst). A
controller is in one of them at a time, so a mixed host is simply asked for each.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from trioker.linux.cgroup_files import read_text

DEVICE_RULES = (
    "c *:* m",  # any node may be made, only these may be opened:
    "b *:* m",
    "c 1:3 rwm",  # null
    "c 1:5 rwm",  # zero
    "c 1:7 rwm",  # full
    "c 1:8 rwm",  # random
    "c 1:9 rwm",  # urandom
    "c 5:0 rwm",  # tty
    "c 5:1 rwm",  # console
    "c 5:2 rwm",  # ptmx
    "c 136:* rwm",  # pts
)
"""Docker's list, in the notation of version 1's ``devices.allow``."""

_CONTROLLERS = frozenset(("cpu", "devices", "memory", "pids"))


class Limits(NamedTuple):
    """What one container may use; 0 is no limit."""

    memory: int = 0
    """Bytes."""
    memory_swap: int = 0
    """Memory plus swap in bytes; 0 is twice ``memory``, -1 unlimited swap. Without ``memory`` it says nothing."""
    cpu_shares: int = 0
    """Weight beside others, where 1024 is the usual one; the kernel keeps it within 2 and 262144."""
    pids: int = 0


class Hierarchies(NamedTuple):
    """Where this host has its controllers."""

    v1: dict[str, str]
    """Mount point by controller, of those we use."""
    v2: str
    """Mount point of the version 2 tree; empty where nothing we use is in it."""
    v2_controllers: frozenset[str]
    swap_limit: bool
    """Whether memory and swap together can be limited."""

    @property
    def version(self) -> str:
        """``1``, ``2``, ``hybrid`` or ``none``."""
        names = {(True, True): "hybrid", (True, False): "1", (False, True): "2", (False, False): "none"}
        return names[bool(self.v1), bool(self.v2)]

    @property
    def memory_limit(self) -> bool:
        """Whether memory can be limited."""
        return self._has("memory")

    @property
    def cpu_shares(self) -> bool:
        """Whether the processor can be shared by weight."""
        return self._has("cpu")

    @property
    def pids_limit(self) -> bool:
        """Whether the number of processes can be limited."""
        return self._has("pids")

    def place(self, controller: str, path: str) -> str:
        """The directory for ``path`` under a controller; empty where the host lacks it. Device rules need no controller on version 2."""
        if controller in self.v1:
            return f"{self.v1[controller]}/{path}"
        if self.v2 and (controller in self.v2_controllers or controller == "devices"):
            return f"{self.v2}/{path}"
        return ""

    def _has(self, controller: str) -> bool:
        return controller in self.v1 or controller in self.v2_controllers


def detect(read: Callable[[str], str] | None = None) -> Hierarchies:
    """Find this host's trees. ``read`` gives a file's text, empty where there is no such file."""
    read = read or read_text
    v1: dict[str, str] = {}
    v2 = ""
    for each in _writable_mounts(read("/proc/self/mountinfo")):
        if each.fstype == "cgroup2":
            v2 = v2 or each.point
        elif each.fstype == "cgroup":
            for controller in sorted(_CONTROLLERS.intersection(each.options)):
                v1.setdefault(controller, each.point)
    offered = (_offered(v2, read) if v2 else frozenset()) & _CONTROLLERS.difference(v1)
    if not offered and "devices" in v1:
        v2 = ""
    return Hierarchies(v1, v2, offered, _swap_limit(v1, offered, read))


def obstacle(hierarchies: Hierarchies, read: Callable[[str], str] | None = None) -> str:
    """Why no container can be started with these trees, for a user; empty where nothing is in the way."""
    if not hierarchies.place("devices", ""):
        return (
            "no control groups for device rules are mounted writable: neither version 1's devices nor version 2"
            " ('ip netns exec' hides /sys/fs/cgroup, 'nsenter --net' does not)"
        )
    if hierarchies.v2 and _in_other_namespace(hierarchies.v2, read or read_text):
        return (
            f"the control groups at {hierarchies.v2} belong to another cgroup namespace than this process: mount version 2 anew in this one,"
            " or stay in the other ('unshare --cgroup' and 'nsenter' without --cgroup part the two)"
        )
    return ""


def _in_other_namespace(mount_point: str, read: Callable[[str], str]) -> bool:
    """Whether processes of ours cannot get into version 2's groups: with "nsdelegate" they and the group must be below our namespace's root.

    What is not below it the kernel shows with ``/..`` (cgroup_namespaces(7)).
    """
    outside = "0::/.." in read("/proc/self/cgroup")
    return any(
        (outside or each.top.startswith("/..")) and "nsdelegate" in each.options
        for each in _writable_mounts(read("/proc/self/mountinfo"))
        if each.point == mount_point
    )


def freezer_mount(read: Callable[[str], str] | None = None) -> str:
    """Mount point of version 1's freezer; empty where the host has none."""
    for each in _writable_mounts((read or read_text)("/proc/self/mountinfo")):
        if each.fstype == "cgroup" and "freezer" in each.options:
            return each.point
    return ""


def settings(hierarchies: Hierarchies, path: str, limits: Limits) -> list[tuple[str, str]]:
    """Files and what is written to them, in order, for the limits this host can set."""
    wanted: list[tuple[str, str, str]] = []  # controller, file, value
    if limits.pids:
        wanted.append(("pids", "pids.max", str(limits.pids)))
    if limits.memory:
        names = (
            ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
            if "memory" in hierarchies.v1
            else ("memory.max", "memory.swap.max")
        )
        wanted.append(("memory", names[0], str(limits.memory)))
        if hierarchies.swap_limit:
            wanted.append(("memory", names[1], _swap(limits, together="memory" in hierarchies.v1)))
    if limits.cpu_shares and "cpu" in hierarchies.v1:
        wanted.append(("cpu", "cpu.shares", str(limits.cpu_shares)))
    elif limits.cpu_shares:
        wanted.append(("cpu", "cpu.weight", str(cpu_weight(limits.cpu_shares))))
    return [(f"{place}/{file}", value) for each, file, value in wanted if (place := hierarchies.place(each, path))]


def cpu_weight(shares: int) -> int:
    """Version 2's weight (1 to 10000) for version 1's shares (2 to 262144).

    The curve of today's runtimes (runc 1.3.2 and crun 1.23): it maps the ends to the ends and the usual share, 1024, to the usual weight,
    100; the straight line of earlier years made 39 of it, so that containers lost against everything else on the host.
    """
    power = math.log2(min(max(shares, 2), 262144))
    exponent = (power * power + 125 * power) / 612 - 7 / 34
    return math.ceil(round(10**exponent, 6))  # rounded first: a float's last digit must not make 101 of 100


def needed(limits: Limits) -> list[str]:
    """Controllers a container needs; each one costs a mkdir, a move and an rmdir.

    "cpu" without a limit, too: the kernel divides a processor among groups first. Else a hundred processes that fork and end, each new to
    the scheduler, leave the daemon and the other containers seconds behind.
    """
    return ["pids", "devices", "cpu", *(["memory"] if limits.memory else [])]


def left_out(hierarchies: Hierarchies, limits: Limits) -> tuple[str, ...]:
    """What of the limits this host cannot set, in words."""
    swap = limits.memory > 0 and limits.memory_swap >= 0 and hierarchies.memory_limit
    asked = {
        "memory limit": (limits.memory, hierarchies.memory_limit),
        "swap limit": (swap, hierarchies.swap_limit),
        "cpu shares": (limits.cpu_shares, hierarchies.cpu_shares),
        "limit of processes": (limits.pids, hierarchies.pids_limit),
    }
    return tuple(
        f"{name} left out: this host has no control group for it"
        for name, (limit, able) in asked.items()
        if limit and not able
    )


def _swap(limits: Limits, *, together: bool) -> str:
    """The value for version 1, which counts memory and swap together, or version 2, which counts swap alone."""
    if limits.memory_swap < 0:
        return "-1" if together else "max"
    total = limits.memory_swap or 2 * limits.memory
    if total < limits.memory:
        raise ValueError(f"memory and swap together ({total}) are less than memory ({limits.memory})")
    return str(total if together else total - limits.memory)


def _swap_limit(v1: dict[str, str], v2_controllers: frozenset[str], read: Callable[[str], str]) -> bool:
    if "memory" in v1:
        return bool(read(f"{v1['memory']}/memory.memsw.limit_in_bytes"))
    return (
        "memory" in v2_controllers
        and bool(read("/proc/swaps"))
        and "swapaccount=0" not in read("/proc/cmdline").split()
    )


def _offered(v2: str, read: Callable[[str], str]) -> frozenset[str]:
    """Controllers that can be had below the top of a version 2 tree.

    Where that is no real root (only others have a ``cgroup.type``) but the one of a namespace, as inside a container, it can hand down no
    more than it does already once there are processes in it ("No Internal Process Constraint").
    """
    stuck = read(f"{v2}/cgroup.type") and read(f"{v2}/cgroup.procs")
    return frozenset(read(f"{v2}/cgroup.subtree_control" if stuck else f"{v2}/cgroup.controllers").split())


class _Mount(NamedTuple):
    """A line of mountinfo (proc_pid_mountinfo(5))."""

    fstype: str
    point: str
    top: str
    """What of the filesystem is at the mount point; for control groups as seen from our cgroup namespace."""
    options: list[str]
    """The superblock's."""


def _writable_mounts(mountinfo: str) -> Iterator[_Mount]:
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, (fstype, _, options) = left.split(" "), right.split(" ", 2)
        if "ro" not in fields[5].split(","):
            yield _Mount(fstype, _unescaped(fields[4]), fields[3], options.split(","))


def _unescaped(path: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, character)
    return path
