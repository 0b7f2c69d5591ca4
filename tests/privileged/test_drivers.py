"""The driver contract over both drivers with real mounts, and the overlay driver's trial of a host."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import trioker_overlay
import trioker_vfs
from trioker.linux import syscalls
from trioker.linux.mounts import make
from trioker.linux.private import in_private_mounts
from trioker.storage.driver import Unsupported
from trioker.testing.driver_suite import CHECKS, run
from trioker_overlay.driver import MAX_LAYERS

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


def test_as_many_layers_as_overlayfs_stacks_can_be_mounted(tmp_path):
    driver = trioker_overlay.open_driver(tmp_path, {})
    parent, written = make_chain(driver, MAX_LAYERS)
    (tmp_path / "place").mkdir()

    def work():
        for readonly in (False, True):
            make(driver.mounts(parent, readonly=readonly), str(tmp_path / "place"))
            assert len(os.listdir(tmp_path / "place")) == MAX_LAYERS
            assert os.access(tmp_path / "place", os.W_OK) is not readonly
            assert (tmp_path / "place" / "all").read_text() == written

    in_private_mounts(work)


def make_chain(driver, length: int) -> tuple[str, str]:
    """``length`` layers, each with a file of its own and its mark in one that all have, and a child without anything."""
    parent, mark = None, ""
    for number in range(length):
        key = os.urandom(32).hex()
        driver.create(key, parent)
        mark = f"layer {number}"
        (driver.unpack_target(key).path / "all").write_text(mark)
        if number:
            (driver.unpack_target(key).path / f"file{number}").touch()
        parent = key
    driver.create(TOP, parent)
    return TOP, mark


@pytest.fixture
def on_disk(tmp_path):
    """Run something on a fresh filesystem that only its own mount namespace sees."""

    def run_there(work, mkfs: str, *options: str) -> None:
        if shutil.which(mkfs) is None:
            pytest.skip(f"there is no {mkfs}")
        image, place = tmp_path / "disk", tmp_path / "mounted"
        image.touch()
        os.truncate(image, 400 * 2**20)
        place.mkdir()
        subprocess.run([mkfs, "-q", *options, str(image)], check=True, capture_output=True, timeout=60)

        def there():
            subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True, capture_output=True, timeout=60)
            try:
                work(place)
            finally:
                os.chdir("/")
                syscalls.umount2(str(place), syscalls.MNT_DETACH)

        in_private_mounts(there)

    return run_there


def test_the_names_of_128_layers_fit_into_the_links_of_xfs(on_disk):
    on_disk(
        lambda place: run("a_hundred_and_twenty_eight_layers_stack", trioker_overlay.open_driver, place), "mkfs.xfs"
    )


def test_a_size_is_refused_where_xfs_does_not_count(on_disk):
    def work(place):
        with pytest.raises(
            Unsupported, match=r"has none: (mount it anew with -o prjquota|.* without CONFIG_XFS_QUOTA)"
        ):
            trioker_overlay.open_driver(place, {"size": "10G"})
        assert os.listdir(place) == []

    on_disk(work, "mkfs.xfs")


def test_vfs_shares_extents_where_the_filesystem_can(on_disk):
    def work(place):
        driver = trioker_vfs.open_driver(place / "vfs", {})
        driver.create(BASE, None)
        (driver.unpack_target(BASE).path / "large").write_bytes(os.urandom(64 * 2**20))
        os.sync()
        before = os.statvfs(place).f_bfree
        driver.create(TOP, BASE)
        os.sync()
        found = os.statvfs(place)
        assert (before - found.f_bfree) * found.f_frsize < 8 * 2**20

    on_disk(work, "mkfs.xfs")


def test_a_filesystem_that_does_not_tell_d_type_is_refused(on_disk):
    def work(place):
        with pytest.raises(Unsupported, match="ext4"):
            trioker_overlay.open_driver(place, {})

    on_disk(work, "mkfs.ext4", "-O", "^filetype")


@pytest.mark.parametrize(("kind", "why"), [("tmpfs", ""), ("ramfs", r"ramfs takes no trusted\.\* attributes")])
def test_a_filesystem_is_taken_or_refused_for_what_it_can(kind, why, tmp_path):
    def work():
        syscalls.mount(kind, str(tmp_path), kind, 0, "")
        if why:
            with pytest.raises(Unsupported, match=why):
                trioker_overlay.open_driver(tmp_path, {})
        else:
            trioker_overlay.open_driver(tmp_path, {}).close()
        syscalls.umount2(str(tmp_path), syscalls.MNT_DETACH)

    in_private_mounts(work)


def test_what_work_in_a_private_namespace_raises_arrives():
    def work():
        raise KeyError("here")

    with pytest.raises(KeyError, match="here"):
        in_private_mounts(work)
