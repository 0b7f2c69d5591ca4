"""``trioker.pyz migrate``: all layers of a store to another storage driver. Composes what it needs of the rooms, as the daemon does."""

import contextlib
import logging
import os
import re
import signal
from collections.abc import AsyncIterable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import trio

from trioker.launcher.failure import describe
from trioker.model.errors import TriokerError
from trioker.model.ids import short_id
from trioker.model.options import MigrateOptions
from trioker.runtime.runtime import Runtime
from trioker.runtime.spec import Place
from trioker.runtime.zygote import Zygote
from trioker.service import STOP_SIGNALS, StartError, leaves, locked
from trioker.state.database import open_database
from trioker.storage.migration import Move, move_layers
from trioker.storage.mover import MigrationFailed, Tell
from trioker.storage.opening import recorded

_ID = re.compile(r"[0-9a-f]{64}")
_HELP = "The store is as it was, and works on with its driver. The same command goes on from here; --to its driver removes what was copied."


class Refused(TriokerError):
    """A migration that cannot begin; the text says what to do about it."""


class Outcome(NamedTuple):
    """How it ended."""

    status: int
    """For the shell: 0 for done, 1 for failed, and 128 with the number of the signal that has interrupted it."""
    text: str
    """What to tell the user, one line for each thing."""


def main(options: MigrateOptions, tell: Tell) -> Outcome:
    """Migrate until done or told to stop."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    failures: list[Exception] = []
    try:
        return trio.run(_run, options, tell)
    except* (StartError, TriokerError, OSError) as group:
        failures = list(leaves(group))
    lines = [describe(each) for each in failures]
    if any(isinstance(each, MigrationFailed) for each in failures):
        lines.append(_HELP)
    return Outcome(1, "\n".join(lines))


async def _run(options: MigrateOptions, tell: Tell) -> Outcome:
    if os.geteuid() != 0:
        raise Refused("trioker mounts the layers to read them: run it as root")
    if not (options.root / "state.db").is_file():
        raise Refused(f"there is no store in {options.root}")
    with trio.open_signal_receiver(*STOP_SIGNALS) as signals, locked(options.root):
        async with trio.open_nursery() as nursery:
            before = recorded(options.root / "storage")
            interrupted = await nursery.start(_watch, signals, nursery.cancel_scope)
            said = await _migrate(options, tell)
            nursery.cancel_scope.cancel()
    if interrupted:
        name, now = signal.Signals(interrupted[0]).name, recorded(options.root / "storage")
        done = f"All layers are kept by {now}; the same command removes what {before} has left."
        return Outcome(128 + interrupted[0], f"Interrupted by {name}. {_HELP if now == before else done}")
    return Outcome(0, said)


async def _watch(
    signals: AsyncIterable[int], scope: trio.CancelScope, task_status: trio.TaskStatus[Sequence[int]]
) -> None:
    """Stop all on a signal; the list that is told of from the start then holds its number."""
    received: list[int] = []
    task_status.started(received)
    async for number in signals:
        received.append(number)
        scope.cancel()


async def _migrate(options: MigrateOptions, tell: Tell) -> str:
    async with open_database(options.root / "state.db") as database:
        containers = frozenset(each.id for each in database.containers())
        if running := _running(containers):
            names = ", ".join(map(short_id, sorted(running)))
            raise Refused(f"running containers cannot be moved: {names}. Start the daemon, stop them, stop the daemon")
        with _mount_point(options.root / "storage") as mount_point:
            async with trio.open_nursery() as nursery:
                zygote = Zygote()
                await nursery.start(zygote.supervise)
                runtime = Runtime(zygote, Place("", mount_point, "trioker", {}))
                move = Move(options.to, dict(options.storage_options), options.driver_dirs, options.keep, containers)
                said = await move_layers(options.root, database, runtime, move, tell)
                nursery.cancel_scope.cancel()
    return said


def _running(containers: Collection[str]) -> set[str]:
    """Those that have processes, told by the control groups every process is in: whatever the records say, and wherever the exec root is."""
    found: set[str] = set()
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found.update(_ID.findall(path.read_text(encoding="utf-8", errors="replace")))
    return found & set(containers)


@contextlib.contextmanager
def _mount_point(place: Path) -> Iterator[str]:
    """An empty directory that only the helpers' own mount namespaces have something on."""
    directory = place / "view"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        yield str(directory)
    finally:
        directory.rmdir()
