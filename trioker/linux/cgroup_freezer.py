"""Stopping all of a container at once, for the time its files are read.

Version 2 freezes every group ("cgroup.freeze", admin-guide/cgroup-v2.rst). Version 1 has a tree of its own for it
(admin-guide/cgroup-v1/freezer-subsystem.rst), which containers are not in: each tree makes a start slower. So a group is made there for as
long as it is needed, and the processes are moved in and out again.
"""

import contextlib
import errno
import os
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Self

from trioker.linux.cgroup_files import members, read_text, remove, tree, until, write_text
from trioker.linux.cgroup_layout import Hierarchies, detect, freezer_mount

_WITHIN = 5.0  # seconds; milliseconds are usual, and a process in an uninterruptible call is frozen only behind it


class Freezer(NamedTuple):
    """How this host freezes. Paths are those of ``cgroups.create``."""

    hierarchies: Hierarchies
    mount: str
    """Of version 1's freezer; empty where there is none."""

    @classmethod
    def detect(cls) -> Self:
        """This host's."""
        return cls(detect(), freezer_mount())

    def freeze(self, path: str, timeout: float = _WITHIN) -> None:
        """Freeze the container's group; on return none of its processes runs. A group that has gone is fine.

        Raises OSError, TimeoutError in particular, where that cannot be; then nothing stays frozen.
        """
        group, deadline = self._group(path), time.monotonic() + timeout
        if not os.path.isdir(group):
            return
        freeze = _freeze_unified if self._unified else self._freeze_apart
        try:
            with _may_be_gone():
                if not freeze(group, path, deadline):
                    raise TimeoutError(errno.ETIMEDOUT, f"its processes did not freeze within {timeout:.0f} seconds")
        except OSError:
            self.thaw(path)
            raise

    def thaw(self, path: str, timeout: float = _WITHIN) -> None:
        """Let the container go on, frozen or not, by whomever; nothing of the freezing is left. Raises OSError."""
        if self._unified:
            with _may_be_gone():
                write_text(f"{self._group(path)}/cgroup.freeze", "0")
            return
        apart = f"{self.mount}/{path}"
        if self.mount and os.path.isdir(apart):
            write_text(f"{apart}/freezer.state", "THAWED")
            home = f"{self.mount}{_own_place()}"
            if not until(lambda: _moved(members(apart), home) == 0 and remove(apart), time.monotonic() + timeout):
                raise OSError(errno.EBUSY, "control group still in use", apart)
            with contextlib.suppress(OSError):  # others are in it
                os.rmdir(os.path.dirname(apart))

    @property
    def _unified(self) -> bool:
        return "devices" not in self.hierarchies.v1

    def _group(self, path: str) -> str:
        """A directory that has all of the container's processes."""
        return self.hierarchies.place("devices", path)

    def _freeze_apart(self, group: str, path: str, deadline: float) -> bool:
        if not self.mount:
            raise OSError(errno.EOPNOTSUPP, "this host has no freezer for control groups")
        apart = f"{self.mount}/{path}"
        os.makedirs(apart, exist_ok=True)

        def frozen() -> bool:
            # First the order, then the processes: whoever comes in is frozen at once, so that after a few rounds nobody is left who could fork.
            # The order again in each round: one that was on its way into vfork(2) has missed it, and sleeps there without being frozen.
            write_text(f"{apart}/freezer.state", "FROZEN")
            everyone = {pid for each in tree(group) for pid in members(each)}
            moved = _moved(everyone.difference(members(apart)), apart)
            return not moved and read_text(f"{apart}/freezer.state").strip() == "FROZEN"

        return until(frozen, deadline)


def _freeze_unified(group: str, _path: str, deadline: float) -> bool:
    write_text(f"{group}/cgroup.freeze", "1")
    return until(lambda: "frozen 1" in read_text(f"{group}/cgroup.events"), deadline)


@contextlib.contextmanager
def _may_be_gone() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise


def _moved(pids: Iterable[int], group: str) -> int:
    """Move processes into a group; returns how many there still were.

    A number goes to a stranger only when all others were used up since it was listed; such a stranger, too, is thawed and moved out in the end.
    """
    count = 0
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            write_text(f"{group}/cgroup.procs", str(pid))
            count += 1
    return count


def _own_place() -> str:
    """Where this process is in version 1's freezer, and so were the containers, whose parent it is."""
    for line in read_text("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if "freezer" in controllers.split(","):
            return path.rstrip("/")
    return ""
