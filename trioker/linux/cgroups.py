"""A container's control groups, on version 1, version 2 and mixed hosts, in a subtree of our own.

A container gets directories only where they are needed: for ``memory`` only when it is limited.

Getting in is what costs: a pid written to ``cgroup.procs`` waits out an RCU grace period after some idle time, 8-18 ms. So a process is
born inside on version 2 (``directory_fd``), and on version 1 moves itself (``enter_self``), 0.1 ms.
"""

import contextlib
import errno
import os
import time
from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple

from trioker.linux.bpf import attach_device_program, device_program, load_device_program
from trioker.linux.cgroup_files import is_v2, read_text, remove_tree, signal_members, tree, until, write_text
from trioker.linux.cgroup_layout import DEVICE_RULES, Hierarchies, Limits, detect, left_out, needed, obstacle, settings

__all__ = [
    "Cgroup",
    "Hierarchies",
    "Limits",
    "create",
    "detect",
    "from_paths",
    "load_device_rules",
    "obstacle",
    "remove_parent",
]


class Cgroup(NamedTuple):
    """One container's directories, one per tree it is in."""

    paths: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    """What was asked for and left out because the host cannot do it, in words."""

    def directory_fd(self) -> int | None:
        """A new descriptor of the version 2 directory for CLONE_INTO_CGROUP; None where there is none."""
        for path in self.paths:
            if is_v2(path):
                return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return None

    def enter(self, pid: int, *, cloned_into: bool = False) -> None:
        """Move a process in, its threads too: slow on an idle host. ``cloned_into`` spares the version 2 tree it was born in."""
        for path in self._still_outside(cloned_into):
            write_text(f"{path}/cgroup.procs", str(pid))

    def enter_self(self, *, cloned_into: bool = False) -> None:
        """Move the calling process in, which must have one thread; before it loses sight of the cgroup mounts.

        A thread that writes 0 to version 1's ``tasks`` moves without the lock that makes ``enter`` slow (kernel 5.5 and newer).
        """
        for path in self._still_outside(cloned_into):
            write_text(f"{path}/cgroup.procs" if is_v2(path) else f"{path}/tasks", "0")

    def oom_kills(self) -> int:
        """How many processes the kernel killed for lack of memory; 0 without a memory limit."""
        for path in self.paths:
            for name in ("memory.events", "memory.oom_control"):
                for line in read_text(f"{path}/{name}").splitlines():
                    key, _, value = line.partition(" ")
                    if key == "oom_kill":
                        return int(value)
        return 0

    def kill(self, timeout: float = 5.0) -> bool:
        """SIGKILL all that is in it, also in cgroups made inside; whether it was empty within ``timeout`` seconds.

        Nothing can be started in it afterwards: first its limit of processes is taken to 0, or a fork bomb would win the race.
        """
        for path in self.paths:
            for name, value in (("pids.max", "0"), ("cgroup.kill", "1")):
                with contextlib.suppress(OSError):  # not in this tree, or the directory has gone
                    write_text(f"{path}/{name}", value)
        return until(lambda: not self._signal_members(), time.monotonic() + timeout)

    def remove(self, timeout: float = 1.0) -> None:
        """Remove the directories, and cgroups made inside; what has gone already is fine.

        Raises OSError (EBUSY) where processes are still in one after ``timeout`` seconds, after having removed the others.
        """
        deadline = time.monotonic() + timeout
        busy = [path for path in self.paths if not remove_tree(path, deadline)]
        if busy:
            raise OSError(errno.EBUSY, "control group still in use", busy[0])

    def _still_outside(self, cloned_into: bool) -> list[str]:
        return [path for path in self.paths if not (cloned_into and is_v2(path))]

    def _signal_members(self) -> bool:
        """Signal everything that is inside now; whether anything was."""
        found = False
        for path in self.paths:
            for directory in tree(path):
                found |= signal_members(directory)
        return found


def load_device_rules(hierarchies: Hierarchies) -> int | None:
    """What ``create`` can do once for all groups: a descriptor of version 2's device rules; None on version 1. Raises OSError."""
    return None if "devices" in hierarchies.v1 else load_device_program(device_program(DEVICE_RULES))


def create(hierarchies: Hierarchies, path: str, limits: Limits, device_rules: int | None = None) -> Cgroup:
    """Make ``path`` (``parent/id``) where it is needed and set limits and device rules, which may be loaded already.

    An empty group of that name, left by a crash, is made anew. Limits the host cannot set are left out and told in ``warnings``; but
    without device rules there is no container, it could open the host's disks. Raises ValueError for a bad path or limit, OSError
    otherwise, naming the file; then nothing is left behind but the parent.
    """
    if not all(part.strip(".") for part in path.split("/")):
        raise ValueError(f"bad control group path: {path!r}")
    places = {each: place for each in needed(limits) if (place := hierarchies.place(each, path))}
    if "devices" not in places:
        raise OSError(
            errno.EOPNOTSUPP,
            "no control group for device rules: neither version 1's devices nor version 2 is mounted writable",
        )
    made: list[str] = []
    try:
        for place in dict.fromkeys(places.values()):
            _make(hierarchies, place, path, frozenset(places))
            made.append(place)
        for file, value in settings(hierarchies, path, limits):
            write_text(file, value)
        _limit_devices(hierarchies, places["devices"], device_rules)
    except BaseException:
        with contextlib.suppress(OSError):
            Cgroup(tuple(made)).remove()
        raise
    return Cgroup(tuple(made), left_out(hierarchies, limits))


def from_paths(paths: Iterable[str]) -> Cgroup:
    """The same again from ``Cgroup.paths`` written down earlier, for ``kill``, ``oom_kills`` and ``remove``."""
    return Cgroup(tuple(paths))


def remove_parent(hierarchies: Hierarchies, parent: str) -> None:
    """Remove ``parent``, and what it is in up to the mount point, wherever nothing else is inside."""
    for root in {*hierarchies.v1.values(), hierarchies.v2} - {""}:
        below = parent
        with contextlib.suppress(OSError):
            while below:
                os.rmdir(f"{root}/{below}")
                below = os.path.dirname(below)


def _make(hierarchies: Hierarchies, directory: str, path: str, controllers: frozenset[str]) -> None:
    root, parent = directory.removesuffix(f"/{path}"), os.path.dirname(directory)
    if root == hierarchies.v2:
        os.makedirs(parent, exist_ok=True)
        _delegate(root, os.path.dirname(path), controllers & hierarchies.v2_controllers)
    elif root == hierarchies.v1.get("devices"):
        _make_device_parent(parent)
    else:
        os.makedirs(parent, exist_ok=True)
    try:
        os.mkdir(directory)
    except FileExistsError:
        os.rmdir(directory)
        os.mkdir(directory)


def _delegate(root: str, parent: str, controllers: frozenset[str]) -> None:
    """Make controllers available below ``parent``, which all directories above it must do too ("Top-down Constraint")."""
    if controllers <= _enabled(f"{root}/{parent}"):
        return
    for directory in accumulate(parent.split("/"), lambda above, part: f"{above}/{part}", initial=root):
        for controller in sorted(controllers - _enabled(directory)):
            write_text(f"{directory}/cgroup.subtree_control", f"+{controller}")


def _enabled(directory: str) -> set[str]:
    return set(read_text(f"{directory}/cgroup.subtree_control").split())


def _make_device_parent(parent: str) -> None:
    """Make it with the rules, which each new child inherits: that saves a dozen writes per container.

    Made aside and renamed, so that a child born at the same moment sees all the rules or none.
    """
    if os.path.isdir(parent):
        return
    os.makedirs(os.path.dirname(parent), exist_ok=True)
    aside = f"{parent}.{os.getpid()}"
    with contextlib.suppress(FileExistsError):  # of a process of this number that was killed here
        os.mkdir(aside)
    try:
        _write_device_rules(aside)
        os.rename(aside, parent)
    except OSError:
        os.rmdir(aside)
        if not os.path.isdir(parent):
            raise


def _limit_devices(hierarchies: Hierarchies, directory: str, loaded: int | None) -> None:
    rules = load_device_rules(hierarchies) if loaded is None else loaded
    if rules is None:
        if set(read_text(f"{directory}/devices.list").splitlines()) != set(DEVICE_RULES):
            _write_device_rules(directory)
        return
    group = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        attach_device_program(rules, group)
    finally:
        os.close(group)
        if rules != loaded:
            os.close(rules)


def _write_device_rules(directory: str) -> None:
    write_text(f"{directory}/devices.deny", "a")
    for rule in DEVICE_RULES:
        write_text(f"{directory}/devices.allow", rule)
