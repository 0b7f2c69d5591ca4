"""The driver contract over both drivers with real mounts, and the overlay driver's trial of a host."""

import os
from pathlib import Path

import pytest

import trioker_overlay
import trioker_vfs
from trioker.linux import syscalls
from trioker.linux.mounts import make
from trioker.linux.private import in_private_mounts
from trioker.storage.driver import Unsupported
from trioker.testing.driver_suite import CHECKS, check, run

pytestmark = pytest.mark.root

BASE = "ba" * 32
TOP = "70" * 32


def mount_table() -> str:
    return Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize("driver", [trioker_overlay, trioker_vfs], ids=["overlay", "vfs"])
@pytest.mark.parametrize("name", CHECKS)
def test_the_contract(name, driver, tmp_path):
    before = mount_table()
    run(name, driver.open_driver, tmp_path)
    assert os.listdir(tmp_path) == []
    assert mount_table() == before


def test_the_suite_fails_a_driver_that_breaks_its_promise(tmp_path):
    class Forgetful(trioker_vfs.Vfs):
        def usage(self, key):
            return super().usage(key)._replace(entries=0)

    with pytest.raises(AssertionError):
        check(lambda root, _options: Forgetful(root), tmp_path)


def test_the_trial_leaves_no_file_and_no_mount(tmp_path):
    before = mount_table()
    trioker_overlay.open_driver(tmp_path, {}).close()
    assert os.listdir(tmp_path) == ["l"]
    assert mount_table() == before


def test_overlay_on_overlay_is_refused_with_its_name(tmp_path):
    driver = trioker_overlay.open_driver(tmp_path, {})
    driver.create(BASE, None)
    driver.create(TOP, BASE)
    (tmp_path / "place").mkdir()

    def work():
        make(driver.mounts(TOP, readonly=False), str(tmp_path / "place"))
        root = tmp_path / "place" / "root"
        root.mkdir()
        with pytest.raises(Unsupported, match="overlay"):
            trioker_overlay.open_driver(root, {})
        os.chdir("/")
        syscalls.umount2(str(tmp_path / "place"), syscalls.MNT_DETACH)

    in_private_mounts(work)


def test_a_chain_of_two_hundred_layers_can_be_mounted(tmp_path):
    driver = trioker_overlay.open_driver(tmp_path, {})
    driver.create(BASE, None)
    parent = BASE
    for number in range(200):
        key = os.urandom(32).hex()
        driver.create(key, parent)
        (driver.unpack_target(key).path / f"file{number}").touch()
        parent = key
    (tmp_path / "place").mkdir()

    def work():
        for readonly in (False, True):
            make(driver.mounts(parent, readonly=readonly), str(tmp_path / "place"))
            assert len(os.listdir(tmp_path / "place")) == 200

    in_private_mounts(work)


def test_what_work_in_a_private_namespace_raises_arrives():
    def work():
        raise KeyError("here")

    with pytest.raises(KeyError, match="here"):
        in_private_mounts(work)
