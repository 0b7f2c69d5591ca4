"""``changes``: every kind of difference, told as a walk of both trees would tell it."""

import os
import shutil
import time
from pathlib import Path

from trioker.storage.driver import Kind
from trioker.testing.driver_suite.mutation import Mutator
from trioker.testing.driver_suite.picture import Picture, difference, picture
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


def content_under_its_old_date_is_told(trial: Trial) -> None:
    """Bytes of the same number, written deep below; every directory above them is told with them, though none of them is another."""
    base = trial.base("d/e/f/edited", "d/e/same")
    found = os.stat(base / "d/e/f/edited")
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        _let_clock_tick(root, found.st_ctime_ns)
        (root / "d/e/f/edited").write_text("D/E/F/EDITED")
        os.utime(root / "d/e/f/edited", ns=(found.st_atime_ns, found.st_mtime_ns))
    expect(trial.changes(TOP), *((path, Kind.MODIFIED) for path in ("/d", "/d/e", "/d/e/f", "/d/e/f/edited")))


def _let_clock_tick(root: Path, moment: int) -> None:
    """Wait until what is done now is told from what was done then by its time: a few milliseconds."""
    trial, deadline = root / "clock", time.monotonic() + 10
    dated = os.stat(root).st_mtime_ns
    while True:
        trial.touch()
        if os.stat(trial).st_ctime_ns > moment:
            break
        assert time.monotonic() < deadline, "the clock of the filesystem stands still"
    trial.unlink()
    os.utime(root, ns=(dated, dated))


def what_was_touched_and_is_the_same_is_not_told(trial: Trial) -> None:
    """Opened for writing, given the mode, owner and time it had, under two names for a while, replaced by its equal, made anew with its entries."""
    base = trial.base("d/linked", "d/opened", "d/replaced", "d/set", "made/a", "made/b")
    kept = {path: os.stat(base / path) for path in ("made/a", "made/b", "d/replaced", "made", "d")}
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        os.link(root / "d/linked", root / "d/further")
        (root / "d/further").unlink()
        os.close(os.open(root / "d/opened", os.O_RDWR))
        os.chmod(root / "d/set", os.stat(root / "d/set").st_mode & 0o7777)
        os.chown(root / "d/set", 0, 0)
        (root / "d/replaced").unlink()
        shutil.rmtree(root / "made")
        fill(root, "d/replaced", "made/a", "made/b")
        for path, found in kept.items():
            os.utime(root / path, ns=(found.st_atime_ns, found.st_mtime_ns))
    expect(trial.changes(TOP))


def a_file_with_one_name_more_is_modified(trial: Trial) -> None:
    """Else a layer would hold the new name only, and not that both are one file."""
    trial.base("d/file", "e/other")
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        os.link(root / "d/file", root / "e/again")
    expect(
        trial.changes(TOP),
        ("/d", Kind.MODIFIED),
        ("/d/file", Kind.MODIFIED),
        ("/e", Kind.MODIFIED),
        ("/e/again", Kind.ADDED),
    )


def random_changes_are_told_as_a_walk_of_both_trees_finds_them(trial: Trial) -> None:
    """Two layers of random changes, one over the other: what shows stays what was written, and ``changes`` tells each layer's own and no more."""
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
    said, wanted = trial.changes(key), difference(below, written)
    missing, more = (
        [change for change in one if change not in other] for one, other in ((wanted, said), (said, wanted))
    )
    story = f"lacks {missing}, has {more} too many with seed {seed}, after {mutator.log}"
    assert said == wanted, f"changes() is out of order or {story}"
    return written


CHECKS = (
    an_untouched_child_has_no_changes,
    changes_are_told_in_the_order_of_a_walk,
    a_directory_made_anew_hides_its_old_entries,
    a_path_that_changes_its_kind_is_modified,
    every_changed_fact_is_a_modification,
    content_under_its_old_date_is_told,
    what_was_touched_and_is_the_same_is_not_told,
    a_file_with_one_name_more_is_modified,
    random_changes_are_told_as_a_walk_of_both_trees_finds_them,
)
