"""A real daemon on private places, for tests that see only its outside. Needs root."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from api_client import Api
from host_state import is_alive, parent_of
from polling import PATIENCE, wait_until

STOPS_WITHIN = PATIENCE / 4


class Daemon:
    """One set of places (root, exec root, Unix socket, loopback port, log) and the daemon that runs on them, again and again if wanted.

    It runs from a copy of the file in its own directory: so each of its processes, the launcher's too, shows ``directory`` in its command line.
    ``prefix`` is a command that ends by executing the daemon's, for example in a mount namespace of its own. Containers have no network, so
    that the machine's own stays as it is; ``-b`` among the flags is for those who have put themselves into a network namespace.
    """

    def __init__(self, pyz: Path, directory: Path, *flags: str, prefix: Sequence[str] = ()) -> None:
        self.directory = directory
        self.root, self.exec_root = directory / "root", directory / "exec"
        self.socket, self.log = directory / "trioker.sock", directory / "daemon.log"
        self.port = free_port()
        self.api = Api(str(self.socket))
        self.tcp = Api(("127.0.0.1", self.port), made=self.api.made)
        self.flags, self.prefix = flags, prefix
        self._file = directory / "trioker.pyz"
        self._process: subprocess.Popen[bytes] | None = None
        shutil.copy(pyz, self._file)

    @property
    def pid(self) -> int:
        """Of the daemon that runs."""
        return self._running.pid

    @property
    def _running(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, "no daemon was started"
        return self._process

    @property
    def command(self) -> list[str]:
        return [
            *self.prefix, sys.executable, str(self._file), "-d", "-H", f"unix://{self.socket}", "-H", f"tcp://127.0.0.1:{self.port}",
            "-g", str(self.root), "--exec-root", str(self.exec_root), "-b", "none", *self.flags,
        ]  # fmt: skip

    def start(self) -> None:
        """Start it; returns when it answers on both sockets."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self._answers, "an answer of the daemon")

    def _answers(self) -> bool:
        status = self._running.poll()
        assert status is None, f"the daemon ended with status {status}:\n{self.log_text()}"
        with contextlib.suppress(OSError):
            return self.api.call("GET", "/version").status == self.tcp.call("GET", "/version").status == 200
        return False

    def stop(self) -> int:
        """End it as a service manager does; its exit status."""
        self._running.send_signal(signal.SIGTERM)
        return self._running.wait(STOPS_WITHIN)

    def kill(self) -> None:
        """``kill -9``."""
        self._running.kill()
        self._running.wait(STOPS_WITHIN)

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None


@contextlib.contextmanager
def running_daemon(pyz: Path, directory: Path, *flags: str, prefix: Sequence[str] = ()) -> Iterator[Daemon]:
    """A daemon for the length of a with-block; after it nothing but its root and log is left, which is asserted when the block ended well."""
    daemon = Daemon(pyz, directory, *flags, prefix=prefix)
    try:
        daemon.start()
        yield daemon
        ids = remove_all(daemon.api) | daemon.api.made
        assert daemon.stop() == 0, daemon.log_text()
    except BaseException:
        sys.stderr.write(daemon.log_text())
        end_by_force(daemon)
        raise
    assert not (left := traces(daemon, ids)), left


def end_by_force(daemon: Daemon) -> None:
    """Leave nothing running of a daemon that a test has failed with; containers die with their monitors."""
    if daemon.alive:
        with contextlib.suppress(OSError, AssertionError):
            remove_all(daemon.api)
        daemon.kill()
    for pid in processes(daemon):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def remove_all(api: Api) -> set[str]:
    """Remove every container; their full ids."""
    ids = {row["Id"] for row in api.ok("GET", "/containers/json?all=1")}
    for each in ids:
        api.remove(each)
    return ids


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def processes(daemon: Daemon) -> dict[int, str]:
    """Pid to name of the daemon, its launcher and its monitors; container's own processes are not among them."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.fsencode(daemon.directory) in (path / "cmdline").read_bytes():
                found[int(path.name)] = (path / "comm").read_text().strip()
    return found


def launcher_of(daemon: Daemon) -> int:
    """The launcher's pid, once there is one: it is the daemon's only child."""

    def find() -> int | None:
        return next((pid for pid in processes(daemon) if parent_of(pid) == daemon.pid and is_alive(pid)), None)

    return wait_until(find, "a launcher below the daemon")


def control_groups(ids: Iterable[str]) -> list[str]:
    """The control groups that name one of these containers."""
    wanted = set(ids)
    tops = [Path(top) for top in ("/sys/fs/cgroup", *map(str, Path("/sys/fs/cgroup").glob("*")))]
    return [str(path) for top in tops for path in top.glob("trioker*/*") if any(each in path.name for each in wanted)]


def mounts(daemon: Daemon) -> list[str]:
    """The host's mounts below the daemon's directory."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if str(daemon.directory) in line]


def traces(daemon: Daemon, ids: Iterable[str]) -> list[str]:
    """What is left on the host of a daemon that has stopped, and of containers it had, but for what its root must keep."""
    kept = {daemon.root, daemon.log, daemon._file}
    files = [str(path) for path in daemon.directory.iterdir() if path not in kept]
    named = [str(path) for path in daemon.root.rglob("*") if any(each in path.name for each in ids)]
    return [
        *(f"process {pid} {name}" for pid, name in processes(daemon).items()),
        *(f"mount {line}" for line in mounts(daemon)),
        *(f"control group {path}" for path in control_groups(ids)),
        *(f"file {path}" for path in files + named),
    ]
