import os
from pathlib import Path

import pytest

from trioker.linux import trees
from trioker.testing.driver_suite.files import deepen

DEPTH = 2000
"""Twice Python's recursion limit, and with these names twice the longest path."""


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def make_strange_entries(root: Path) -> None:
    (root / "new\nline").touch()
    Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe")).mkdir()
    os.mkfifo(root / "fifo")
    (root / "loop").symlink_to("loop")
    (root / "up").symlink_to("..")


def test_a_tree_deeper_than_the_recursion_limit_is_measured_and_removed(tmp_path):
    root = tmp_path / "tree"
    root.mkdir()
    deepen(root, DEPTH, "file")
    before = open_descriptors()
    assert trees.measure(root) == trees.Size(0, 2 * DEPTH)
    trees.remove_tree(root)
    assert not root.exists()
    assert open_descriptors() == before


def test_strange_names_and_kinds_are_counted_and_removed(tmp_path):
    root = tmp_path / "tree"
    root.mkdir()
    make_strange_entries(root)
    assert trees.measure(root) == trees.Size(0, 5)
    trees.remove_tree(root)
    assert list(tmp_path.iterdir()) == []


def test_a_hard_link_is_measured_once(tmp_path):
    (tmp_path / "one").write_bytes(b"12345")
    os.link(tmp_path / "one", tmp_path / "two")
    assert trees.measure(tmp_path) == trees.Size(5, 2)


def test_removing_follows_no_symlink(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").touch()
    root = tmp_path / "tree"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    trees.remove_tree(root)
    assert (tmp_path / "outside" / "kept").exists()


def test_a_symlink_is_not_a_tree(tmp_path):
    (tmp_path / "link").symlink_to("/")
    with pytest.raises(NotADirectoryError):
        trees.remove_tree(tmp_path / "link")


def test_removing_nothing_is_no_error(tmp_path):
    trees.remove_tree(tmp_path / "nothing")
    trees.discard(tmp_path, "nothing")


def test_an_interrupted_removal_is_finished_by_the_sweep(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").touch()
    os.rename(tmp_path / "a", tmp_path / f"{trees.REMOVING}a")
    (tmp_path / "b").mkdir()
    trees.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_discarded_tree_is_gone(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    trees.discard(tmp_path, "a")
    assert list(tmp_path.iterdir()) == []


def test_a_tree_is_there_when_it_is_whole(tmp_path):
    with trees.making(tmp_path, "a") as path:
        Path(path, "file").touch()
        assert not (tmp_path / "a").exists()
    assert [str(each.relative_to(tmp_path)) for each in sorted(tmp_path.rglob("*"))] == ["a", "a/file"]


def test_nothing_stays_of_a_tree_that_could_not_be_made_or_is_there_already(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(IsADirectoryError), trees.making(tmp_path, "c") as path:
        Path(path).write_bytes(b"")
    with pytest.raises(OSError, match="not empty"), trees.making(tmp_path, "a"):
        pass
    assert [str(each.relative_to(tmp_path)) for each in sorted(tmp_path.rglob("*"))] == ["a", "a/b"]


def test_a_tree_whose_making_was_interrupted_is_removed_by_the_sweep(tmp_path):
    maker = trees.making(tmp_path, "a")
    Path(maker.__enter__(), "file").touch()
    trees.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_names_come_in_the_order_of_their_bytes(tmp_path):
    for name in (b"z", "é".encode(), b"\xff", "𝄞".encode(), b"Z", b"a b"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    with trees.Cursor(tmp_path) as cursor:
        found = [os.fsencode(name) for name in trees.names(cursor.fd)]
    assert found == sorted(found)
    assert len(found) == 6


class TestACursorInAMovingTree:
    def test_returns_to_where_it_came_from_after_the_directory_was_moved_away(self, tmp_path):
        (tmp_path / "tree" / "a" / "b").mkdir(parents=True)
        (tmp_path / "outside").mkdir()
        with trees.Cursor(tmp_path / "tree") as cursor:
            assert cursor.enter("a")
            assert cursor.enter("b")
            (tmp_path / "tree" / "a" / "b").rename(tmp_path / "outside" / "b")
            assert cursor.leave()
            assert os.path.samestat(os.fstat(cursor.fd), (tmp_path / "tree" / "a").stat())

    def test_tells_that_the_directory_above_is_gone_and_goes_on_above_that(self, tmp_path):
        (tmp_path / "tree" / "a" / "b").mkdir(parents=True)
        with trees.Cursor(tmp_path / "tree") as cursor:
            assert cursor.enter("a")
            assert cursor.enter("b")
            (tmp_path / "tree" / "a" / "b").rename(tmp_path / "b")
            (tmp_path / "tree" / "a").rmdir()
            assert not cursor.leave()
            assert cursor.leave()
            assert os.path.samestat(os.fstat(cursor.fd), (tmp_path / "tree").stat())

    def test_does_not_enter_a_directory_that_became_a_symlink(self, tmp_path):
        (tmp_path / "link").symlink_to("/etc")
        with trees.Cursor(tmp_path) as cursor:
            assert not cursor.enter("link")
            assert not cursor.enter("nothing")
            assert os.path.samestat(os.fstat(cursor.fd), tmp_path.stat())
