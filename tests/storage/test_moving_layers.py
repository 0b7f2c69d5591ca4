import os
import shutil
import sys
import threading
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from trioker.launcher.compare import Known, compare
from trioker.launcher.mirror import mirror
from trioker.model.errors import Conflict
from trioker.model.layer import LayerRecord
from trioker.storage.discovery import DriverError
from trioker.storage.journal import Journal
from trioker.storage.migration import Move, move_layers
from trioker.storage.mover import MigrationFailed
from trioker.storage.opening import locked, record, recorded
from trioker.storage.threads import work

BASE, TOP, BOX, BEGUN = "c" * 64, "b" * 64, "a" * 64, "d" * 64


class Records:
    def __init__(self, *rows):
        self.rows = rows

    def layers(self):
        return self.rows


def nothing(_path):
    pass


def fill_up(path):
    if BOX in path:
        raise OSError(28, "full")


def spoil(path):
    if TOP in path:
        Path(path, "file1").write_text("spoilt")


class Trees:
    """Moves in this process, by the paths of the bind mounts; ``fault`` is called with the copy before it is compared."""

    def __init__(self, meter):
        self.moved: list[str] = []
        self.fault = nothing
        self.meter = meter

    async def mirror(self, old, new, touched, tell, *, thorough):
        await trio.lowlevel.checkpoint()
        tell(0)
        mirror(old[0].source, new[0].source, touched, self.meter, thorough=thorough)
        self.moved.append(new[0].source.split("/")[-2])
        self.fault(new[0].source)

    async def compare(self, old, new, touched, tell, *, since):
        await trio.lowlevel.checkpoint()
        roots = [tuple(mounts[0].source if mounts else "" for mounts in trees) for trees in (old, new)]
        return compare(*roots, Known(since, frozenset(touched)), self.meter)


@attrs.frozen
class Lab:
    root: object
    folder: object
    trees: Trees
    records: Records
    told: list[str]

    @property
    def storage(self):
        return self.root / "storage"

    def write(self, key, name, text):
        (self.storage / "vfs" / key / "tree" / name).write_text(text)

    def replace_driver(self, name, code):
        """Let a stranger be the vfs driver with this in its class."""
        lines = ["import os", "from trioker_vfs.driver import Vfs", "class Strange(Vfs):", *code.splitlines()]
        lines += ["def open_driver(root, options):", "    return Strange(root)"]
        (self.folder / f"{name}.py").write_text("\n".join(lines))

    def read(self, driver, key, name):
        return (self.storage / driver / key / "tree" / name).read_text()

    async def move(self, to, **how):
        move = Move(to, driver_dirs=[self.folder], containers={BOX}, **how)
        return await move_layers(self.root, self.records, self.trees, move, lambda told: self.told.append(told.status))


@pytest.fixture
def lab(tmp_path, monkeypatch, meter):
    """Three layers on vfs, one on the other, the last one a container's, and strangers to move them to."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "drivers"
    folder.mkdir()
    for name in ("second", "third"):
        (folder / f"{name}.py").write_text("from trioker_vfs import open_driver")
        (folder / f"{name}-1.dist-info").mkdir()
        (folder / f"{name}-1.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (folder / f"{name}-1.dist-info" / "entry_points.txt").write_text(
            f"[trioker.storage]\n{name} = {name}:open_driver\n"
        )
    rows = (LayerRecord(BOX, TOP, ready=True), LayerRecord(BEGUN, TOP, ready=False),
            LayerRecord(TOP, BASE, ready=True), LayerRecord(BASE, "", ready=True))  # fmt: skip
    lab = Lab(tmp_path / "root", folder, Trees(meter), Records(*rows), [])
    for key, parent in ((BASE, ""), (TOP, BASE), (BOX, TOP)):
        tree = lab.storage / "vfs" / key / "tree"
        tree.mkdir(parents=True)
        if parent:
            (lab.storage / "vfs" / key / "parent").symlink_to(parent)
    for number, key in enumerate((BASE, TOP, BOX)):
        for each in (BASE, TOP, BOX)[number:]:
            lab.write(each, f"file{number}", key)
    record(lab.storage, "vfs")
    yield lab
    for name in ("second", "third"):
        sys.modules.pop(name, None)


def stored(lab):
    return sorted(os.listdir(lab.storage))


async def test_layers_move_parents_first_and_the_old_ones_go(lab):
    assert await lab.move("second") == "3 layers moved from vfs to second"
    assert lab.trees.moved == [BASE, TOP, BOX]
    assert stored(lab) == ["driver", "lock", "second"]
    assert recorded(lab.storage) == "second"
    assert lab.read("second", BOX, "file1") == TOP
    assert list(dict.fromkeys(lab.told))[:4] == ["1/3 Copying", "1/3 Verifying", "1/3 Moved", "2/3 Copying"]
    assert lab.told[-1] == "3/3 Removing from vfs"


async def test_both_copies_may_stay(lab):
    await lab.move("second", keep=True)
    assert stored(lab) == ["driver", "lock", "second", "vfs"]
    assert lab.read("vfs", BOX, "file0") == BASE


@pytest.mark.parametrize("before", [[], ["second"]])
async def test_of_a_driver_that_cannot_be_opened_there_is_no_more_than_before(lab, before):
    (lab.folder / "second.py").write_text("def open_driver(root, options): raise RuntimeError")
    for each in before:
        (lab.storage / each).mkdir()
    with pytest.raises(DriverError, match="'second' cannot be opened"):
        await lab.move("second")
    assert stored(lab) == ["driver", "lock", *before, "vfs"]


async def test_a_copy_that_differs_is_told_and_the_store_is_as_it_was(lab):
    lab.trees.fault = spoil
    with pytest.raises(MigrationFailed, match=f"layer {TOP[:12]} could not be moved: the copy differs at /file1"):
        await lab.move("second")
    assert recorded(lab.storage) == "vfs"
    assert os.listdir(lab.storage / "second") == [BASE]


async def test_why_a_layer_could_not_be_moved_is_told_though_what_was_made_of_it_cannot_be_removed(lab):
    lab.replace_driver(
        "second",
        """
    def remove(self, key):
        if os.path.exists(self._tree(key)):
            raise ValueError("stuck")
""",
    )
    lab.trees.fault = spoil
    with pytest.raises(MigrationFailed, match=f"layer {TOP[:12]} could not be moved: the copy differs at /file1"):
        await lab.move("second")


async def test_what_was_moved_is_not_moved_again(lab):
    lab.trees.fault = fill_up
    with pytest.raises(MigrationFailed, match=f"layer {BOX[:12]} could not be moved: full"):
        await lab.move("second")
    lab.trees.fault = nothing
    lab.trees.moved.clear()
    await lab.move("second")
    assert lab.trees.moved == [BOX]


async def test_a_driver_that_cannot_say_what_it_has_is_moved_to_and_from(lab):
    lab.replace_driver("second", "    keys = None")
    lab.trees.fault = fill_up
    with pytest.raises(MigrationFailed, match="full"):
        await lab.move("second")
    lab.trees.fault = nothing
    lab.trees.moved.clear()
    await lab.move("second")
    assert lab.trees.moved == [BOX]
    assert await lab.move("third") == "3 layers moved from second to third"


def begin_and_finish_all_but_the_switch(lab):
    journal = Journal.begin(lab.storage, "vfs", "second")
    for key in (BASE, TOP, BOX):
        place = lab.storage / "second" / key / "tree"
        place.mkdir(parents=True)
        mirror(str(lab.storage / "vfs" / key / "tree"), str(place), (), lab.trees.meter)
        journal.add(key)


async def test_a_container_that_has_run_since_is_moved_again(lab):
    begin_and_finish_all_but_the_switch(lab)
    lab.write(BOX, "written", "since")
    await lab.move("second")
    assert lab.trees.moved == [BOX]
    assert lab.read("second", BOX, "written") == "since"


async def test_what_nobody_noted_or_knows_is_removed_from_the_copy(lab):
    begin_and_finish_all_but_the_switch(lab)
    (lab.storage / "second" / ("e" * 64) / "tree").mkdir(parents=True)
    await lab.move("second")
    assert lab.trees.moved == []
    assert sorted(os.listdir(lab.storage / "second")) == [BOX, TOP, BASE]


async def test_a_move_that_goes_elsewhere_removes_the_unfinished_copy(lab):
    begin_and_finish_all_but_the_switch(lab)
    await lab.move("third")
    assert lab.trees.moved == [BASE, TOP, BOX]
    assert stored(lab) == ["driver", "lock", "third"]


async def test_a_driver_that_refuses_leaves_nothing_and_another_can_be_moved_to(lab):
    with pytest.raises(DriverError, match="'second' refuses its options"):
        await lab.move("second", options={"colour": "red"})
    assert sorted(os.listdir(lab.storage)) == ["driver", "lock", "vfs"]
    await lab.move("third")
    assert recorded(lab.storage) == "third"


async def test_a_move_to_where_the_layers_are_calls_an_unfinished_one_off(lab):
    begin_and_finish_all_but_the_switch(lab)
    assert await lab.move("vfs") == "The layers are kept by storage driver vfs"
    assert stored(lab) == ["driver", "lock", "vfs"]
    assert lab.read("vfs", BOX, "file0") == BASE


async def test_one_that_was_cut_short_after_the_switch_is_finished(lab):
    begin_and_finish_all_but_the_switch(lab)
    record(lab.storage, "second")
    (lab.storage / "driver.new").touch()  # as a power cut may leave it
    assert await lab.move("second") == "The layers are kept by storage driver second"
    assert stored(lab) == ["driver", "lock", "second"]


async def test_a_layer_whose_files_are_gone_is_named(lab):
    os.unlink(lab.storage / "vfs" / TOP / "parent")
    for name in ("file0", "file1"):
        os.unlink(lab.storage / "vfs" / TOP / "tree" / name)
    os.rmdir(lab.storage / "vfs" / TOP / "tree")
    with pytest.raises(MigrationFailed, match=f"layer {TOP[:12]} could not be moved: .*No such file"):
        await lab.move("second")


REMOVES_ANOTHER = """
    def create(self, key, parent):
        super().create(key, parent)
        if key[0] == "a":
            self.remove("c" * 64)
"""


async def test_a_driver_that_takes_away_what_was_moved_is_found(lab):
    lab.replace_driver("second", REMOVES_ANOTHER)
    with pytest.raises(MigrationFailed, match=f"layer {BASE[:12]} is there no more"):
        await lab.move("second")
    assert recorded(lab.storage) == "vfs"
    assert BASE not in Journal.find(lab.storage).finished


async def test_a_layer_that_is_lost_and_that_nothing_stands_on_keeps_nobody_from_moving(lab):
    shutil.rmtree(lab.storage / "vfs" / BOX)
    assert await lab.move("second") == "2 layers moved from vfs to second"
    assert "Its files are gone: left out" in lab.told


async def test_a_store_whose_disk_is_away_stays_where_it_is(lab):
    (lab.storage / "vfs").rename(lab.storage / "away")
    with pytest.raises(MigrationFailed, match="vfs holds none of the 3 layers: is its disk mounted"):
        await lab.move("second")
    assert recorded(lab.storage) == "vfs"


TELLS_NOTHING = """
    def changes(self, key):
        return iter(())
"""


def keep_in(lab, name, code):
    """Have the store kept by a stranger."""
    lab.replace_driver(name, code)
    (lab.storage / "vfs").rename(lab.storage / name)
    record(lab.storage, name)


LIMITS = """
    def mounts(self, key, *, readonly):
        if not readonly:
            open(f"{self._root}/limit-{key}", "w").close()
        return super().mounts(key, readonly=readonly)

    def unpack_target(self, key):
        from trioker.storage.driver import Whiteouts
        if os.path.exists(f"{self._root}/limit-{key}"):
            os.unlink(f"{self._root}/limit-{key}")
        return super().unpack_target(key)._replace(whiteouts=Whiteouts.OVERLAY)
"""
"""What a container may write, while nobody unpacks into its layer."""


async def test_layers_of_images_are_made_without_the_limit_of_a_container(lab):
    lab.replace_driver("second", LIMITS)
    limited = []

    def look(tree):
        home = Path(tree).parent
        limited.append(home.with_name(f"limit-{home.name}").exists())

    lab.trees.fault = look
    await lab.move("second")
    assert limited == [False, False, True]


ALTERS = """
    def create(self, key, parent):
        super().create(key, parent)
        path = f"{self._tree(%s)}/file0"
        if parent:
            found = os.stat(path)
            with open(path, "r+") as file:
                file.write("?")
            os.utime(path, ns=(0, found.st_mtime_ns))
"""
"""What the layer did not change, under its old date and size: in the copy, or in the tree that was copied."""


async def test_a_driver_that_alters_a_file_the_layer_did_not_change_is_mended(lab):
    lab.replace_driver("second", ALTERS % "key")
    await lab.move("second")
    assert [lab.read("second", key, "file0") for key in (BASE, TOP, BOX)] == [BASE] * 3


async def test_a_driver_that_alters_the_layer_below_is_found(lab):
    lab.replace_driver(
        "second",
        ALTERS.replace("super().create(key, parent)", "") % "parent"
        + """
        super().create(key, parent)
""",
    )
    keep_in(lab, "third", TELLS_NOTHING)
    for key in (BASE, TOP, BOX):
        os.utime(lab.storage / "third" / key / "tree/file0", ns=(0, 1))
    with pytest.raises(MigrationFailed, match=f"layer {TOP[:12]} .* changed the copy of the layer below it at /file0"):
        await lab.move("second")
    found = Journal.find(lab.storage)
    assert found
    assert found.finished == set()


async def test_a_driver_that_shows_something_else_each_time_is_found(lab):
    lab.replace_driver(
        "second",
        """
    def mounts(self, key, *, readonly):
        with open(f"{self._tree(key)}/file0", "a") as file:
            file.write("more")
        return super().mounts(key, readonly=readonly)
""",
    )
    with pytest.raises(MigrationFailed, match=f"layer {BASE[:12]} could not be moved: the copy differs at /file0"):
        await lab.move("second")


async def test_a_change_that_the_old_driver_does_not_tell_is_moved_too(lab):
    keep_in(lab, "second", TELLS_NOTHING)
    found = (lab.storage / "second" / TOP / "tree/file0").stat()
    changed = lab.storage / "second" / BOX / "tree/file0"
    changed.write_text(TOP)
    os.utime(changed, ns=(0, found.st_mtime_ns))
    await lab.move("third")
    assert lab.read("third", BOX, "file0") == TOP


REFUSES = """
    def remove(self, key):
        for each in os.listdir(self._root):
            link = f"{self._root}/{each}/parent"
            if os.path.islink(link) and os.readlink(link) == key:
                raise RuntimeError("others stand on it")
        super().remove(key)
"""


async def test_children_are_removed_first_for_drivers_that_insist_on_it(lab):
    lab.replace_driver("second", REFUSES)
    begin_and_finish_all_but_the_switch(lab)
    for key, parent in ((TOP, BASE), (BOX, TOP)):
        (lab.storage / "second" / key / "parent").symlink_to(parent)
    await lab.move("vfs")
    begin_and_finish_all_but_the_switch(lab)
    (lab.storage / "second" / BOX / "parent").symlink_to(TOP)
    shutil.rmtree(lab.storage / "second" / BASE)
    await lab.move("second")
    assert await lab.move("third") == "3 layers moved from second to third"
    assert stored(lab) == ["driver", "lock", "third"]


async def test_what_is_called_off_counts_for_nothing_before_anything_is_removed(lab):
    lab.replace_driver(
        "second",
        """
    def remove(self, key):
        raise RuntimeError("no")
""",
    )
    begin_and_finish_all_but_the_switch(lab)
    with pytest.raises(DriverError, match=r"'second' failed in remove\(\): RuntimeError: no"):
        await lab.move("vfs")
    found = Journal.find(lab.storage)
    assert found
    assert (found.new, found.finished) == ("second", set())


@pytest.mark.parametrize("gone", [True, False])
async def test_an_unfinished_copy_of_a_driver_that_is_gone_or_does_not_open_is_removed_as_files(lab, gone):
    begin_and_finish_all_but_the_switch(lab)
    (lab.folder / "second.py").write_text("")
    if gone:
        shutil.rmtree(lab.folder / "second-1.dist-info")
    assert await lab.move("third") == "3 layers moved from vfs to third"
    assert stored(lab) == ["driver", "lock", "third"]
    why = "no storage driver 'second'" if gone else "storage driver 'second' of second cannot be loaded"
    assert lab.told[0].startswith(why)
    assert lab.told[0].endswith("Its directory is removed as files, what it has elsewhere is not")


async def test_a_full_disk_is_told_with_what_is_needed(lab):
    lab.trees.fault = fill_up
    lab.write(BOX, "large", "x" * 5_000_000)
    with pytest.raises(
        MigrationFailed, match=r"second has room for [\d,.]+ MB of [\d,.]+ MB; .*1 layers, takes 5.0 MB or more"
    ):
        await lab.move("second")


async def test_without_layers_there_is_nothing_to_move(lab):
    lab.records.rows = ()
    assert await lab.move("second") == "There is nothing to move: start the daemon with -s second"
    assert recorded(lab.storage) == "vfs"


async def test_a_store_that_is_open_is_left_alone(lab):
    with locked(lab.storage), pytest.raises(Conflict, match=r"has .* open"):
        await lab.move("second")


def test_overlay2_in_the_record_is_overlay(tmp_path):
    (tmp_path / "driver").write_text("overlay2\n")
    assert recorded(tmp_path) == "overlay"


async def test_a_driver_that_hangs_does_not_keep_a_move_from_being_interrupted(monkeypatch):
    monkeypatch.setattr("trioker.storage.threads.ENDS_WITHIN", 0.1)
    never = threading.Event()
    came_back = []

    async def hang():
        came_back.append(await work(never.wait, 20))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hang)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    never.set()
    assert came_back == []
