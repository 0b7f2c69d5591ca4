import os
import sys
from pathlib import Path

import attrs
import pytest
import trio

from trioker.launcher.meter import Meter
from trioker.launcher.mirror import mirror
from trioker.launcher.tree_digest import digest_tree
from trioker.model.errors import Conflict
from trioker.model.layer import LayerRecord
from trioker.storage.discovery import DriverError
from trioker.storage.journal import Journal
from trioker.storage.migration import Move, move_layers
from trioker.storage.mover import MigrationFailed
from trioker.storage.opening import locked, record, recorded

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
    """Moves in this process, by the paths of the bind mounts; ``fault`` is called with the copy before it is hashed."""

    def __init__(self):
        self.moved: list[str] = []
        self.fault = nothing
        self.meter = Meter(os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC))

    async def mirror(self, old, new, touched, tell):
        await trio.lowlevel.checkpoint()
        tell(0)
        mirror(old[0].source, new[0].source, touched, self.meter)
        self.moved.append(new[0].source.split("/")[-2])
        self.fault(new[0].source)

    async def digest(self, mounts, tell):
        await trio.lowlevel.checkpoint()
        return digest_tree(mounts[0].source, self.meter).digest


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

    def read(self, driver, key, name):
        return (self.storage / driver / key / "tree" / name).read_text()

    async def move(self, to, **how):
        move = Move(to, driver_dirs=[self.folder], containers={BOX}, **how)
        return await move_layers(self.root, self.records, self.trees, move, lambda told: self.told.append(told.status))


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Three layers on vfs, one on the other, the last one a container's, and strangers to move them to."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    here = os.getcwd()
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
    lab = Lab(tmp_path / "root", folder, Trees(), Records(*rows), [])
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
    os.chdir(here)
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


async def test_a_copy_that_differs_is_told_and_the_store_is_as_it_was(lab):
    lab.trees.fault = spoil
    with pytest.raises(MigrationFailed, match=f"layer {TOP[:12]} could not be moved: the copy differs: sha256:"):
        await lab.move("second")
    assert recorded(lab.storage) == "vfs"
    assert os.listdir(lab.storage / "second") == [BASE]


async def test_what_was_moved_is_not_moved_again(lab):
    lab.trees.fault = fill_up
    with pytest.raises(MigrationFailed, match=f"layer {BOX[:12]} could not be moved: full"):
        await lab.move("second")
    lab.trees.fault = nothing
    lab.trees.moved.clear()
    await lab.move("second")
    assert lab.trees.moved == [BOX]


def begin_and_finish_all_but_the_switch(lab):
    journal = Journal.begin(lab.storage, "vfs", "second")
    for key in (BASE, TOP, BOX):
        place = lab.storage / "second" / key / "tree"
        place.mkdir(parents=True)
        mirror(str(lab.storage / "vfs" / key / "tree"), str(place), (), lab.trees.meter)
        journal.add(key, digest_tree(str(place), lab.trees.meter).digest)


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
    assert await lab.move("second") == "The layers are kept by storage driver second"
    assert stored(lab) == ["driver", "lock", "second"]


async def test_a_layer_whose_files_are_gone_is_named(lab):
    os.unlink(lab.storage / "vfs" / TOP / "parent")
    for name in ("file0", "file1"):
        os.unlink(lab.storage / "vfs" / TOP / "tree" / name)
    os.rmdir(lab.storage / "vfs" / TOP / "tree")
    with pytest.raises(MigrationFailed, match=f"layer {TOP[:12]} could not be moved: .*No such file"):
        await lab.move("second")


async def test_without_layers_there_is_nothing_to_move(lab):
    lab.records.rows = ()
    assert await lab.move("second") == "There is nothing to move: start the daemon with -s second"
    assert recorded(lab.storage) == "vfs"


async def test_a_store_that_is_open_is_left_alone(lab):
    with locked(lab.storage), pytest.raises(Conflict, match=r"has .* open"):
        await lab.move("second")


def test_a_last_line_that_was_cut_counts_for_nothing(tmp_path):
    journal = Journal.begin(tmp_path, "vfs", "overlay")
    journal.add(BASE, "sha256:1")
    with (tmp_path / "migration").open("a") as file:
        file.write(f"{TOP} sha2")
    found = Journal.find(tmp_path)
    assert found
    assert (found.old, found.new, found.finished) == ("vfs", "overlay", {BASE: "sha256:1"})
    found.add(TOP, "sha256:2")
    again = Journal.find(tmp_path)
    assert again
    assert again.finished == {BASE: "sha256:1", TOP: "sha256:2"}
    again.end()
    assert Journal.find(tmp_path) is None


def test_overlay2_in_the_record_is_overlay(tmp_path):
    (tmp_path / "driver").write_text("overlay2\n")
    assert recorded(tmp_path) == "overlay"
