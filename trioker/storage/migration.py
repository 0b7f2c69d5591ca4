"""Moving all layers of a store from one driver to another, with no daemon on it.

Both drivers are open side by side, and the old one is only read. Layer by layer, parents first, the new driver makes the layer as an equal of its
parent, a confined helper changes what differs (``launcher.mirror``), and another compares what the old driver and the new one show of it
(``launcher.compare``). What is equal is synced and noted in the journal, from where a later run goes on. One durable rename then makes the new driver
the store's; until then a daemon may open the store as ever, with the old one. So a container's layer that is in the journal is compared again: it
may have run since.
"""

import os
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import attrs
import trio

from trioker.launcher.failure import describe
from trioker.linux.sync import syncfs
from trioker.model.errors import TriokerError
from trioker.model.ids import short_id
from trioker.model.layer import LayerRecord
from trioker.model.progress import Progress
from trioker.storage.discovery import DriverError, DriverInfo, available, find, open_driver, undisputed
from trioker.storage.driver import Driver
from trioker.storage.journal import FRESH, Journal
from trioker.storage.mover import MigrationFailed, Mover, OutOfRoom, Tell, list_keys
from trioker.storage.opening import home_of, locked, record, recorded
from trioker.storage.ports import LayerRecords, Trees
from trioker.storage.remains import remove_directory
from trioker.storage.store import CLOSED_WITHIN
from trioker.storage.threads import work


@attrs.frozen
class Move:
    """What is wanted."""

    to: str
    """Name or alias of the driver."""
    options: Mapping[str, str] = attrs.field(factory=dict)
    """The new driver's."""
    driver_dirs: Sequence[Path] = ()
    keep: bool = False
    """Leave what the old driver keeps where it is."""
    containers: Collection[str] = frozenset()
    """Keys of the layers that were written to as long as a daemon ran."""


async def move_layers(root: Path, records: LayerRecords, trees: Trees, move: Move, tell: Tell) -> str:
    """Do the move, or the rest of one that was cut short; returns what there is to say.

    Asked for the driver that the store has, it removes what an unfinished move, or a finished one, has left. Raises Conflict where a daemon has the
    store open, DriverError where a driver cannot be opened, MigrationFailed.
    """
    with locked(root / "storage"):
        for left in (root / "storage").glob(f"*{FRESH}"):
            left.unlink()
        layers = _parents_first([each for each in records.layers() if each.ready])
        store = _Store(root, layers, available(move.driver_dirs), move, tell)
        new, current = find(move.to, store.drivers), recorded(store.place)
        journal = await store.settle(Journal.find(store.place), current, new.name)
        if not layers:
            return f"There is nothing to move: start the daemon with -s {new.name}"
        if current == new.name:
            return f"The layers are kept by storage driver {current}"
        old = store.find(current)
        journal = await store.move(journal, trees, old, new)
        done = f"{len(journal.finished)} layers moved from {old.name} to {new.name}"
        try:
            await store.finish(journal, old.name)
        except (OSError, TriokerError) as error:
            raise TriokerError(f"{done}, but what {old.name} kept could not be removed: {describe(error)}") from error
        return done


def _parents_first(layers: Iterable[LayerRecord]) -> Sequence[LayerRecord]:
    by_key = {each.key: each for each in layers}
    ordered: dict[str, LayerRecord] = {}
    for each in by_key.values():
        climb: LayerRecord | None = each
        above = []
        while climb and climb.key not in ordered:
            above.append(climb)
            climb = by_key.get(climb.parent)
        ordered.update((one.key, one) for one in reversed(above))
    return tuple(ordered.values())


@attrs.frozen
class _Store:
    """A store, locked."""

    root: Path
    layers: Sequence[LayerRecord]
    """Those that are whole, parents first."""
    drivers: Sequence[DriverInfo]
    """On offer."""
    wanted: Move
    tell: Tell

    @property
    def place(self) -> Path:
        return self.root / "storage"

    def find(self, name: str) -> DriverInfo:
        """A driver nobody has chosen just now. Raises DriverError."""
        return find(name, undisputed(self.drivers))

    async def settle(self, journal: Journal | None, current: str, wanted: str) -> Journal | None:
        """The journal to go on with. One of another move is finished, or called off if the store's driver is still its old one."""
        if journal is None or ((journal.old, journal.new) == (current, wanted) and self.layers):
            return journal
        await self.finish(journal, journal.new if journal.old == current else journal.old)
        return None

    async def move(self, journal: Journal | None, trees: Trees, old: DriverInfo, new: DriverInfo) -> Journal:
        """Copy all layers and make the new driver the store's; the journal that tells so. Nothing is begun where a driver cannot be opened."""
        async with self._opened(old, {}) as source, self._opened(new, self.wanted.options) as target:
            layers = await self._not_lost(source, old.name)
            journal = journal or Journal.begin(self.place, old.name, new.name)
            try:
                await Mover(source, target, journal, self.wanted.containers, trees, self.tell).move(layers)
            except OutOfRoom as error:
                left, told = [each.key for each in layers if each.key not in journal.finished], str(error)
                with suppress(OSError, TriokerError):
                    told += f"\n{await work(_room, source, left, self.place / new.name)}"
                raise OutOfRoom(told) from error
        await work(syncfs, self.place / new.name)
        await work(syncfs, self.root)
        record(self.place, new.name)
        return journal

    async def _not_lost(self, source: Driver, name: str) -> Sequence[LayerRecord]:
        """The layers but for those whose files are gone and that nothing stands on: who lost them can move on with the rest, as the daemon does.

        Raises MigrationFailed where none is left: then their disk is away.
        """
        there = await list_keys(source, [each.key for each in self.layers])
        needed = there | {each.parent for each in self.layers}
        for lost in (each for each in self.layers if each.key not in needed):
            self.tell(Progress("Its files are gone: left out", short_id(lost.key)))
        if not there:
            raise MigrationFailed(
                f"{self.place / name} holds none of the {len(self.layers)} layers: is its disk mounted?"
            )
        return [each for each in self.layers if each.key in needed]

    async def finish(self, journal: Journal, left: str) -> None:
        """Remove what the driver ``left`` keeps, unless it is the old one's and to be kept, and the journal. What was removed before is fine.

        A driver that is here no more, or cannot be opened, keeps nobody from moving on: its directory is removed as files.
        """
        if left == journal.new:
            journal.strike_all()
        if not (self.wanted.keep and left == journal.old):
            async with AsyncExitStack() as stack:
                if driver := await self._try_open(left, stack):
                    await self._discard(driver, left)
            await work(remove_directory, self.place / left)
        journal.end()

    async def _try_open(self, name: str, stack: AsyncExitStack) -> Driver | None:
        try:
            return await stack.enter_async_context(self._opened(self.find(name), {}))
        except DriverError as error:
            self.tell(Progress(f"{error}. Its directory is removed as files, what it has elsewhere is not", name))
            return None

    async def _discard(self, driver: Driver, name: str) -> None:
        """Children first: a driver may refuse to remove what others stand on."""
        known = [each.key for each in reversed(self.layers)]
        keys = [*(await list_keys(driver, ())).difference(known), *known]
        for number, key in enumerate(keys, 1):
            self.tell(Progress(f"{number}/{len(keys)} Removing from {name}", short_id(key)))
            await work(driver.remove, key)

    @asynccontextmanager
    async def _opened(self, info: DriverInfo, options: Mapping[str, str]) -> AsyncGenerator[Driver, None]:
        with home_of(self.place, info.name) as home:
            driver = await work(open_driver, info, home, options, self.wanted.driver_dirs)
            try:
                yield driver
            finally:
                with trio.move_on_after(CLOSED_WITHIN, shield=True):
                    await work(driver.close)


def _room(driver: Driver, keys: Collection[str], home: Path) -> str:
    """What a user must know who is to make room in ``home`` for layers that ``driver`` keeps."""
    found, needed = os.statvfs(home), sum(driver.usage(key).size for key in keys)
    free = "no further file" if found.f_files and not found.f_favail else _megabytes(found.f_bavail * found.f_frsize)
    return (
        f"{home} has room for {free} of {_megabytes(found.f_blocks * found.f_frsize)}; what is still to be moved, {len(keys)} layers, "
        f"takes {_megabytes(needed)} or more: that much they hold where they are"
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
