"""The btrfs driver on a real btrfs: the contract, what its quick comparison finds, subvolumes inside layers, limits, freed space."""

import errno
import os
import random
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest
from btrfs_disk import MIB, btrfs_disk, make_disk, mounted
from polling import wait_until

from trioker.launcher.compare import Known
from trioker.launcher.compare import compare as compare_trees
from trioker.launcher.mirror import mirror
from trioker.linux import btrfs
from trioker.linux.sync import syncfs
from trioker.linux.trees import remove_tree
from trioker.storage.driver import Change, Kind, Unsupported
from trioker.testing.driver_suite import CHECKS, run
from trioker_btrfs import open_driver, quotas
from trioker_btrfs.changes import compare
from trioker_btrfs.guide import guide
from trioker_btrfs.subvolumes import opened
from trioker_vfs.changes import changes as full_comparison

pytestmark = pytest.mark.root

BASE, TOP, OTHER = "ba" * 32, "70" * 32, "07" * 32


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    with btrfs_disk(tmp_path_factory.mktemp("btrfs")) as place:
        yield place


@pytest.fixture
def root(disk, request):
    place = disk / request.node.name[:60]
    place.mkdir()
    yield place
    driver = open_driver(place, {})
    for key in (TOP, OTHER, BASE):
        driver.remove(key)
    driver.close()
    assert os.listdir(place) == []
    place.rmdir()


@pytest.fixture
def driver(root):
    driver = open_driver(root, {})
    driver.create(BASE, None)
    yield driver
    driver.close()


def tree(driver, key) -> Path:
    return driver.unpack_target(key).path


def child(driver, key=TOP, parent=BASE) -> Path:
    driver.create(key, parent)
    return tree(driver, key)


def subvolume(path: Path) -> None:
    """Make one as any process in a container may."""
    with opened(str(path.parent)) as directory:
        btrfs.create_subvolume(directory, path.name)


def set_readonly(path: Path) -> None:
    with opened(str(path)) as fd:
        btrfs.set_flags(fd, btrfs.READONLY)


def number(path: Path) -> int:
    with opened(str(path)) as fd:
        return btrfs.subvolume_info(fd).id


def subvolumes(disk: Path) -> set[str]:
    told = subprocess.run(["btrfs", "subvolume", "list", disk], check=True, capture_output=True, text=True).stdout
    return {line.split()[-1] for line in told.splitlines()}


def fill(path: Path, size: int) -> int:
    """Write until that many bytes or the first error; the errno, or 0."""
    try:
        with path.open("wb", buffering=0) as file:
            for _ in range(size // MIB):
                file.write(random.randbytes(MIB))
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno or 0
    return 0


def limited_subvolumes(fd: int) -> list[int]:
    """Numbers of the quota groups that the driver made: items of type QGROUP_INFO, 242."""
    first, last = btrfs.group(quotas.LEVEL, 0), btrfs.group(quotas.LEVEL + 1, 0) - 1
    return [item.offset - first for item in btrfs.search(fd, btrfs.QUOTA_TREE, (0, 242, first), (0, 242, last))]


def free(place: Path) -> int:
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize


@pytest.mark.parametrize("name", CHECKS)
def test_the_contract(name, disk):
    before = os.listdir(disk)
    run(name, open_driver, disk)
    assert os.listdir(disk) == before


# What changed


def test_content_of_the_same_size_and_date_is_told(driver):
    file = tree(driver, BASE) / "file"
    file.write_text("before")
    made = file.stat()
    copy = child(driver)

    def change() -> bool:
        (copy / "file").write_text("after!")
        os.utime(copy / "file", ns=(made.st_atime_ns, made.st_mtime_ns))
        return (copy / "file").stat().st_ctime_ns != made.st_ctime_ns

    wait_until(change, "the clock's next tick")
    assert list(driver.changes(TOP)) == [Change("/file", Kind.MODIFIED)]


def test_a_capability_alone_is_told(driver):
    (tree(driver, BASE) / "ping").touch()
    file = child(driver) / "ping"
    before = file.stat().st_ctime_ns

    def change() -> bool:
        os.setxattr(file, "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
        return file.stat().st_ctime_ns != before

    wait_until(change, "the clock's next tick")
    assert list(driver.changes(TOP)) == [Change("/ping", Kind.MODIFIED)]


def test_a_file_changes_with_a_name_it_gets_and_not_with_one_it_loses(driver):
    base = tree(driver, BASE)
    (base / "file").touch()
    (base / "kept").touch()
    os.link(base / "kept", base / "lost")
    copy = child(driver)
    os.link(copy / "file", copy / "name")
    (copy / "lost").unlink()
    assert list(driver.changes(TOP)) == [
        Change("/file", Kind.MODIFIED),
        Change("/lost", Kind.DELETED),
        Change("/name", Kind.ADDED),
    ]


def test_only_what_changed_is_looked_at(driver):
    base = tree(driver, BASE)
    for directory in range(20):
        (base / f"{directory}/deep").mkdir(parents=True)
        for file in range(50):
            (base / f"{directory}/deep/{file}").touch()
    copy = child(driver)
    (copy / "7/deep/3").write_text("changed")
    with opened(str(copy)) as fd:
        driver._write_back(fd)
        found = guide(fd)
    assert found.changed == {(copy / "7/deep/3").stat().st_ino}
    assert sorted(map(sorted, found.inside.values())) == [["3"], ["7"], ["deep"]]
    assert list(driver.changes(TOP)) == [Change("/7/deep/3", Kind.MODIFIED)]


def test_reading_changes_nothing_and_what_is_still_in_memory_is_told(driver):
    (tree(driver, BASE) / "read").write_text("words")
    (tree(driver, BASE) / "written").write_text("words")
    copy = child(driver)
    assert (copy / "read").read_text() == "words"
    with (copy / "written").open("a") as file:
        file.write("more")
        file.flush()
        assert list(driver.changes(TOP)) == [Change("/written", Kind.MODIFIED)]


def test_more_names_than_fit_in_one_answer_of_the_kernel_are_found(driver):
    (tree(driver, BASE) / "d").mkdir()
    (tree(driver, BASE) / "d/file").touch()
    copy = child(driver)
    long = [f"{each:0250}" for each in range(400)]  # 100 kB of names of one inode; after some, in items of another type
    for name in long:
        os.link(copy / "d/file", copy / f"d/{name}")
    os.chmod(copy / "d/file", 0o600)
    assert list(driver.changes(TOP)) == [
        Change("/d", Kind.MODIFIED),
        *(Change(f"/d/{name}", Kind.ADDED) for name in long),
        Change("/d/file", Kind.MODIFIED),
    ]


NAMES = st.sampled_from(["a", "b", "c", "a/a", "a/b", "b/a", "b/b", "a/a/a", "a/b/a", "n"])
ACTS = ["write", "chmod", "mkdir", "remove", "rename", "link", "symlink", "subvolume", "date"]


def act(root: Path, what: str, one: Path, other: Path) -> None:
    match what:
        case "write":
            one.write_text(other.name * 3)
        case "chmod":
            os.chmod(one, 0o710)
        case "mkdir":
            one.mkdir()
        case "remove":
            remove_tree(one) if one.is_dir() and not one.is_symlink() else one.unlink()
        case "rename":
            os.rename(one, other)
        case "link":
            os.link(one, other, follow_symlinks=False)
        case "symlink":
            one.symlink_to(other.name)
        case "subvolume":
            subvolume(one)
        case "date":
            os.utime(one, ns=(1, 1), follow_symlinks=False)


@hypothesis.given(st.lists(st.tuples(st.sampled_from(ACTS), NAMES, NAMES), max_size=12))
@hypothesis.settings(
    max_examples=40, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_the_quick_comparison_finds_what_a_full_one_finds_and_so_would_vfs(layered, acts):
    copy = child(layered)
    try:
        for what, one, other in acts:
            with suppress(OSError):
                act(copy, what, copy / one, copy / other)
        quick = list(layered.changes(TOP))
        full = [found.change for found in compare(str(copy), str(tree(layered, BASE)), None)]
        assert quick == full
        assert quick == list(full_comparison(str(copy), str(tree(layered, BASE)), copy.parent.stat().st_mtime_ns))
    finally:
        layered.remove(TOP)


@pytest.fixture
def layered(driver):
    base = tree(driver, BASE)
    for directory in ("a/a", "a/b", "b"):
        (base / directory).mkdir(parents=True)
    for file in ("c", "a/a/a", "a/b/a", "b/a"):
        (base / file).write_text(file)
    os.link(base / "c", base / "b/b")
    subvolume(base / "n")
    (base / "n/a").touch()
    return driver


# Subvolumes inside layers


def test_a_layer_with_subvolumes_of_its_container_is_removed_with_them(driver, disk):
    before = subvolumes(disk)
    copy = child(driver)
    (copy / "d").mkdir()
    for name in ("one", "d/two", "d/two/three", "one/four"):
        subvolume(copy / name)
        (copy / name / "file").touch()
    with opened(str(copy)) as source, opened(str(copy / "d")) as place:
        btrfs.create_snapshot(source, place, "of itself")
    for name in ("d/two", "one", "."):
        set_readonly(copy / name)
    assert len(subvolumes(disk)) == len(before) + 6
    driver.remove(TOP)
    assert subvolumes(disk) == before


def test_more_subvolumes_than_fit_in_one_answer_of_the_kernel_are_removed(driver, disk):
    before = subvolumes(disk)
    copy = child(driver)
    for each in range(300):
        subvolume(copy / f"{each:0240}")
    driver.remove(TOP)
    assert subvolumes(disk) == before


def test_a_child_gets_the_subvolumes_of_its_parent(driver):
    base = tree(driver, BASE)
    (base / "var").mkdir()
    subvolume(base / "var/machines")
    subvolume(base / "var/machines/inner")
    (base / "var/machines/inner/file").write_text("words")
    set_readonly(base / "var/machines/inner")
    os.utime(base / "var", ns=(1, 123))
    copy = child(driver)
    assert (copy / "var/machines/inner/file").read_text() == "words"
    assert (copy / "var").stat().st_mtime_ns == 123
    assert list(driver.changes(TOP)) == []
    with pytest.raises(OSError, match="Read-only"):
        (copy / "var/machines/inner/new").touch()
    (copy / "var/machines/new").touch()
    assert list(driver.changes(TOP)) == [
        Change("/var/machines", Kind.MODIFIED),
        Change("/var/machines/new", Kind.ADDED),
    ]
    assert not (base / "var/machines/new").exists()


def test_what_stands_for_a_subvolume_in_a_snapshot_has_the_time_of_the_look_and_is_copied_all_the_same(
    driver, tmp_path, meter
):
    outer = tree(driver, BASE) / "outer"
    subvolume(outer)
    subvolume(outer / "inner")
    with opened(str(outer)) as source, opened(str(outer.parent)) as directory:
        btrfs.create_snapshot(source, directory, "snapshot")
    mirror(str(outer.parent), str(tmp_path), (), meter)
    assert not compare_trees((str(outer.parent), ""), (str(tmp_path), ""), Known(), meter)


def test_a_layer_half_removed_is_finished_when_the_driver_is_opened(driver, root, disk):
    subvolume(child(driver) / "inner")
    os.rename(root / TOP, root / f"removing-{TOP}")
    open_driver(root, {}).close()
    assert sorted(os.listdir(root)) == [BASE]
    assert not any(TOP in each for each in subvolumes(disk))


def test_layers_are_removed_where_only_a_part_of_the_filesystem_is_mounted(tmp_path):
    image = tmp_path / "disk.img"
    make_disk(image, 256 * MIB)
    with mounted(image, tmp_path / "whole") as whole:
        subvolume(whole / "part")
    with mounted(image, tmp_path / "some", "subvol=part") as some:
        driver = open_driver(some, {})
        driver.create(BASE, None)
        copy = child(driver)
        subvolume(copy / "inner")
        (copy / "inner/new").touch()
        assert list(driver.changes(TOP)) == [Change("/inner", Kind.ADDED), Change("/inner/new", Kind.ADDED)]
        driver.remove(TOP)
        assert subvolumes(some) == {"part", f"{BASE}/tree"}
        driver.close()


# Limits


@pytest.fixture
def limited(tmp_path):
    """A driver that gives containers 16 MiB, on a disk of its own: quotas are a property of the whole filesystem."""
    with btrfs_disk(tmp_path, 512 * MIB) as place:
        driver = open_driver(place, {"size": "16M"})
        driver.create(BASE, None)
        yield driver
        driver.close()


def test_a_hog_meets_its_limit_and_others_go_on(limited):
    assert fill(tree(limited, BASE) / "image", 40 * MIB) == 0  # an image has no limit
    for key in (TOP, OTHER):
        child(limited, key)
        limited.mounts(key, readonly=False)
    assert fill(tree(limited, TOP) / "hog", 40 * MIB) == errno.EDQUOT
    assert fill(tree(limited, OTHER) / "modest", 8 * MIB) == 0
    (tree(limited, TOP) / "hog").unlink()
    syncfs(tree(limited, TOP))
    assert fill(tree(limited, TOP) / "modest", 8 * MIB) == 0
    assert Change("/modest", Kind.ADDED) in list(limited.changes(TOP))


def test_a_subvolume_made_inside_is_no_way_around_the_limit(limited):
    subvolume(tree(limited, BASE) / "old")
    copy = child(limited)
    limited.mounts(TOP, readonly=False)
    subvolume(copy / "new")
    with opened(str(copy)) as source:
        btrfs.create_snapshot(source, source, "snapshot")
    wrote = [fill(copy / name / "hog", 12 * MIB) for name in ("old", "new", "snapshot")]
    assert wrote == [0, errno.EDQUOT, errno.EDQUOT]


def test_a_limit_goes_with_its_layer(limited, tmp_path):
    copy = child(limited)
    limited.mounts(TOP, readonly=False)
    limited.mounts(TOP, readonly=False)
    subvolume(copy / "inner")
    with opened(str(tmp_path / "disk")) as fd:
        assert limited_subvolumes(fd) == [number(copy)]
        limited.remove(TOP)
        assert limited_subvolumes(fd) == []


def test_a_driver_opened_without_a_limit_removes_layers_that_have_one(limited, tmp_path):
    child(limited)
    limited.mounts(TOP, readonly=False)
    other = open_driver(tmp_path / "disk", {})
    other.remove(TOP)
    other.close()
    with opened(str(tmp_path / "disk")) as fd:
        assert limited_subvolumes(fd) == []


def test_full_quota_groups_are_no_limit_and_refused(tmp_path):
    with btrfs_disk(tmp_path, 256 * MIB) as place:
        subprocess.run(["btrfs", "quota", "enable", place], check=True)
        with pytest.raises(Unsupported, match="full quota groups are on here"):
            open_driver(place, {"size": "1G"})
        driver = open_driver(place, {})
        driver.create(BASE, None)
        driver.remove(BASE)
        driver.close()


# Space and power


def test_on_a_nearly_full_disk_removing_gives_the_space_back_before_it_returns(tmp_path):
    with btrfs_disk(tmp_path, 256 * MIB) as place:
        driver = open_driver(place, {})
        driver.create(BASE, None)
        copy = child(driver)
        assert fill(copy / "big", 512 * MIB) == errno.ENOSPC
        full = free(place)
        driver.remove(TOP)
        assert free(place) > full + 50 * MIB
        assert fill(child(driver) / "big", 50 * MIB) == 0
        driver.close()


def test_with_room_the_space_comes_back_in_the_background(tmp_path):
    with btrfs_disk(tmp_path, 512 * MIB) as place:
        driver = open_driver(place, {})
        driver.create(BASE, None)
        fill(tree(driver, BASE) / "big", 100 * MIB)
        full = free(place)
        driver.remove(BASE)

        def is_back() -> bool:
            with opened(str(place)) as fd:
                btrfs.sync(fd)
            return free(place) > full + 90 * MIB

        wait_until(is_back, "the space of what was removed")
        driver.close()


def test_after_a_power_cut_a_child_is_there_with_its_parent_s_data_and_removed_ones_can_be_finished(tmp_path):
    """The disk as it is at one instant, mounted again: what a power cut leaves."""
    image, after = tmp_path / "disk.img", tmp_path / "after.img"
    make_disk(image, 256 * MIB)
    with mounted(image, tmp_path / "disk", "nodiscard") as place:
        driver = open_driver(place, {})
        driver.create(BASE, None)
        (tree(driver, BASE) / "file").write_text("words")
        syncfs(tree(driver, BASE))
        subvolume(child(driver, OTHER) / "inner")
        child(driver)
        driver.remove(OTHER)
        shutil.copyfile(image, after)
        driver.close()
    with mounted(after, tmp_path / "after") as place:
        driver = open_driver(place, {})
        assert {BASE, TOP} <= set(driver.keys())
        assert (tree(driver, TOP) / "file").read_text() == "words"
        assert list(driver.changes(TOP)) == []
        for key in (TOP, OTHER, BASE):
            driver.remove(key)
        assert os.listdir(place) == []
        driver.close()


def test_a_read_only_filesystem_is_refused_in_words(tmp_path):
    image = tmp_path / "disk.img"
    make_disk(image, 256 * MIB)
    with mounted(image, tmp_path / "disk", "ro") as place:
        with pytest.raises(Unsupported, match="Read-only file system"):
            open_driver(place, {})
