"""The daemon as a Unix process: its log, locks, limits, pid file, signals, and its word to systemd."""

import contextlib
import fcntl
import json
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from pathlib import Path

import attrs
import trio

from trioker.launcher.failure import describe
from trioker.launcher.lockdown import lesser_limit
from trioker.linux import capabilities, cgroups
from trioker.model.options import Rlimit

log = logging.getLogger("trioker")

_OOM_SCORE_FILE = Path("/proc/self/oom_score_adj")
_OOM_SCORE = -500  # dockerd's: as if it had half of the host's memory less than it has


class StartError(Exception):
    """The daemon cannot start; the text is for the user."""


def leaves(group: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    """The failures themselves, out of all groups in the group."""
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from leaves(each)
        else:
            yield each


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, room, message, and the traceback if there is one."""
        entry = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def configure_logging(*, debug: bool, as_json: bool) -> None:
    """Everything goes to standard error, as a service's log should: by a descriptor that a storage driver cannot close with its ``sys.stderr``."""
    stream = os.fdopen(os.dup(2), "w", 1, errors="backslashreplace") if sys.stderr else None
    handler = logging.StreamHandler(stream)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S%z")
    handler.setFormatter(JsonFormatter() if as_json else text)
    logging.basicConfig(level=logging.DEBUG if debug else logging.INFO, handlers=[handler], force=True)


def make_directory(path: Path, mode: int) -> None:
    """With those above it, unless it is there. Raises StartError."""
    try:
        path.mkdir(mode, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"nothing can be kept in {path}: {error.strerror}") from error


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a directory for this process alone. Raises StartError when another daemon has it."""
    fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(f"another trioker daemon is running on {directory}") from None
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def pid_file(path: Path | None) -> Iterator[None]:
    """Our process id in a file while we run."""
    if path is None:
        yield
        return
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StartError(f"the pid file {path} cannot be written: {error.strerror}") from None
    with open(fd, "w", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def raise_open_files_limit() -> dict[str, list[int]]:
    """Take all descriptors we may have; returns the limit we were started with, which containers get as they inherit all others."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return {"nofile": [soft, hard]}


def possible_rlimits(wanted: Iterable[Rlimit]) -> dict[str, list[int]]:
    """The limits for containers by name, cut to what we may give; what was cut is told in the log, once for all containers."""
    can_raise = "SYS_RESOURCE" in capabilities.current()
    possible = {}
    for name, soft, hard in map(attrs.astuple, wanted):
        most = (
            resource.RLIM_INFINITY if can_raise else resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[1]
        )
        possible[name] = [lesser_limit(soft, most), lesser_limit(hard, most)]
        if possible[name] != [soft, hard]:
            log.warning(
                "--default-ulimit %s: cut to %d, as the daemon lacks CAP_SYS_RESOURCE to raise its own", name, most
            )
    return possible


def check_control_groups() -> None:
    """Raises StartError where no container could have control groups: better said now than at each start."""
    if why := cgroups.obstacle(cgroups.detect()):
        raise StartError(why)


def protect_from_memory_shortage() -> None:
    """Have the kernel end others before us when the host runs out of memory. The launcher and monitors inherit it, containers give it up."""
    try:
        score = int(_OOM_SCORE_FILE.read_text(encoding="ascii"))
        _OOM_SCORE_FILE.write_text(f"{min(score, _OOM_SCORE)}\n", encoding="ascii")
    except OSError as error:
        log.info("the daemon is ended as soon as others where the host runs out of memory: %s", describe(error))


def notify(state: str) -> None:
    """Tell systemd (sd_notify(3)), if it started us."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock, contextlib.suppress(OSError):
        sock.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)


STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Those the daemon receives; from the very beginning, so that none of them ends it by default half-way."""


async def wait_for_stop(signals: AsyncIterable[int]) -> None:
    """Until SIGTERM or SIGINT. SIGHUP changes nothing: there is nothing to read again."""
    async for number in signals:
        if number != signal.SIGHUP:
            log.info("%s: stopping; containers run on", signal.Signals(number).name)
            return
        log.info("SIGHUP: nothing to re-read")


STOPS_WITHIN = 5.0
"""Seconds for the orderly end: handlers have one of them to answer, and nothing else waits for anybody but the disk."""


class Stop:
    """The daemon's end. A signal ends what is being opened at once; while the daemon serves, it is for ``wait`` to see to an orderly end.

    What has not ended in time, because something hangs, is left as by a ``kill -9``: after all that is ``last``, ``scope`` is cancelled.
    """

    def __init__(self, scope: trio.CancelScope) -> None:
        self._scope = scope
        self._serving = False
        self._asked = trio.Event()
        self.last: list[Callable[[], None]] = []

    async def listen(self, signals: AsyncIterable[int]) -> None:
        """Until a signal, and what it brings about."""
        await wait_for_stop(signals)
        self._asked.set()
        if self._serving:
            await trio.sleep(STOPS_WITHIN)
            log.warning("not at the end after %g seconds: what is under way is left as it is", STOPS_WITHIN)
        for each in self.last:
            each()
        self._scope.cancel()

    async def wait(self) -> None:
        """From when the daemon serves until it is told to stop."""
        self._serving = True
        await self._asked.wait()
