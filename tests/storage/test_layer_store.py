import os
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest
import trio
from polling import wait_until

from trioker.linux.trees import remove_tree
from trioker.model.errors import Conflict, InvalidParameter, NotFound
from trioker.model.layer import LayerRecord, chain_id
from trioker.storage.driver import Change, Kind, Mount, UnpackTarget, Unsupported, Usage, Whiteouts
from trioker.storage.guard import DriverError, guard
from trioker.storage.store import LayerStore, Reconciled

BASE, TOP, OTHER = "a" * 64, "b" * 64, "c" * 64


class Records:
    """Layer records in memory, with a journal of what was written."""

    def __init__(self, *records: LayerRecord) -> None:
        self.rows = {record.key: record for record in records}
        self.journal: list[tuple[object, ...]] = []
        self.failure: Exception | None = None
        """Raised by the next writing."""

    def layers(self):
        return tuple(self.rows.values())

    async def save_layer(self, record, *, durable=False):
        await trio.lowlevel.checkpoint()
        if self.failure:
            raise self.failure
        self.journal.append(("save", record.key, record.ready, durable))
        self.rows[record.key] = record

    async def delete_layer(self, key):
        await trio.lowlevel.checkpoint()
        self.journal.append(("delete", key))
        self.rows.pop(key, None)


class Driver:
    """Plain directories; ``failing`` names methods that raise what it holds; calls go into the records' journal."""

    def __init__(self, root: Path, journal: list[tuple[object, ...]]) -> None:
        self.root, self.journal = root, journal
        self.failing: dict[str, Exception] = {}
        self.working: set[str] = set()
        self.entered, self.gate = Event(), Event()
        self.gate.set()

    @contextmanager
    def call(self, name, key):
        assert key not in self.working, "two calls at once for one key"
        self.working.add(key)
        try:
            self.journal.append((name, key))
            self.entered.set()
            assert self.gate.wait(5)
            if name in self.failing:
                raise self.failing[name]
            yield
        finally:
            self.working.discard(key)

    def create(self, key, _parent):
        with self.call("create", key):
            (self.root / key).mkdir()

    def mounts(self, key, *, readonly):
        return [Mount(str(self.root / key), "none", int(readonly))]

    def unpack_target(self, key):
        return UnpackTarget(self.root / key, Whiteouts.OVERLAY)

    def changes(self, key):
        with self.call("changes", key):
            files = sorted(each for each in (self.root / key).rglob("*") if each.is_file())
            yield from (Change(f"/{each.relative_to(self.root / key)}", Kind.ADDED) for each in files)

    def usage(self, key):
        with self.call("usage", key):
            return Usage(7, 1)

    def remove(self, key):
        with self.call("remove", key):
            remove_tree(self.root / key)

    def close(self):
        self.journal.append(("close",))


class ListingDriver(Driver):
    def keys(self):
        return os.listdir(self.root)


def ready(key: str, parent: str = "") -> LayerRecord:
    return LayerRecord(key, parent, ready=True)


@pytest.fixture
def records():
    return Records(ready(BASE))


@pytest.fixture
def driver(tmp_path, records):
    (tmp_path / BASE).mkdir()
    return ListingDriver(tmp_path, records.journal)


@pytest.fixture
async def store(driver, records):
    return await LayerStore.open(driver, records)


async def test_a_container_layer_is_made_and_then_ready(store, records):
    await store.create(TOP, BASE)
    assert records.journal == [("create", TOP), ("save", TOP, True, False)]
    assert store.in_use(BASE)
    assert [mount.flags for mount in await store.mounts(TOP, readonly=True)] == [1]


async def test_what_is_being_made_is_on_record_where_the_driver_could_not_tell_of_it(tmp_path, records):
    store = await LayerStore.open(Driver(tmp_path, records.journal), records)
    await store.create(TOP, BASE)
    assert records.journal == [("save", TOP, False, False), ("create", TOP), ("save", TOP, True, False)]


async def test_a_layer_over_an_unknown_one_is_refused(store, records):
    with pytest.raises(NotFound, match="No such layer: cccccccccccc"):
        await store.create(TOP, OTHER)
    assert records.journal == []
    assert not store.in_use(OTHER)


async def test_a_key_is_taken_once(store):
    await store.create(TOP, BASE)
    with pytest.raises(Conflict):
        await store.create(TOP, BASE)
    assert await store.usage(TOP) == 7


async def test_a_failed_creation_leaves_nothing(store, records, driver):
    driver.failing["create"] = OSError("disk full")
    with pytest.raises(OSError, match="disk full"):
        await store.create(TOP, BASE)
    assert records.layers() == (ready(BASE),)
    assert not store.in_use(BASE)
    with pytest.raises(NotFound):
        await store.mounts(TOP, readonly=False)


async def test_a_chain_the_driver_cannot_stack_is_the_caller_s_mistake(store, driver):
    driver.failing["create"] = Unsupported("300 layers\x1b[31m are too many\nfor me")
    with pytest.raises(InvalidParameter, match=r"^300 layers\?\[31m are too many$"):
        await store.create(TOP, BASE)


async def test_a_layer_with_children_cannot_be_removed(store):
    await store.create(TOP, BASE)
    with pytest.raises(Conflict):
        await store.remove(BASE)
    await store.remove(TOP)
    await store.remove(BASE)
    with pytest.raises(NotFound):
        await store.create(OTHER, BASE)


async def test_a_removal_is_intended_done_and_forgotten(store, records, tmp_path):
    await store.remove(BASE)
    assert records.journal == [("save", BASE, False, False), ("remove", BASE), ("delete", BASE)]
    assert os.listdir(tmp_path) == []


async def test_removing_the_unknown_is_no_error(store, records):
    await store.remove(OTHER)
    assert records.journal == []


async def test_two_removals_at_once_are_one(store, records):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.remove, BASE)
        nursery.start_soon(store.remove, BASE)
    assert records.journal.count(("remove", BASE)) == 1


async def test_a_failed_removal_keeps_its_intent_and_can_be_tried_again(store, records, driver):
    driver.failing["remove"] = OSError("busy")
    with pytest.raises(OSError, match="busy"):
        await store.remove(BASE)
    assert records.rows[BASE].ready is False
    with pytest.raises(NotFound):
        await store.usage(BASE)
    driver.failing.clear()
    await store.remove(BASE)
    assert records.layers() == ()


async def test_a_layer_being_removed_gets_no_children_and_no_readers(store, driver):
    driver.gate.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.remove, BASE)
        await trio.to_thread.run_sync(driver.entered.wait, 5)
        with pytest.raises(NotFound):
            await store.create(TOP, BASE)
        with pytest.raises(NotFound):
            await store.changes(BASE)
        driver.gate.set()


async def test_a_reader_is_waited_for_before_the_tree_goes(store, records, driver):
    driver.gate.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.usage, BASE)
        await trio.to_thread.run_sync(driver.entered.wait, 5)
        nursery.start_soon(store.remove, BASE)
        driver.gate.set()
    assert records.journal[0] == ("usage", BASE)
    assert records.layers() == ()


async def test_a_stranger_that_hangs_where_it_must_answer_at_once_stops_nobody_else(driver, records, monkeypatch):
    monkeypatch.setattr("trioker.storage.store.PROMPT_WITHIN", 0.05)
    store = LayerStore(driver, records, prompt=False)
    hang = Event()
    driver.mounts = lambda _key, *, readonly: hang.wait(60) and readonly
    try:
        with pytest.raises(DriverError, match=r"has not come back from <lambda>\(\) within 0\.05 seconds"):
            await store.mounts(BASE, readonly=True)
    finally:
        hang.set()


async def test_a_creation_that_never_comes_back_stays_for_the_next_start(records, tmp_path):
    (tmp_path / BASE).mkdir()
    driver = ListingDriver(tmp_path, records.journal)
    store = LayerStore(guard("mine", driver, tmp_path, ours=True), records)
    driver.gate.clear()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_refused, store)
            await trio.to_thread.run_sync(driver.entered.wait, 20)
            store.abandon_calls()
    finally:
        driver.gate.set()
    await trio.to_thread.run_sync(wait_until, lambda: not driver.working, "the end of the call that was left")
    assert (await LayerStore.open(driver, records)).keys() == {BASE}


async def _refused(store):
    with pytest.raises(DriverError, match=r"'mine' has not come back from \w+\(\) when the daemon stopped"):
        await store.create(TOP, BASE)


async def test_a_cancelled_creation_is_undone(store, records, driver, tmp_path):
    driver.gate.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.create, TOP, BASE)
        await trio.to_thread.run_sync(driver.entered.wait, 5)
        nursery.cancel_scope.cancel()
        driver.gate.set()
    left = {record.key for record in records.layers()}
    assert left == set(os.listdir(tmp_path))
    assert all(record.ready for record in records.layers())


async def test_a_cancelled_removal_is_finished(store, records, driver, tmp_path):
    driver.gate.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.remove, BASE)
        await trio.to_thread.run_sync(driver.entered.wait, 5)
        nursery.cancel_scope.cancel()
        driver.gate.set()
    assert records.layers() == ()
    assert os.listdir(tmp_path) == []


async def test_changes_are_what_the_driver_says_and_the_directories_above(store, tmp_path):
    (tmp_path / BASE / "dir").mkdir()
    (tmp_path / BASE / "dir/file").touch()
    assert await store.changes(BASE) == [Change("/dir", Kind.MODIFIED), Change("/dir/file", Kind.ADDED)]


class TestAStage:
    async def test_committed_is_ready_for_good(self, store, records):
        async with store.stage(BASE) as stage:
            assert stage.whiteouts == "overlay"
            assert stage.path.is_dir()
            assert await stage.commit("sha256:d") == stage.key
        assert records.journal[-1] == ("save", stage.key, True, True)
        assert os.listdir(stage.path) == []
        assert store.in_use(BASE)

    async def test_of_a_bottom_layer_gets_the_places_containers_need(self, store):
        async with store.stage("") as stage:
            await stage.commit("sha256:d")
        assert sorted(os.listdir(stage.path)) == ["dev", "etc", "proc", "sys"]

    async def test_left_without_commit_leaves_no_trace(self, store, records):
        async with store.stage(BASE) as stage:
            (stage.path / "file").touch()
        assert not stage.path.exists()
        assert records.layers() == (ready(BASE),)
        assert not store.in_use(BASE)

    async def test_that_fails_leaves_no_trace_and_lets_the_failure_through(self, store, records):
        with pytest.raises(ValueError, match="bad tar"):
            async with store.stage(""):
                raise ValueError("bad tar")
        assert records.layers() == (ready(BASE),)

    async def test_that_is_cancelled_leaves_no_trace(self, store, records, tmp_path):
        with trio.move_on_after(0) as scope:
            async with store.stage(""):
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert records.layers() == (ready(BASE),)
        assert os.listdir(tmp_path) == [BASE]

    async def test_is_nobody_s_parent_before_its_commit(self, store):
        async with store.stage(BASE) as stage:
            with pytest.raises(NotFound):
                await store.create(TOP, stage.key)
            assert store.keys() == {BASE}
            await stage.commit("sha256:d")
            assert store.keys() == {BASE, stage.key}
            await store.create(TOP, stage.key)
        assert store.in_use(stage.key)

    async def test_whose_row_cannot_be_written_leaves_no_tree(self, store, records, tmp_path):
        async def commit() -> None:
            async with store.stage("") as stage:
                records.failure = OSError("disk full")
                await stage.commit("sha256:d")

        with pytest.raises(OSError, match="disk full"):
            await commit()
        assert os.listdir(tmp_path) == [BASE]

    async def test_can_be_removed_inside_its_context(self, store, records):
        async with store.stage("") as stage:
            await stage.commit("sha256:d")
            await store.remove(stage.key)
        assert records.layers() == (ready(BASE),)


class TestOpening:
    async def test_what_was_begun_and_not_finished_is_cleared_away(self, tmp_path):
        records = Records(ready(BASE), LayerRecord(TOP, BASE, ready=False))
        for key in (BASE, TOP):
            (tmp_path / key).mkdir()
        store = await LayerStore.open(Driver(tmp_path, records.journal), records)
        assert store.reconciled == Reconciled(removed=(TOP,))
        assert records.layers() == (ready(BASE),)
        assert os.listdir(tmp_path) == [BASE]
        assert not store.in_use(BASE)

    async def test_a_tree_without_a_record_is_removed_if_the_driver_can_list(self, tmp_path):
        records = Records(ready(BASE))
        for key in (BASE, OTHER):
            (tmp_path / key).mkdir()
        store = await LayerStore.open(ListingDriver(tmp_path, records.journal), records)
        assert store.reconciled == Reconciled(removed=(OTHER,))
        assert os.listdir(tmp_path) == [BASE]

    async def test_a_record_without_a_tree_is_told_and_kept(self, tmp_path):
        records = Records(ready(BASE))
        store = await LayerStore.open(ListingDriver(tmp_path, records.journal), records)
        assert store.reconciled == Reconciled(missing=(BASE,))
        assert store.keys() == set()
        assert records.layers() == (ready(BASE),)

    @pytest.mark.parametrize("lost", [BASE, TOP])
    async def test_a_layer_that_is_not_whole_stands_for_no_other_of_its_content(self, tmp_path, lost):
        layer = LayerRecord(TOP, BASE, ready=True, chain="sha256:c", diff="sha256:d")
        records = Records(ready(BASE), layer)
        for key in {BASE, TOP} - {lost}:
            (tmp_path / key).mkdir()
        store = await LayerStore.open(ListingDriver(tmp_path, records.journal), records)
        assert not store.find(layer.chain)

    async def test_a_layer_without_a_tree_is_made_anew_where_it_is_wanted(self, tmp_path):
        records = Records(ready(BASE), ready(TOP, BASE))
        (tmp_path / BASE).mkdir()
        store = await LayerStore.open(ListingDriver(tmp_path, records.journal), records)
        assert store.reconciled == Reconciled(missing=(TOP,))
        assert await store.restore(TOP, BASE)
        assert store.keys() == {BASE, TOP}
        assert sorted(os.listdir(tmp_path)) == [BASE, TOP]
        assert records.journal[-1] == ("save", TOP, True, True)
        assert not await store.restore(TOP, BASE)

    async def test_where_the_image_is_gone_too_the_disk_may_come_back_and_records_stay(self, tmp_path):
        records = Records(ready(BASE), ready(OTHER, BASE), ready(TOP, OTHER))
        (tmp_path / OTHER).mkdir()
        store = await LayerStore.open(ListingDriver(tmp_path, records.journal), records)
        with pytest.raises(NotFound, match=f"files of layer {BASE[:12]} are gone"):
            await store.restore(TOP, OTHER)
        assert records.layers() == (ready(BASE), ready(OTHER, BASE), ready(TOP, OTHER))

    async def test_a_layer_without_a_record_is_made_where_it_is_wanted(self, tmp_path):
        records = Records(ready(BASE))
        (tmp_path / BASE).mkdir()
        store = await LayerStore.open(ListingDriver(tmp_path, records.journal), records)
        assert await store.restore(TOP, BASE)
        assert store.keys() == {BASE, TOP}

    async def test_references_are_counted_anew(self, tmp_path):
        records = Records(ready(BASE), ready(TOP, BASE))
        store = await LayerStore.open(Driver(tmp_path, records.journal), records)
        assert store.in_use(BASE)
        assert not store.in_use(TOP)


async def test_collecting_keeps_what_is_named_and_what_that_stands_on(tmp_path):
    keys = {name: name * 64 for name in "12345"}
    records = Records(
        ready(keys["1"]),
        ready(keys["2"], keys["1"]),
        ready(keys["3"], keys["2"]),
        ready(keys["4"], keys["2"]),
        ready(keys["5"], keys["4"]),
    )
    store = await LayerStore.open(Driver(tmp_path, records.journal), records)
    removed = await store.collect({keys["3"]})
    assert removed == [keys["5"], keys["4"]]
    assert [record.key[0] for record in records.layers()] == ["1", "2", "3"]

    async def test_with_the_content_of_another_is_dropped_for_it(self, store, tmp_path):
        async with store.stage(BASE) as stage:
            first = await stage.commit("sha256:d")
        async with store.stage(BASE) as stage:
            assert await stage.commit("sha256:d") == stage.key  # the base never was a tar: no chain to compare
        async with store.stage("") as stage:
            bottom = await stage.commit("sha256:d")
        async with store.stage("") as stage:
            assert await stage.commit("sha256:d") == bottom
        assert not (tmp_path / stage.key).exists()
        assert store.find("sha256:d") == bottom
        assert first != bottom

    async def test_that_is_not_durable_can_be_stood_on_and_is_settled_with_what_it_stands_on(self, store, records):
        async with store.stage("") as stage:
            low = await stage.commit("sha256:1", durable=False)
        async with store.stage(low) as stage:
            high = await stage.commit("sha256:2", durable=False)
        assert store.chain(high) == (low, high)
        assert not records.rows[low].ready
        await store.settle([high])
        assert records.journal[-2:] == [("save", low, True, False), ("save", high, True, True)]
        records.journal.clear()
        await store.settle([high, low])
        assert records.journal == []


async def test_a_layer_that_is_held_stays(store):
    store.hold(BASE)
    with pytest.raises(Conflict, match="is being used"):
        await store.remove(BASE)
    store.let_go(BASE)
    await store.remove(BASE)


async def test_a_layer_is_found_by_its_chain_until_it_is_removed(store):
    async with store.stage("") as stage:
        low = await stage.commit("sha256:1")
    async with store.stage(low) as stage:
        high = await stage.commit("sha256:2")
    chain = store.record(high).chain
    assert chain == chain_id("sha256:1", "sha256:2")
    assert store.find(chain) == high
    await store.remove(high)
    assert store.find(chain) == ""


async def test_the_diff_id_of_a_layer_is_learnt_when_it_is_packed(store, records):
    await store.create(TOP, "")
    assert store.record(TOP).chain == ""
    await store.learn_diff(TOP, "sha256:9")
    assert store.find("sha256:9") == TOP
    assert records.rows[TOP].diff == "sha256:9"
