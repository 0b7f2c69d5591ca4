"""What a launch leaves on the host: control groups, log, socket, records. Made by init while it still sees the host's files.

``Launch`` also knows what to tell the monitor: the *greeting*, which is the ``started`` event as the daemon will get it, and the *heritage*,
what the monitor needs for the rest of the container's life; or instead of them how the launch failed, with what is to be undone.
"""

import os
import time
from typing import NamedTuple, Self

from trioker.launcher import link, wire
from trioker.launcher.failure import Failed, stage
from trioker.launcher.logfile import LogWriter
from trioker.launcher.records import SOCKET, record_running
from trioker.launcher.spec import LaunchSpec
from trioker.launcher.wire import Message
from trioker.linux import cgroups, pidfd


class Heritage(NamedTuple):
    """What a monitor knows of its container."""

    run_dir: str
    log: tuple[str, int, int]
    """Directory, bytes per file, files."""
    cgroups: list[str]
    attached: bool
    failed: Message | None = None

    @classmethod
    def from_message(cls, message: Message) -> Self:
        """What ``_asdict`` was sent as."""
        return cls(**message)


class Launch:
    """A launch under way, on the host's side. Belongs into init, or into its parent where init shall be born in its control group."""

    def __init__(self, spec: LaunchSpec, report: int, output: int | None = None) -> None:
        self.spec = spec
        self.output = output
        """Where the container's output goes instead of to the monitor."""
        self.warnings: list[str] = []
        self._cgroup = cgroups.Cgroup(())
        self._fds = {"report": report}

    def make_cgroup(self, hierarchies: cgroups.Hierarchies, device_rules: int | None) -> int | None:
        """Make the control groups, as ``cgroups.create``; returns a descriptor of the version 2 directory, if there is one. Raises Failed."""
        spec = self.spec
        with stage("cgroup"):
            limits = cgroups.Limits(spec.memory, spec.memory_swap, spec.cpu_shares, spec.pids_limit)
            self._cgroup = cgroups.create(hierarchies, f"{spec.cgroup_parent}/{spec.id}", limits, device_rules)
            self.warnings += self._cgroup.warnings
            return self._cgroup.directory_fd()

    def enter_cgroup(self, *, born_inside: bool) -> None:
        """Move this process, init, into them. Raises Failed."""
        with stage("cgroup"):
            self._cgroup.enter_self(cloned_into=born_inside)

    def write_down(self) -> None:
        """Prepare the log, let later daemons connect, and record that this process, init, runs. Raises Failed."""
        with stage("log"):
            LogWriter(*self._log).close()
        with stage("monitor"):
            os.chdir(self.spec.run_dir)
            self._fds["pidfd"] = os.pidfd_open(os.getpid())
            self._fds["listener"] = link.listen(SOCKET).detach()
            # The host's /proc, still to be seen: there "self" is the number the host knows us by. Here we are number 1.
            self._pid = int(os.readlink("/proc/self"))
            record_running(self._pid, pidfd.process_start_time(self._pid), self._cgroup.paths)

    def hand_over(self, monitor: wire.Socket, streams: dict[str, int]) -> None:
        """Give the container to its monitor; what is sent is valid once the command runs, which the monitor sees by our end closing."""
        fds = self._fds | streams
        greeting = {"pidfd": fds.pop("pidfd")}
        if (stdin := streams.get("terminal", fds.pop("stdin", None))) is not None:
            greeting["stdin"] = stdin
        started = {"event": "started", "pid": self._pid, "started_ns": time.time_ns(), "tty": self.spec.tty}
        wire.send(monitor, self._heritage()._asdict(), fds)
        wire.send(monitor, {**started, "warnings": self.warnings}, greeting)

    def give_up(self, monitor: wire.Socket, failed: Failed) -> None:
        """Have the monitor undo the launch and tell the daemon."""
        fds = {name: fd for name, fd in self._fds.items() if name != "listener"}
        wire.send(monitor, self._heritage()._replace(failed=failed.to_message())._asdict(), fds)

    def _heritage(self) -> Heritage:
        return Heritage(self.spec.run_dir, self._log, list(self._cgroup.paths), self.spec.attached)

    @property
    def _log(self) -> tuple[str, int, int]:
        return self.spec.log_dir, self.spec.log_size, self.spec.log_files
