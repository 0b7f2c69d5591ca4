"""Moving layers from one open driver to another, each verified and noted before the next."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

import attrs
import trio

from trioker.launcher.failure import describe
from trioker.linux.sync import syncfs
from trioker.linux.syscalls import DISK_FULL
from trioker.model.errors import NoRoom, TriokerError
from trioker.model.ids import short_id
from trioker.model.layer import LayerRecord
from trioker.model.progress import Progress
from trioker.storage.driver import Driver, Kind, Lists, Mount, Unsupported, Whiteouts, bind
from trioker.storage.journal import Journal
from trioker.storage.ports import Trees
from trioker.storage.threads import work

T = TypeVar("T")
Tell = Callable[[Progress], None]

_FILES_CLOCK = 5
"""CLOCK_REALTIME_COARSE of linux/time.h: no file changed from now on gets an earlier time from the kernel, as it might by the finer clock."""

CLEARED_WITHIN = 60.0
"""Seconds for removing the layer that could not be moved; what is left of it the next try removes."""


class MigrationFailed(TriokerError):
    """The layers could not be moved, the text says why; the store is as it was."""


class OutOfRoom(MigrationFailed):
    """There was no room for a layer in the new driver."""


async def list_keys(driver: Driver, otherwise: Iterable[str]) -> set[str]:
    """What the driver says is there; ``otherwise`` where it cannot say."""
    return set(await work(driver.keys) if isinstance(driver, Lists) else otherwise)


@attrs.frozen
class Mover:
    """Both drivers, open."""

    _old: Driver
    _new: Driver
    _journal: Journal
    _containers: Collection[str]
    _trees: Trees
    _tell: Tell

    async def move(self, layers: Sequence[LayerRecord]) -> None:
        """All of them, parents first, but for those that are there already."""
        shows = [_Show(self._tell, each.key, f"{number}/{len(layers)}") for number, each in enumerate(layers, 1)]
        there = await list_keys(self._new, self._journal.finished)
        wanted: set[str] = set()
        for layer, show in zip(layers, shows, strict=True):
            if layer.parent in wanted or layer.key not in there or not await self._is_moved(layer, show):
                wanted.add(layer.key)
        await self._clear(there - {each.key for each in layers})
        await self._clear(each.key for each in reversed(layers) if each.key in wanted)
        for layer, show in zip(layers, shows, strict=True):
            if layer.key in wanted:
                await self._move_one(layer, show)
        await self._check_all_there(layers)

    async def _check_all_there(self, layers: Sequence[LayerRecord]) -> None:
        """Raise MigrationFailed if making one layer has taken another away."""
        there = await list_keys(self._new, [each.key for each in layers])
        lost = [each.key for each in layers if each.key not in there]
        for key in lost:
            self._journal.strike(key)
        if lost:
            raise MigrationFailed(f"layer {short_id(lost[0])} is there no more since others were made")

    async def _clear(self, keys: Iterable[str]) -> None:
        """Remove what is no true copy, children first: a driver may refuse to remove what others stand on."""
        for key in keys:
            self._journal.strike(key)
            await work(self._new.remove, key)

    async def _is_moved(self, layer: LayerRecord, show: "_Show") -> bool:
        """Whether the layer that is there is a true copy, now that a daemon may have had the old one."""
        if layer.key not in self._journal.finished or layer.key not in self._containers:
            return layer.key in self._journal.finished
        with _about(layer):
            touched = await work(self._list_touched, layer)
            return not await self._compare(layer, touched, _now(), show.count("Checking"))

    async def _move_one(self, layer: LayerRecord, show: "_Show") -> None:
        done = False
        try:
            with _about(layer):
                await self._copy(layer, show)
                await work(syncfs, self._new.unpack_target(layer.key).path)
                self._journal.add(layer.key)
            done = True
            show("Moved")
        finally:
            if not done:  # on a full disk, room for the database
                with trio.move_on_after(CLEARED_WITHIN, shield=True), suppress(OSError, TriokerError):
                    await work(self._new.remove, layer.key)

    async def _copy(self, layer: LayerRecord, show: "_Show") -> None:
        """Make the new layer what the old one is. Raises MigrationFailed where they are not equal then.

        Two changes within one tick of the kernel's clock look like one to a driver that compares files by their times; what the old one therefore
        did not tell is found by comparing all contents, the second time.
        """
        begun = _now()
        await work(self._new.create, layer.key, layer.parent or None)
        touched = await work(self._list_touched, layer)
        source, copy = self._old.mounts(layer.key, readonly=True), self._writable(layer.key)
        difference = ""
        for thorough in (False, True):
            await self._trees.mirror(source, copy, touched, show.count("Copying"), thorough=thorough)
            difference = await self._compare(layer, touched, begun, show.count("Verifying"))
            if not difference:
                return
            await self._check_below(layer, show)
        raise MigrationFailed(f"the copy differs at {difference}")

    async def _check_below(self, layer: LayerRecord, show: "_Show") -> None:
        """Raise MigrationFailed if the copy of the layer below is no longer true: who has made this one wrong may have written there."""
        if layer.parent:
            old, new = ([driver.mounts(layer.parent, readonly=True), ()] for driver in (self._old, self._new))
            difference = await self._trees.compare(old, new, (), show.count("Verifying"), since=0)
            if difference:
                self._journal.strike(layer.parent)
                raise MigrationFailed(f"making it has changed the copy of the layer below it at {difference}")

    async def _compare(
        self, layer: LayerRecord, touched: Sequence[str], since: int, tell: Callable[[int], None]
    ) -> str:
        old, new = (
            [driver.mounts(key, readonly=True) if key else () for key in (layer.key, layer.parent)]
            for driver in (self._old, self._new)
        )
        return await self._trees.compare(old, new, touched, tell, since=since)

    def _list_touched(self, layer: LayerRecord) -> Sequence[str]:
        if not layer.parent:
            return ()
        return tuple(change.path for change in self._old.changes(layer.key) if change.kind is not Kind.DELETED)

    def _writable(self, key: str) -> Sequence[Mount]:
        """A layer of an image as it is unpacked into, without the limits that a container's mount may set."""
        if key in self._containers:
            return self._new.mounts(key, readonly=False)
        target = self._new.unpack_target(key)
        if target.whiteouts is not Whiteouts.OVERLAY:
            return bind(str(target.path), readonly=False)
        recipes = self._new.mounts(key, readonly=False)
        self._new.unpack_target(key)  # which takes the limit away
        return recipes


@attrs.frozen
class _Show:
    """Telling of one layer."""

    tell: Tell
    key: str
    place: str

    def __call__(self, word: str, count: int | None = None) -> None:
        self.tell(Progress(f"{self.place} {word}", short_id(self.key), count))

    def count(self, word: str) -> Callable[[int], None]:
        """Takes bytes so far; begins with none."""
        self(word, 0)
        return partial(self, word)


def _now() -> int:
    return time.clock_gettime_ns(_FILES_CLOCK)


@contextmanager
def _about(layer: LayerRecord) -> Iterator[None]:
    """Say which layer a failure is about."""
    try:
        yield
    except (OSError, TriokerError, Unsupported) as error:
        full = isinstance(error, NoRoom) or (isinstance(error, OSError) and error.errno in DISK_FULL)
        kind = OutOfRoom if full else MigrationFailed
        raise kind(f"layer {short_id(layer.key)} could not be moved: {describe(error)}") from error
