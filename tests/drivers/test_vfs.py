import os
import stat
from functools import partial
from pathlib import Path

import pytest
from polling import wait_until

from trioker.linux.trees import remove_tree
from trioker.storage.driver import Change, Kind, Unsupported
from trioker.testing.driver_suite.files import deepen
from trioker_vfs import open_driver

BASE, CHILD = "a" * 64, "b" * 64
DEPTH = 1100

OLD = 1_000_000_000_123_456_789
"""Nanoseconds; no clock gives this by chance."""


@pytest.fixture
def driver(tmp_path):
    yield open_driver(tmp_path / "vfs", {})
    remove_tree(tmp_path / "vfs")  # pytest cannot remove what is deep


@pytest.fixture
def base(driver):
    driver.create(BASE, None)
    return driver.unpack_target(BASE).path


def copy_of(driver) -> Path:
    driver.create(CHILD, BASE)
    return driver.unpack_target(CHILD).path


def test_content_mode_owner_and_times_are_copied(driver, base):
    (base / "dir").mkdir()
    (base / "dir" / "file").write_text("words")
    os.chmod(base / "dir" / "file", 0o4711)
    os.chmod(base / "dir", 0o1777)
    os.utime(base / "dir" / "file", ns=(OLD, OLD))
    os.utime(base / "dir", ns=(OLD, OLD + 1))
    os.utime(base, ns=(OLD, OLD + 2))
    copy = copy_of(driver)
    file = (copy / "dir" / "file").stat()
    assert (copy / "dir" / "file").read_text() == "words"
    assert (stat.S_IMODE(file.st_mode), file.st_uid, file.st_mtime_ns) == (0o4711, os.getuid(), OLD)
    assert stat.S_IMODE((copy / "dir").stat().st_mode) == 0o1777
    assert (copy / "dir").stat().st_mtime_ns == OLD + 1
    assert copy.stat().st_mtime_ns == OLD + 2


def test_an_untouched_copy_has_no_changes(driver, base):
    (base / "dir").mkdir()
    (base / "dir" / "link").symlink_to("../nowhere")
    os.mkfifo(base / "fifo")
    copy_of(driver)
    assert list(driver.changes(CHILD)) == []


def test_hard_links_stay_together_and_nothing_is_left_of_the_stash(driver, base, tmp_path):
    (base / "one").write_text("same")
    (base / "dir").mkdir()
    os.link(base / "one", base / "dir" / "two")
    (base / "link").symlink_to("x")
    os.link(base / "link", base / "dir" / "link2", follow_symlinks=False)
    copy = copy_of(driver)
    assert (copy / "one").samefile(copy / "dir" / "two")
    assert (copy / "one").stat().st_nlink == 2
    assert (copy / "link").lstat().st_ino == (copy / "dir" / "link2").lstat().st_ino
    assert sorted(os.listdir(tmp_path / "vfs" / CHILD)) == ["parent", "tree"]


def test_holes_stay_holes(driver, base):
    with open(base / "sparse", "wb") as file:
        file.truncate(64 * 2**20)
        file.seek(32 * 2**20)
        file.write(b"island")
    copy = copy_of(driver) / "sparse"
    assert copy.stat().st_size == 64 * 2**20
    assert copy.stat().st_blocks * 512 < 2**20
    with open(copy, "rb") as file:
        file.seek(32 * 2**20)
        assert file.read(6) == b"island"


def test_attributes_are_copied(driver, base):
    (base / "file").touch()
    os.setxattr(base / "file", "user.colour", b"green")
    (base / "dir").mkdir()
    os.setxattr(base / "dir", "user.colour", b"blue")
    copy = copy_of(driver)
    assert os.getxattr(copy / "file", "user.colour") == b"green"
    assert os.getxattr(copy / "dir", "user.colour") == b"blue"


def test_strange_names_and_kinds_are_copied(driver, base):
    odd = Path(os.fsdecode(os.fsencode(base) + b"/\xff\n"))
    odd.write_text("odd")
    (base / "loop").symlink_to("loop")
    os.mkfifo(base / "fifo", 0o640)
    os.mknod(base / "socket", stat.S_IFSOCK | 0o600)
    copy = copy_of(driver)
    assert sorted(os.listdir(copy)) == sorted(os.listdir(base))
    assert (copy / odd.name).read_text() == "odd"
    assert stat.S_ISFIFO((copy / "fifo").lstat().st_mode)
    assert stat.S_ISSOCK((copy / "socket").lstat().st_mode)


def test_a_tree_deeper_than_the_stack_is_copied_compared_and_removed(driver, base):
    deepen(base, DEPTH, "file")
    copy = copy_of(driver)
    assert driver.usage(CHILD).entries == 2 * DEPTH
    (copy / "new").touch()
    assert list(driver.changes(CHILD)) == [Change("/new", Kind.ADDED)]
    driver.remove(CHILD)
    assert set(driver.keys()) == {BASE}


def test_changes_are_told_in_the_order_of_a_walk(driver, base):
    for name in ("etc/kept", "etc/edited", "gone/inside", "z"):
        (base / name).parent.mkdir(exist_ok=True)
        (base / name).write_text(name)
    copy = copy_of(driver)
    (copy / "etc" / "edited").write_text("anew")
    (copy / "gone" / "inside").unlink()
    (copy / "gone").rmdir()
    (copy / "a" / "b").mkdir(parents=True)
    (copy / "a.txt").touch()
    (copy / "a" / "b" / "c").touch()
    os.chmod(copy / "z", 0o600)
    assert list(driver.changes(CHILD)) == [
        Change("/a", Kind.ADDED),
        Change("/a/b", Kind.ADDED),
        Change("/a/b/c", Kind.ADDED),
        Change("/a.txt", Kind.ADDED),
        Change("/etc/edited", Kind.MODIFIED),
        Change("/gone", Kind.DELETED),
        Change("/z", Kind.MODIFIED),
    ]


def test_a_directory_is_modified_when_an_entry_of_it_came_or_went(driver, base):
    (base / "dir").mkdir()
    os.utime(base / "dir", ns=(OLD, OLD))
    (copy_of(driver) / "dir" / "new").touch()
    assert list(driver.changes(CHILD)) == [Change("/dir", Kind.MODIFIED), Change("/dir/new", Kind.ADDED)]


def test_a_symlink_that_points_elsewhere_is_modified(driver, base):
    (base / "link").symlink_to("one")
    os.utime(base / "link", ns=(OLD, OLD), follow_symlinks=False)
    copy = copy_of(driver)
    (copy / "link").unlink()
    (copy / "link").symlink_to("two")
    os.utime(copy / "link", ns=(OLD, OLD), follow_symlinks=False)
    assert list(driver.changes(CHILD)) == [Change("/link", Kind.MODIFIED)]


def test_attributes_alone_make_a_modification(driver, base):
    for name in ("gained", "lost", "same"):
        (base / name).touch()
    os.setxattr(base / "lost", "user.colour", b"green")
    (base / "dir").mkdir()
    copy = copy_of(driver)
    os.removexattr(copy / "lost", "user.colour")
    for name in ("gained", "dir"):
        os.setxattr(copy / name, "user.colour", b"blue")
    assert list(driver.changes(CHILD)) == [Change(f"/{name}", Kind.MODIFIED) for name in ("dir", "gained", "lost")]


def test_contents_of_the_same_size_under_their_old_date_are_modified(driver, base):
    for name in ("file", "same"):
        (base / name).write_text("old")
        os.utime(base / name, ns=(OLD, OLD))
    copy = copy_of(driver)
    wait_until(
        partial(_is_past, copy / "file", (base.parent.parent / CHILD).stat().st_mtime_ns),
        "the next tick of the file's clock",
    )
    (copy / "file").write_text("new")
    os.utime(copy / "file", ns=(OLD, OLD))
    assert list(driver.changes(CHILD)) == [Change("/file", Kind.MODIFIED)]


def _is_past(file: Path, moment: int) -> bool:
    """Whether a change made to the file now is told from one made then."""
    os.utime(file, ns=(OLD, OLD))
    return file.stat().st_ctime_ns > moment


def test_a_file_changes_with_a_name_it_gets_and_not_with_one_it_loses(driver, base):
    (base / "file").write_text("one")
    (base / "lost").write_text("two")
    os.link(base / "lost", base / "kept")
    copy = copy_of(driver)
    os.link(copy / "file", copy / "same")
    (copy / "lost").unlink()
    assert list(driver.changes(CHILD)) == [
        Change("/file", Kind.MODIFIED),
        Change("/lost", Kind.DELETED),
        Change("/same", Kind.ADDED),
    ]


def test_a_file_that_became_a_directory_is_modified_and_its_entries_are_new(driver, base):
    (base / "x").touch()
    (base / "y").mkdir()
    (base / "y" / "old").touch()
    copy = copy_of(driver)
    (copy / "x").unlink()
    (copy / "x").mkdir()
    (copy / "x" / "new").touch()
    (copy / "y" / "old").unlink()
    (copy / "y").rmdir()
    (copy / "y").touch()
    assert list(driver.changes(CHILD)) == [
        Change("/x", Kind.MODIFIED),
        Change("/x/new", Kind.ADDED),
        Change("/y", Kind.MODIFIED),
    ]


def test_a_layer_without_a_parent_is_all_added(driver, base):
    (base / "dir").mkdir()
    (base / "dir" / "file").touch()
    assert list(driver.changes(BASE)) == [Change("/dir", Kind.ADDED), Change("/dir/file", Kind.ADDED)]


def test_an_option_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'size'"):
        open_driver(tmp_path, {"size": "1"})


def test_a_root_that_cannot_be_made_is_unsupported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Unsupported, match="Not a directory"):
        open_driver(tmp_path / "file" / "vfs", {})
