"""Moving layers from one open driver to another, each verified and noted before the next."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

import attrs
import trio

from trioker.launcher.failure import describe
from trioker.linux.sync import syncfs
from trioker.model.errors import TriokerError
from trioker.model.ids import short_id
from trioker.model.layer import LayerRecord
from trioker.model.progress import Progress
from trioker.storage.driver import Driver, Kind, Lists, Mount, Unsupported, Whiteouts, bind
from trioker.storage.journal import Journal
from trioker.storage.ports import Trees

T = TypeVar("T")
Tell = Callable[[Progress], None]


class MigrationFailed(TriokerError):
    """The layers could not be moved, the text says why; the store is as it was."""


async def list_keys(driver: Driver) -> set[str]:
    """What the driver says is there; nothing where it cannot say."""
    return set(await work(driver.keys)) if isinstance(driver, Lists) else set()


async def work(call: Callable[..., T], *arguments: object) -> T:
    """Call what blocks, in a thread."""
    return await trio.to_thread.run_sync(call, *arguments)


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
        there = await list_keys(self._new) if isinstance(self._new, Lists) else set(self._journal.finished)
        unknown = there - (self._journal.finished.keys() & {each.key for each in layers})
        for key in unknown:
            await work(self._new.remove, key)
        there -= unknown
        moved: set[str] = set()
        for number, layer in enumerate(layers, 1):
            show = _Show(self._tell, layer.key, f"{number}/{len(layers)}")
            if layer.parent in moved or layer.key not in there or not await self._is_moved(layer, show):
                await self._move_one(layer, show)
                moved.add(layer.key)

    async def _is_moved(self, layer: LayerRecord, show: "_Show") -> bool:
        noted = self._journal.finished.get(layer.key, "")
        if not noted or layer.key not in self._containers:
            return bool(noted)
        with _about(layer):
            return noted == await self._trees.digest(self._old.mounts(layer.key, readonly=True), show.count("Checking"))

    async def _move_one(self, layer: LayerRecord, show: "_Show") -> None:
        done = False
        try:
            with _about(layer):
                await work(self._new.remove, layer.key)
                await work(self._new.create, layer.key, layer.parent or None)
                digest = await self._copy(layer, show)
                await work(syncfs, self._new.unpack_target(layer.key).path)
                self._journal.add(layer.key, digest)
            done = True
            show("Moved")
        finally:
            if not done:  # on a full disk, room for the database
                with trio.CancelScope(shield=True), suppress(OSError):
                    await work(self._new.remove, layer.key)

    async def _copy(self, layer: LayerRecord, show: "_Show") -> str:
        """Make the new layer what the old one is; returns the digest of both. Raises MigrationFailed where they are not equal then."""
        source = self._old.mounts(layer.key, readonly=True)
        touched = await work(self._list_touched, layer)
        await self._trees.mirror(source, self._writable(layer.key), touched, show.count("Copying"))
        old = await self._trees.digest(source, show.count("Verifying"))
        new = await self._trees.digest(self._new.mounts(layer.key, readonly=True), show.count("Verifying"))
        if old != new:
            raise MigrationFailed(f"the copy differs: {new} instead of {old}")
        return old

    def _list_touched(self, layer: LayerRecord) -> Sequence[str]:
        if not layer.parent:
            return ()
        return tuple(change.path for change in self._old.changes(layer.key) if change.kind is not Kind.DELETED)

    def _writable(self, key: str) -> Sequence[Mount]:
        """A layer of an image as it is unpacked into, without the limits that a container's mount may set."""
        target = self._new.unpack_target(key)
        if key in self._containers or target.whiteouts is Whiteouts.OVERLAY:
            return self._new.mounts(key, readonly=False)
        return bind(str(target.path), readonly=False)


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


@contextmanager
def _about(layer: LayerRecord) -> Iterator[None]:
    """Say which layer a failure is about."""
    try:
        yield
    except (OSError, TriokerError, Unsupported) as error:
        raise MigrationFailed(f"layer {short_id(layer.key)} could not be moved: {describe(error)}") from error
