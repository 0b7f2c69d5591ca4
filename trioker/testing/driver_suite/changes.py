"""``changes``: every kind of difference, told as a walk of both trees would tell it."""

import os
import shutil

from trioker.storage.driver import Change, Kind
from trioker.testing.driver_suite.mutation import Mutator
from trioker.testing.driver_suite.picture import Picture, difference, picture, walk_order
from trioker.testing.driver_suite.trial import BASE, CAP_NET_RAW, MIDDLE, TOP, Trial, expect, fill

_SEEDS = range(6)
_STEPS = 60


def an_untouched_child_has_no_changes(trial: Trial) -> None:
    """Reading and mounting change nothing."""
    trial.base("etc/passwd", "usr/bin/tool")
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        assert (root / "etc/passwd").read_text()
        assert os.listdir(root / "usr")
    assert trial.changes(TOP) == []


def changes_are_told_in_the_order_of_a_walk(trial: Trial) -> None:
    """A directory before its entries, entries by the bytes of their names, nothing below what was deleted."""
    trial.base("a/edited", "a/gone", "a.txt", "old/one", "old/two", "z")
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        (root / "a/edited").write_text("anew")
        (root / "a/gone").unlink()
        (root / "a/new").mkdir()
        (root / "a/new/inside").touch()
        shutil.rmtree(root / "old")
        os.chmod(root / "z", 0o600)
    expect(
        trial.changes(TOP),
        ("/a", Kind.MODIFIED),
        ("/a/edited", Kind.MODIFIED),
        ("/a/gone", Kind.DELETED),
        ("/a/new", Kind.ADDED),
        ("/a/new/inside", Kind.ADDED),
        ("/old", Kind.DELETED),
        ("/z", Kind.MODIFIED),
    )


def a_directory_made_anew_hides_its_old_entries(trial: Trial) -> None:
    """What did not come back is told as deleted."""
    trial.base("d/kept/deep", "d/gone", "d/sub/inside")
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        shutil.rmtree(root / "d")
        fill(root, "d/kept/deep", "d/new")
        os.utime(root / "d/kept", ns=(1, 1))
        os.utime(root / "d/kept/deep", ns=(1, 1))
    with trial.shown(TOP) as root:
        assert sorted(os.listdir(root / "d")) == ["kept", "new"]
    expect(
        trial.changes(TOP),
        ("/d", Kind.MODIFIED),
        ("/d/gone", Kind.DELETED),
        ("/d/kept", Kind.MODIFIED),
        ("/d/kept/deep", Kind.MODIFIED),
        ("/d/new", Kind.ADDED),
        ("/d/sub", Kind.DELETED),
    )


def a_path_that_changes_its_kind_is_modified(trial: Trial) -> None:
    """File to directory, directory to file; entries of the latter are not listed."""
    trial.base("was-dir/inside", "was-file")
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        shutil.rmtree(root / "was-dir")
        (root / "was-dir").touch()
        (root / "was-file").unlink()
        fill(root, "was-file/inside")
    expect(
        trial.changes(TOP),
        ("/was-dir", Kind.MODIFIED),
        ("/was-file", Kind.MODIFIED),
        ("/was-file/inside", Kind.ADDED),
    )


def every_changed_fact_is_a_modification(trial: Trial) -> None:
    """Content, mode, owner, time, an extended attribute, a link's target, a device's number; a directory's mode."""
    names = ("attribute", "content", "dir", "group", "link", "mode", "node", "owner", "size", "time")
    base = trial.base(*(name for name in names if name not in ("dir", "link", "node")))
    (base / "dir").mkdir()
    (base / "link").symlink_to("one")
    os.mknod(base / "node", 0o020600, os.makedev(1, 3))
    for name in names:
        os.utime(base / name, ns=(1, 1), follow_symlinks=False)
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        os.setxattr(root / "attribute", "security.capability", CAP_NET_RAW)
        (root / "content").write_text("CONTENT")
        os.chmod(root / "dir", 0o711)
        os.chown(root / "group", -1, 9)
        (root / "link").unlink()
        (root / "link").symlink_to("two")
        os.chmod(root / "mode", 0o444)
        (root / "node").unlink()
        os.mknod(root / "node", 0o020600, os.makedev(1, 5))
        os.chown(root / "owner", 9, -1)
        os.truncate(root / "size", 1)
        os.utime(root / "time", ns=(1, 2))
    expect(trial.changes(TOP), *((f"/{name}", Kind.MODIFIED) for name in names))


def random_changes_are_told_as_a_walk_of_both_trees_finds_them(trial: Trial) -> None:
    """Two layers of random changes, one over the other: what shows stays what was written, and ``changes`` tells each layer's own."""
    for seed in _SEEDS:
        trial.driver.create(BASE, None)
        Mutator(trial.driver.unpack_target(BASE).path, seed).run(_STEPS)
        with trial.shown(BASE, readonly=True) as root:
            below = picture(root)
        for key, parent in ((MIDDLE, BASE), (TOP, MIDDLE)):
            trial.driver.create(key, parent)
            below = _mutate(trial, key, below, seed + len(_SEEDS) * (key == TOP))
        for key in (TOP, MIDDLE, BASE):
            trial.driver.remove(key)


def _mutate(trial: Trial, key: str, below: Picture, seed: int) -> Picture:
    with trial.shown(key) as root:
        assert picture(root) == below, f"with seed {seed} a child does not show its parent"
        mutator = Mutator(root, seed)
        mutator.run(_STEPS)
        written = picture(root)
    with trial.shown(key, readonly=True) as root:
        assert picture(root) == written, f"with seed {seed} a view does not show what was written"
    _expect_told(trial.changes(key), difference(below, written), mutator, seed)
    return written


def _expect_told(said: list[Change], wanted: list[Change], mutator: Mutator, seed: int) -> None:
    """More may be said only of what was touched: overlayfs copies a directory up for a file inside, and a file for an open."""
    story = f"with seed {seed}, after {mutator.log}"
    missing = [change for change in wanted if change not in said]
    assert not missing, f"changes() does not tell {missing} {story}"
    more = [change for change in said if change not in wanted]
    idle = [change for change in more if change.kind is not Kind.MODIFIED or change.path not in mutator.touched]
    assert not idle, f"changes() tells {idle} {story}"
    assert said == sorted(said, key=walk_order), f"changes() is out of order {story}"


CHECKS = (
    an_untouched_child_has_no_changes,
    changes_are_told_in_the_order_of_a_walk,
    a_directory_made_anew_hides_its_old_entries,
    a_path_that_changes_its_kind_is_modified,
    every_changed_fact_is_a_modification,
    random_changes_are_told_as_a_walk_of_both_trees_finds_them,
)
