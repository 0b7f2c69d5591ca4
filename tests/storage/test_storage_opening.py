import os
import sys

import pytest
import trio
from layer_records import Records
from polling import wait_until

from trioker.linux.trees import remove_tree
from trioker.model.errors import Conflict, NotFound
from trioker.storage.discovery import DriverError
from trioker.storage.opening import Choice, open_store

KEY = "a" * 64
VFS = Choice("vfs")


async def test_a_layer_survives_closing_and_opening(tmp_path):
    records = Records()
    async with open_store(tmp_path, records, VFS) as opened:
        assert opened.driver.name == "vfs"
        async with opened.layers.stage("") as stage:
            await stage.commit("sha256:d")
    async with open_store(tmp_path, records, Choice()) as opened:
        assert opened.driver.name == "vfs"
        await opened.layers.create(KEY, stage.key)
        assert await opened.layers.changes(KEY) == []


@pytest.mark.parametrize("driver", ["vfs", pytest.param("overlay", marks=pytest.mark.root)])
async def test_a_layer_whose_files_are_gone_says_so_whatever_is_asked_of_it(tmp_path, driver):
    async with open_store(tmp_path, Records(), Choice(driver)) as opened:
        layers = opened.layers
        async with layers.stage("") as stage:
            await stage.commit("sha256:d")
        remove_tree(tmp_path / "storage" / driver / stage.key)
        gone = f"The files of layer {stage.key[:12]} are gone"
        with pytest.raises(NotFound, match=gone):
            await layers.mounts(stage.key, readonly=True)
        with pytest.raises(NotFound, match=gone):
            await layers.changes(stage.key)
        with pytest.raises(NotFound, match=gone):
            await layers.create(KEY, stage.key)
        await layers.remove(stage.key)


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Offer a stranger's driver with this code; the choice of it."""
    monkeypatch.setattr(sys, "path", [*sys.path])  # the folder joins it
    folder = tmp_path / "drivers"
    (folder / "mine-1.5.dist-info").mkdir(parents=True)
    (folder / "mine-1.5.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: my-driver\nVersion: 1.5\n")
    (folder / "mine-1.5.dist-info" / "entry_points.txt").write_text("[trioker.storage]\nmine = mine_driver:open_it\n")

    def write(code):
        (folder / "mine_driver.py").write_text(code)
        return Choice("mine", driver_dirs=(folder,))

    yield write
    sys.modules.pop("mine_driver", None)


async def test_a_stranger_s_driver_is_named_before_it_can_end_the_process(tmp_path, caplog, offer):
    caplog.set_level("INFO", "trioker.storage.opening")
    async with open_store(tmp_path / "ours", Records(), VFS):
        assert caplog.messages == []
    with pytest.raises(DriverError):
        async with open_store(tmp_path / "theirs", Records(), offer("import no_such_module")):
            pass
    assert caplog.messages == ["opening storage driver 'mine' of my-driver 1.5"]


REFUSES = "def open_it(root, options): raise RuntimeError"
LITTERS = "def open_it(root, options):\n (root / 'left').touch()\n raise RuntimeError"


@pytest.mark.parametrize(
    ("code", "before", "left"),
    [
        (REFUSES, [], ["lock"]),
        (REFUSES, ["storage/mine"], ["lock", "mine"]),
        (LITTERS, [], ["lock", "mine"]),
    ],
)
async def test_of_a_driver_that_cannot_be_opened_nothing_is_left_but_what_is_its_own(
    tmp_path, offer, code, before, left
):
    for each in before:
        (tmp_path / each).mkdir(parents=True)
    with pytest.raises(DriverError, match="cannot be opened: RuntimeError"):
        async with open_store(tmp_path, Records(), offer(code)):
            pass
    assert sorted(os.listdir(tmp_path / "storage")) == left


@pytest.fixture
def gate(tmp_path):
    """A pipe's name: who opens it waits, to the end of the test at most."""
    os.mkfifo(tmp_path / "gate")
    yield tmp_path / "gate"
    os.close(os.open(tmp_path / "gate", os.O_RDWR | os.O_NONBLOCK))


async def test_of_a_driver_that_hangs_while_it_is_opened_nothing_is_left_either(tmp_path, offer, gate):
    sign = tmp_path / "sign"
    choice = offer(f"def open_it(root, options):\n open({str(sign)!r}, 'w').close()\n open({str(gate)!r}).close()")
    await open_until(sign, tmp_path, choice)
    assert os.listdir(tmp_path / "storage") == ["lock"]


async def test_a_trial_that_is_cut_short_leaves_nothing(tmp_path, gate, monkeypatch):
    def hang(place, *_):
        (place / ".trioker-probe-x" / "l").mkdir(parents=True)
        (tmp_path / "sign").touch()
        gate.open().close()

    monkeypatch.setattr("trioker.storage.opening.default", hang)
    monkeypatch.setattr("trioker.storage.threads.ENDS_WITHIN", 0.1)
    await open_until(tmp_path / "sign", tmp_path, Choice())
    assert os.listdir(tmp_path / "storage") == ["lock"]


async def open_until(sign, root, choice):
    """Open a store; cancelled when the file is there."""

    async def opening():
        async with open_store(root, Records(), choice):
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(opening)
        await trio.to_thread.run_sync(wait_until, sign.exists, "a driver that hangs")
        nursery.cancel_scope.cancel()


async def test_what_a_killed_probe_left_is_cleared_away(tmp_path):
    (tmp_path / "storage" / ".trioker-probe-x" / "l").mkdir(parents=True)
    async with open_store(tmp_path, Records(), VFS):
        assert sorted(os.listdir(tmp_path / "storage")) == ["driver", "lock", "vfs"]


async def test_what_a_probe_left_and_cannot_be_removed_keeps_no_store_closed(tmp_path):
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / ".trioker-probe-x").touch()  # refuses as a mount point does
    async with open_store(tmp_path, Records(), VFS) as opened:
        assert opened.driver.name == "vfs"


async def test_layers_of_another_driver_are_refused_and_both_are_named(tmp_path):
    records = Records()
    async with open_store(tmp_path, records, VFS) as opened, opened.layers.stage("") as stage:
        await stage.commit("sha256:d")
    with pytest.raises(DriverError, match=r"made by storage driver 'vfs' and 'overlay' cannot read them: use -s vfs"):
        async with open_store(tmp_path, records, Choice("overlay2")):
            pass


async def test_another_driver_may_be_chosen_while_there_are_no_layers(tmp_path):
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "driver").write_text("zfs\n")
    async with open_store(tmp_path, Records(), VFS):
        assert (tmp_path / "storage" / "driver").read_text() == "vfs\n"


async def test_a_second_daemon_is_refused(tmp_path):
    async with open_store(tmp_path, Records(), VFS):
        with pytest.raises(Conflict, match="another daemon"):
            async with open_store(tmp_path, Records(), VFS):
                pass
    async with open_store(tmp_path, Records(), VFS):
        pass


async def test_a_refused_driver_leaves_the_lock_free(tmp_path):
    with pytest.raises(DriverError, match="no storage driver 'zfs'"):
        async with open_store(tmp_path, Records(), Choice("zfs")):
            pass
    async with open_store(tmp_path, Records(), VFS):
        pass


async def test_the_store_s_directory_is_nobody_else_s(tmp_path):
    async with open_store(tmp_path, Records(), VFS):
        assert (tmp_path / "storage").stat().st_mode & 0o777 == 0o700
        assert sorted(os.listdir(tmp_path / "storage")) == ["driver", "lock", "vfs"]
