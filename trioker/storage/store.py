"""Layers: keys, parents and references, kept once for all drivers.

The tree belongs to the driver and the record to the state room; this is where they are kept telling the same story. A record that is not
``ready`` is an intent: it is written before the driver deletes and, unless the driver can list what it has, before it begins. So whatever
instant a daemon died at, ``open`` finds the tree, by its record or for want of one, and clears it away. Only a commit is durable: it answers
when a power cut could not take the layer any more.

In memory an intent is told in the same step as what it depends on is checked, with no await between: a layer being removed gets no new
children, one being made no readers. A lock per key keeps what the driver was promised: never two calls at once for one key, but for those
that only tell where its tree is.
"""

import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Self, TypeVar
from weakref import WeakValueDictionary

import attrs
import trio

from trioker.linux.sync import syncfs
from trioker.model.errors import Conflict, InvalidParameter, NotFound, TriokerError
from trioker.model.ids import new_id, short_id
from trioker.model.layer import LayerRecord, chain_id
from trioker.storage.changes import with_parents
from trioker.storage.driver import Change, Driver, Lists, Mount, Unsupported
from trioker.storage.guard import one_line
from trioker.storage.mountpoints import add_mount_points
from trioker.storage.ports import LayerRecords
from trioker.storage.workers import Workers

T = TypeVar("T")

log = logging.getLogger(__name__)

PROMPT_WITHIN = 30.0
"""Seconds for what a driver is to answer at once: a disk that is busy with something else has to be waited for all the same."""

CLOSED_WITHIN = 3.0
"""Seconds for closing the driver; what it answered for has to outlive a ``kill -9`` anyway."""

WORKERS = 8
"""Threads at once: enough to keep a disk busy, few enough that parallel starts do not fight for the processors."""


@attrs.frozen
class Reconciled:
    """What ``LayerStore.open`` found to do."""

    removed: tuple[str, ...] = ()
    """Keys cleared away: begun and not finished, half-removed, or without a record."""
    missing: tuple[str, ...] = ()
    """Keys whose record is good and whose tree is gone; the records stay, using them fails (but see ``LayerStore.restore``)."""


@attrs.define
class Stage:
    """A layer being made; see ``images.ports.Staging``."""

    key: str
    path: Path
    whiteouts: str
    below: Sequence[Mount]
    _commit: Callable[[str, bool], Awaitable[str]]

    async def commit(self, diff: str, *, durable: bool = True) -> str:
        """Make the layer whole; returns its key, or that of a layer with the same content, which then stands for it.

        ``durable`` answers when it is on the disk for good; without, ``LayerStore.settle`` has yet to see to that, but others may stand on it.
        Raises OSError where the disk failed.
        """
        return await self._commit(diff, durable)


class LayerStore:
    """All layers of one driver. It satisfies both ``engine.ports.Layers`` and ``images.ports.Layers``."""

    def __init__(self, driver: Driver, records: LayerRecords, *, prompt: bool = True) -> None:
        """``prompt``: the driver's ``mounts`` and ``unpack_target`` are known to wait for nothing."""
        self._driver = driver
        self._lists = driver if isinstance(driver, Lists) else None
        self._records = records
        self._prompt = prompt
        self._workers = Workers(WORKERS, getattr(driver, "name", type(driver).__name__))
        self._layers = {record.key: record for record in records.layers()}
        self._children = Counter(record.parent for record in self._layers.values() if record.parent)
        self._held: Counter[str] = Counter()
        self._unsettled: set[str] = set()  # ready, and a power cut could take them
        self._chains = {record.chain: record.key for record in self._layers.values() if record.chain and record.ready}
        self._locks: WeakValueDictionary[str, trio.Lock] = WeakValueDictionary()
        self._gone: set[str] = set()  # ready by their records, and without a tree
        self.reconciled = Reconciled()

    @classmethod
    async def open(cls, driver: Driver, records: LayerRecords) -> Self:
        """The store, after what an earlier daemon left half-done has been cleared away (see ``reconciled``)."""
        store = cls(driver, records)
        await store.reconcile()
        return store

    async def close(self) -> None:
        """Close the driver, unless it is at work, or its calls were abandoned: then it is left so, and ends with the process."""
        if not self._workers.idle:
            log.warning("the storage driver is left as by a kill -9")
            return
        try:
            await self._workers.run(self._driver.close, within=CLOSED_WITHIN)
        except (TriokerError, OSError) as error:
            log.warning("%s", error)

    def abandon_calls(self) -> None:
        """Wait for no call of the driver any longer; those that do raise DriverError. What they had begun is cleared at the next start."""
        self._workers.stop()

    async def create(self, key: str, parent: str) -> None:
        """A new writable layer over an image's.

        Raises NotFound for an unknown parent, Conflict for a key that exists, InvalidParameter where the driver cannot stack so high.
        """
        async with self._lock(key), self._making(key, parent):
            if not parent:
                with trio.CancelScope(shield=True):
                    await self._workers.run(self._add_mount_points, key)
            await self._save_ready(attrs.evolve(self._layers[key], ready=True), durable=False)

    async def restore(self, key: str, parent: str) -> bool:
        """Make a writable layer anew, empty, whose tree is not there (any more); False where it is. Raises as ``create``.

        Where a tree below it is not there either, the disk may be the wrong one: the record stays for the right one, and NotFound is raised.
        """
        if key in self._layers and key not in self._gone:
            return False
        if lost := self._gone.intersection(self.chain(parent)):
            raise NotFound(f"The files of layer {short_id(min(lost))} are gone from the disk")
        await self.remove(key)
        await self.create(key, parent)
        # What is synced in it from now on must never be found without a record.
        await self._records.save_layer(self._layers[key], durable=True)
        return True

    @asynccontextmanager
    async def stage(self, parent: str) -> AsyncGenerator[Stage, None]:
        """Begin a layer over ``parent`` ("" for none); leaving without ``commit`` removes every trace of it. Raises as ``create``."""
        key = new_id()
        async with self._making(key, parent):
            target = await self._promptly(self._driver.unpack_target, key)
            below = await self.mounts(parent, readonly=True) if parent else ()
            yield Stage(key, target.path, target.whiteouts.value, below, partial(self._commit, key))

    async def mounts(self, key: str, *, readonly: bool) -> Sequence[Mount]:
        """The recipes for the layer's tree. Raises NotFound."""
        self._find(key)
        with _lost(key):
            return await self._promptly(partial(self._driver.mounts, readonly=readonly), key)

    async def changes(self, key: str) -> Sequence[Change]:
        """What differs from the parent, and the directories above it (``storage/changes.py``). Raises NotFound."""
        return await self._read(key, self._list_changes)

    async def usage(self, key: str) -> int:
        """Bytes in the layer itself. Raises NotFound."""
        return (await self._read(key, self._driver.usage)).size

    def keys(self) -> frozenset[str]:
        """Every layer that is whole: ready, and its files were there when the store was opened."""
        return frozenset(key for key, record in self._layers.items() if record.ready) - self._gone

    def in_use(self, key: str) -> bool:
        """Whether another layer stands on it."""
        return self._children[key] > 0

    def find(self, chain: str) -> str:
        """Key of the layer with that chain id, "" where there is none, or its files were gone when the store was opened."""
        return self._chains.get(chain, "")

    def chain(self, key: str) -> tuple[str, ...]:
        """The keys from the bottom layer up to ``key``."""
        found = [key] if key else []
        while found and (parent := self._find(found[-1]).parent):
            found.append(parent)
        return tuple(reversed(found))

    def record(self, key: str) -> LayerRecord:
        """What is known of a layer. Raises NotFound."""
        return self._find(key)

    def hold(self, key: str) -> None:
        """Keep a layer from being removed until ``let_go``; counted. Raises NotFound."""
        self._find(key)
        self._held[key] += 1

    def let_go(self, key: str) -> None:
        """Take one ``hold`` back."""
        self._held[key] -= 1

    def held(self, key: str) -> bool:
        """Whether somebody holds it."""
        return self._held[key] > 0

    async def settle(self, keys: Iterable[str]) -> None:
        """Put ready layers, and those they stand on, on the disk for good: one sync for all. Raises OSError, NotFound."""
        chains = (each for key in keys for each in self.chain(key) if each in self._unsettled)
        unsettled = list(dict.fromkeys(chains))  # a build's images stand on each other
        if not unsettled:
            return
        with trio.CancelScope(shield=True):
            await self._workers.run(self._sync, unsettled[-1])
            for key in unsettled:
                await self._records.save_layer(
                    self._find(key), durable=key == unsettled[-1]
                )  # its sync is the others', too
            self._unsettled.difference_update(unsettled)

    async def learn_diff(self, key: str, diff: str) -> None:
        """Note the diff id of a layer that had none, now that it has been packed."""
        record = self._find(key)
        self._layers[key] = record = attrs.evolve(record, diff=diff, chain=self._chain_over(record.parent, diff))
        self._chains.setdefault(record.chain, key)
        await self._records.save_layer(record)

    async def remove(self, key: str) -> None:
        """Delete the layer; an unknown key is no error. Raises Conflict while another layer stands on it, or somebody holds it."""
        if key not in self._layers:
            return
        async with self._lock(key):
            record = self._layers.get(key)
            if record is None:  # another task removed it while we waited
                return
            if self.in_use(key):
                raise Conflict(f"Conflict: {self._children[key]} other layer(s) stand on layer {short_id(key)}")
            if self.held(key):
                raise Conflict(f"Conflict: layer {short_id(key)} is being used")
            self._layers[key] = intent = attrs.evolve(record, ready=False)
            self._forget_chain(record)
            with trio.CancelScope(shield=True):  # a removal is finished once it is begun
                await self._records.save_layer(intent)
                await self._clear(key)

    async def collect(self, keep: Container[str]) -> Sequence[str]:
        """Remove every layer that is not in ``keep`` and that none of those stands on; returns their keys. For start-up."""
        removed: list[str] = []
        while idle := [key for key in self._layers if key not in keep and not self.in_use(key)]:
            for key in idle:
                await self.remove(key)
            removed += idle
        return removed

    @asynccontextmanager
    async def _making(self, key: str, parent: str) -> AsyncGenerator[None, None]:
        """A tree, gone again unless the body made the layer ready. Its intent is on record where the driver could not tell of it."""
        self._expect(key, parent)
        try:
            with trio.CancelScope(shield=True):
                if self._lists is None:
                    await self._records.save_layer(self._layers[key])
                with _lost(parent):
                    await self._workers.run(self._driver.create, key, parent or None)
            yield
        except Unsupported as error:
            raise InvalidParameter(one_line(error)) from error
        finally:
            if key in self._layers and not self._layers[key].ready:
                with trio.CancelScope(shield=True):
                    await self._clear(key)

    def _expect(self, key: str, parent: str) -> None:
        if key in self._layers:
            raise Conflict(f"Conflict: layer {short_id(key)} exists already")
        if parent:
            self._find(parent)
            self._children[parent] += 1
        self._layers[key] = LayerRecord(key, parent, ready=False)

    async def _save_ready(self, record: LayerRecord, *, durable: bool) -> None:
        with trio.CancelScope(shield=True):
            await self._records.save_layer(record, durable=durable)
        self._set_ready(record, settled=durable)

    def _set_ready(self, record: LayerRecord, *, settled: bool) -> None:
        self._layers[record.key] = record
        if not settled:
            self._unsettled.add(record.key)
        if record.chain:
            self._chains.setdefault(record.chain, record.key)

    def _forget_chain(self, record: LayerRecord) -> None:
        if self._chains.get(record.chain) == record.key:
            del self._chains[record.chain]

    def _chain_over(self, parent: str, diff: str) -> str:
        """Nobody knows the chain above a layer that never was a tar: then it is ""."""
        below = self._find(parent).chain if parent else ""
        return chain_id(below, diff) if below or not parent else ""

    async def _commit(self, key: str, diff: str, durable: bool) -> str:
        parent = self._layers[key].parent
        record = LayerRecord(key, parent, ready=True, chain=self._chain_over(parent, diff), diff=diff)
        with trio.CancelScope(shield=True):
            if not parent:
                await self._workers.run(self._add_mount_points, key)
            if durable:
                await self._workers.run(self._sync, key)
            if same := self.find(record.chain):
                return same  # and leaving the stage removes what it made
            if durable:
                await self._save_ready(record, durable=True)
            else:
                self._set_ready(record, settled=False)
        return key

    async def _clear(self, key: str) -> None:
        """Delete a tree that is not ready, or no longer; where that fails, the next start finds it, by its record or its name, and tries again."""
        await self._workers.run(self._driver.remove, key)
        await self._records.delete_layer(key)
        self._children[self._layers.pop(key).parent] -= 1
        self._unsettled.discard(key)
        self._gone.discard(key)

    async def reconcile(self) -> None:
        """Clear away what an earlier daemon left half-done."""
        unfinished = [record.key for record in self._layers.values() if not record.ready]
        for key in unfinished:
            await self._clear(key)
        if self._lists is None:
            self.reconciled = Reconciled(tuple(unfinished))
            return
        present = set(await self._workers.run(self._lists.keys))
        unknown = sorted(present - self._layers.keys())
        for key in unknown:
            await self._workers.run(self._driver.remove, key)
        self._gone = self._layers.keys() - present
        if self._gone:
            whole = (each for each in self._layers.values() if self._gone.isdisjoint(self.chain(each.key)))
            self._chains = {each.chain: each.key for each in whole if each.chain}
        self.reconciled = Reconciled((*unfinished, *unknown), tuple(sorted(self._gone)))

    async def _read(self, key: str, work: Callable[[str], T]) -> T:
        self._find(key)
        async with self._lock(key):
            self._find(key)  # it may have been removed while we waited
            with _lost(key):
                return await self._workers.run(work, key)

    def _list_changes(self, key: str) -> list[Change]:
        found = []
        for change in with_parents(self._driver.changes(key)):
            trio.from_thread.check_cancelled()
            found.append(change)
        return found

    def _add_mount_points(self, key: str) -> None:
        add_mount_points(self._driver.unpack_target(key).path)

    def _sync(self, key: str) -> None:
        syncfs(self._driver.unpack_target(key).path)

    def _find(self, key: str) -> LayerRecord:
        record = self._layers.get(key)
        if record is None or not record.ready:
            raise NotFound(f"No such layer: {short_id(key)}")
        return record

    def _lock(self, key: str) -> trio.Lock:
        return self._locks.setdefault(key, trio.Lock())

    async def _promptly(self, work: Callable[[str], T], key: str) -> T:
        """On the spot where nothing is waited for: a thread costs ten times what is asked for."""
        return work(key) if self._prompt else await self._workers.run(work, key, within=PROMPT_WITHIN)


@contextmanager
def _lost(key: str) -> Iterator[None]:
    """What a driver finds missing is a tree that ``Reconciled.missing`` told of."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"The files of layer {short_id(key)} are gone from the disk: {error.filename}") from error
