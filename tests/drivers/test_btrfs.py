"""What the btrfs driver decides without a btrfs: options, refusals, and comparing two directories with and without a guide."""

import os
from pathlib import Path

import pytest

from trioker.storage.driver import Change, Kind, Unsupported, Usage
from trioker_btrfs import open_driver
from trioker_btrfs.changes import compare, measure
from trioker_btrfs.guide import Guide

OLD = 1_000_000_000_123_456_789


@pytest.fixture
def trees(tmp_path):
    """Now and before, as a snapshot has them: the same inodes, here by hard links."""
    before, now = tmp_path / "before", tmp_path / "now"
    for root in (before, now):
        (root / "dir").mkdir(parents=True)
    for name in ("one", "dir/two"):
        (before / name).write_text(name)
        os.link(before / name, now / name)
    for root in (before, now):
        os.utime(root / "dir", ns=(OLD, OLD))
    return now, before


def told(now: Path, before: Path | None, guide: Guide | None = None) -> list[Change]:
    return [found.change for found in compare(str(now), before and str(before), guide)]


def test_an_unknown_option_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'colour'"):
        open_driver(tmp_path, {"colour": "green", "size": "1G"})


def test_another_filesystem_is_refused():
    with pytest.raises(Unsupported, match="/proc is not on a btrfs filesystem"):
        open_driver(Path("/proc"), {})


def test_a_root_that_is_not_there_is_unsupported(tmp_path):
    with pytest.raises(Unsupported, match="No such file"):
        open_driver(tmp_path / "nowhere", {})


def test_untouched_trees_have_no_differences(trees):
    assert told(*trees) == []


def test_without_a_parent_everything_is_added(trees):
    assert told(trees[0], None) == [
        Change("/dir", Kind.ADDED),
        Change("/dir/two", Kind.ADDED),
        Change("/one", Kind.ADDED),
    ]


def test_a_file_replaced_by_one_of_the_same_size_and_date_is_modified(trees):
    now, before = trees
    (now / "new").write_text("eno")
    found = (before / "one").stat()
    os.utime(now / "new", ns=(found.st_atime_ns, found.st_mtime_ns))
    os.rename(now / "new", now / "one")
    assert told(now, before) == [Change("/one", Kind.MODIFIED)]


def test_an_attribute_of_a_directory_is_told(trees):
    now, before = trees
    os.setxattr(now / "dir", "user.colour", b"green")
    assert told(now, before) == [Change("/dir", Kind.MODIFIED)]


def test_only_what_a_guide_names_is_looked_at(trees):
    now, before = trees
    os.chmod(now / "dir", 0o700)
    (now / "new").touch()
    assert told(now, before, Guide(frozenset(), {})) == []
    root = now.stat().st_ino
    assert told(now, before, Guide(frozenset(), {root: {"dir"}})) == [Change("/dir", Kind.MODIFIED)]


def test_a_deleted_entry_is_counted_without_bytes_and_a_hard_link_once(trees):
    now, before = trees
    (now / "dir/two").unlink()
    (now / "a").write_text("abc")
    os.link(now / "a", now / "b")
    assert measure(compare(str(now), str(before), None)) == Usage(3, 4)
