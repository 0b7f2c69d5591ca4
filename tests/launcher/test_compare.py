import os
import time

import pytest

from trioker.launcher.compare import Known, compare

LATER = 2**62
"""Nanoseconds: after every change in these tests."""
LARGE = 1_000_000


@pytest.fixture
def four(tmp_path):
    """A tree and its copy, each over another; the upper ones show the lower ones' file as an overlay does, as the same inode."""
    for name in ("old", "old-below", "new", "new-below"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, ns=(1, 1))
    for side in ("old", "new"):
        below, tree = tmp_path / f"{side}-below", tmp_path / side
        (below / "file").write_bytes(b"x" * LARGE)
        os.utime(below / "file", ns=(1, 1))
        os.link(below / "file", tree / "file")
        settle(below, tree)
    return tmp_path


def settle(*directories):
    for each in directories:
        os.utime(each, ns=(1, 1))


def result(place, known, meter):
    old, new = ((str(place / side), str(place / f"{side}-below")) for side in ("old", "new"))
    return compare(old, new, known, meter)


def test_what_both_have_from_below_is_not_read(four, meter):
    assert result(four, Known(since=LATER), meter) == ""
    assert meter.bytes == 0


@pytest.mark.parametrize("known", [Known(since=0), Known(since=LATER, touched=frozenset(["/file"]))])
def test_it_is_read_where_it_was_touched_or_changed_since_the_copy_was_begun(four, meter, known):
    assert result(four, known, meter) == ""
    assert meter.bytes == 2 * LARGE


@pytest.mark.parametrize("side", ["old", "new"])
def test_a_file_that_only_one_of_the_trees_has_from_below_is_read(four, meter, side):
    (four / side / "file").unlink()
    (four / side / "file").write_bytes(b"x" * LARGE)
    os.utime(four / side / "file", ns=(1, 1))
    settle(four / side)
    assert result(four, Known(since=LATER), meter) == ""
    assert meter.bytes == 2 * LARGE


def test_a_copy_whose_making_wrote_into_the_tree_below_is_found(four, meter):
    begun = time.time_ns() + 10**9
    assert result(four, Known(since=begun), meter) == ""
    with (four / "new-below/file").open("r+b") as file:
        file.write(b"y")
    os.utime(four / "new-below/file", ns=(1, 1))
    changed = (four / "new-below/file").stat().st_ctime_ns
    assert result(four, Known(since=changed), meter) == "/file"


@pytest.mark.parametrize(("missing", "path"), [("new", "/sub/a"), ("old", "/sub/b")])
def test_the_first_entry_that_is_missing_or_too_many_is_told(four, meter, missing, path):
    for side in ("old", "new"):
        (four / side / "sub").mkdir()
        for name in "ab":
            if not (side == missing and path.endswith(name)):
                (four / side / "sub" / name).touch()
                os.utime(four / side / "sub" / name, ns=(1, 1))
        settle(four / side / "sub", four / side)
    assert result(four, Known(), meter) == path


def test_a_directory_that_became_a_file_is_told(four, meter):
    (four / "old/sub").mkdir()
    (four / "new/sub").touch()
    settle(four / "old", four / "new")
    assert result(four, Known(), meter) == "/sub"
