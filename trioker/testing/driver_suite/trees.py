"""Trees and chains: what a key shows, and what is hidden in it."""

import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from trioker.storage.driver import Change, Kind, Whiteouts
from trioker.testing.driver_suite.trial import BASE, MIDDLE, OTHER, TOP, Trial, expect, fill

_LAYERS = 128
"""More than any image has: the daemons of the time stopped at 127."""


def a_tree_without_a_parent_is_empty(trial: Trial) -> None:
    """And its root is a directory all may enter."""
    trial.driver.create(BASE, None)
    with trial.shown(BASE) as root:
        assert os.listdir(root) == []
        assert stat.S_IMODE(root.stat().st_mode) == 0o755
    assert trial.driver.usage(BASE) == (0, 0)
    assert trial.changes(BASE) == []


def a_child_shows_its_parent_and_keeps_what_is_written(trial: Trial) -> None:
    """The parent is never touched."""
    base = trial.base("etc/kept", "etc/edited", "etc/gone")
    os.chmod(base, 0o751)
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        assert stat.S_IMODE(root.stat().st_mode) == 0o751
        (root / "etc/edited").write_text("anew")
        (root / "etc/gone").unlink()
    with trial.shown(TOP) as root:
        assert sorted(os.listdir(root / "etc")) == ["edited", "kept"]
        assert (root / "etc/edited").read_text() == "anew"
        assert (root / "etc/kept").read_text() == "etc/kept"
    trial.expect_whole(BASE, "etc/edited", "etc/gone", "etc/kept")


def siblings_do_not_see_each_other(trial: Trial) -> None:
    """Two containers of one image."""
    trial.base("file")
    trial.driver.create(TOP, BASE)
    trial.driver.create(OTHER, BASE)
    with trial.shown(TOP) as one, trial.shown(OTHER) as other:
        (one / "file").write_text("mine")
        (other / "new").touch()
        assert (other / "file").read_text() == "file"
        assert os.listdir(one) == ["file"]


def a_readonly_view_cannot_be_written(trial: Trial) -> None:
    """Neither a bottom layer's nor a child's; nor can what is there be edited, changed in mode or deleted."""
    trial.base("file")
    trial.driver.create(TOP, BASE)
    for key in (BASE, TOP):
        with trial.shown(key, readonly=True) as root:
            assert (root / "file").read_text() == "file"
            _expect_refused((root / "new").touch)
            _expect_refused(partial((root / "file").write_text, "anew"))
            _expect_refused(partial(os.chmod, root / "file", 0o600))
            _expect_refused((root / "file").unlink)


def _expect_refused(deed: Callable[[], object]) -> None:
    with suppress(OSError):
        deed()
        raise AssertionError("a read-only view was changed")


def a_running_tree_can_be_viewed_and_measured_meanwhile(trial: Trial) -> None:
    """Export, changes and size of a running container."""
    trial.base("file")
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        (root / "new").write_text("new")
        with trial.shown(TOP, readonly=True) as view:
            assert sorted(os.listdir(view)) == ["file", "new"]
        assert Change("/new", Kind.ADDED) in trial.changes(TOP)
        assert trial.driver.usage(TOP).entries >= 1


def layers_stack(trial: Trial) -> None:
    """A grandchild sees both; what the middle deleted stays deleted and can be made again."""
    trial.base("both", "gone", "dir/gone")
    trial.driver.create(MIDDLE, BASE)
    with trial.shown(MIDDLE) as root:
        (root / "both").write_text("middle")
        (root / "gone").unlink()
        shutil.rmtree(root / "dir")
    trial.driver.create(TOP, MIDDLE)
    with trial.shown(TOP) as root:
        assert os.listdir(root) == ["both"]
        assert (root / "both").read_text() == "middle"
        fill(root, "dir/again", "gone")
        assert os.listdir(root / "dir") == ["again"]
    expect(trial.changes(TOP), ("/dir", Kind.ADDED), ("/dir/again", Kind.ADDED), ("/gone", Kind.ADDED))
    with trial.shown(TOP, readonly=True) as root:
        assert sorted(os.listdir(root)) == ["both", "dir", "gone"]


def a_hundred_and_twenty_eight_layers_stack(trial: Trial) -> None:
    """Each edits what all have, adds a file and deletes the one before: the topmost shows what is left of it, writable and not."""
    keys = [f"{number:04x}" * 16 for number in range(_LAYERS)]
    trial.driver.create(keys[0], None)
    fill(trial.driver.unpack_target(keys[0]).path, "all", "from-0")
    for number in range(1, _LAYERS):
        trial.driver.create(keys[number], keys[number - 1])
        _hide(trial, keys[number], f"from-{number - 1}")
        fill(trial.driver.unpack_target(keys[number]).path, "all", f"from-{number}")
    trial.driver.create(TOP, keys[-1])
    for readonly in (False, True):
        with trial.shown(TOP, readonly=readonly) as root:
            assert sorted(os.listdir(root)) == ["all", f"from-{_LAYERS - 1}"]
    with trial.shown(TOP) as root:
        (root / f"from-{_LAYERS - 1}").unlink()
    expect(trial.changes(TOP), (f"/from-{_LAYERS - 1}", Kind.DELETED))
    for key in (TOP, *reversed(keys)):
        trial.driver.remove(key)


def what_an_image_layer_deletes_is_hidden(trial: Trial) -> None:
    """Whiteouts: a deleted file, link and directory neither show nor come back, and are told as deleted."""
    base = trial.base("gone", "kept", "dir/inside")
    (base / "link").symlink_to("kept")
    trial.driver.create(MIDDLE, BASE)
    for name in ("gone", "link", "dir"):
        _hide(trial, MIDDLE, name)
    trial.driver.create(TOP, MIDDLE)
    for key in (MIDDLE, TOP):
        trial.expect_whole(key, "kept")
    expect(trial.changes(MIDDLE), ("/dir", Kind.DELETED), ("/gone", Kind.DELETED), ("/link", Kind.DELETED))
    assert trial.changes(TOP) == []


def what_an_image_layer_made_opaque_shows_nothing_from_below(trial: Trial) -> None:
    """A directory that a layer replaces holds that layer's entries only."""
    trial.base("dir/gone", "dir/again", "dir/sub/gone")
    trial.driver.create(MIDDLE, BASE)
    _make_opaque(trial, MIDDLE, "dir")
    fill(trial.driver.unpack_target(MIDDLE).path, "dir/again", "dir/new")
    trial.driver.create(TOP, MIDDLE)
    for key in (MIDDLE, TOP):
        trial.expect_whole(key, "dir/again", "dir/new")
    said = trial.changes(MIDDLE)
    for wanted in (("/dir/gone", Kind.DELETED), ("/dir/sub", Kind.DELETED), ("/dir/new", Kind.ADDED)):
        assert wanted in said, f"changes() said {said}"
    assert "/dir/sub/gone" not in {change.path for change in said}


def a_file_can_be_renamed_over_another(trial: Trial) -> None:
    """As every careful editor does; nothing of either old file remains."""
    trial.base("config", "config.new", "dir/file")
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        os.rename(root / "config.new", root / "config")
        os.rename(root / "dir/file", root / "file")
    with trial.shown(TOP) as root:
        assert sorted(os.listdir(root)) == ["config", "dir", "file"]
        assert (root / "config").read_text() == "config.new"
        assert (root / "file").read_text() == "dir/file"
        assert os.listdir(root / "dir") == []
    said = trial.changes(TOP)
    for wanted in (
        ("/config", Kind.MODIFIED),
        ("/config.new", Kind.DELETED),
        ("/dir/file", Kind.DELETED),
        ("/file", Kind.ADDED),
    ):
        assert wanted in said, f"changes() said {said}"


def a_directory_of_the_image_can_be_renamed_or_says_that_it_cannot(trial: Trial) -> None:
    """EXDEV is an honest answer: mv(1) copies then."""
    trial.base("old/file")
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        try:
            os.rename(root / "old", root / "new")
        except OSError:
            shutil.move(root / "old", root / "new")
        assert (root / "new/file").read_text() == "old/file"
    expect(trial.changes(TOP), ("/new", Kind.ADDED), ("/new/file", Kind.ADDED), ("/old", Kind.DELETED))


def a_directory_of_the_child_s_own_can_be_renamed(trial: Trial) -> None:
    """No excuse here: the image has no part in it."""
    trial.base("file")
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        fill(root, "mine/deep/file")
        os.rename(root / "mine", root / "moved")
        os.rename(root / "moved/deep", root / "deep")
    with trial.shown(TOP) as root:
        assert sorted(os.listdir(root)) == ["deep", "file", "moved"]
        assert (root / "deep/file").read_text() == "mine/deep/file"


def _hide(trial: Trial, key: str, path: str) -> None:
    """What the unpacker does with ``.wh.NAME`` in a layer (image-spec, layer.md, "Whiteouts")."""
    target = trial.driver.unpack_target(key)
    place = target.path / path
    if target.whiteouts is Whiteouts.OVERLAY:
        os.mknod(place, stat.S_IFCHR, os.makedev(0, 0))
    else:
        _delete(place)


def _make_opaque(trial: Trial, key: str, path: str) -> None:
    """What the unpacker does with ``.wh..wh..opq``."""
    target = trial.driver.unpack_target(key)
    place = target.path / path
    if target.whiteouts is Whiteouts.REMOVE:
        _delete(place)
    place.mkdir()
    if target.whiteouts is Whiteouts.OVERLAY:
        os.setxattr(place, "trusted.overlay.opaque", b"y")


def _delete(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink()


CHECKS = (
    a_tree_without_a_parent_is_empty,
    a_child_shows_its_parent_and_keeps_what_is_written,
    siblings_do_not_see_each_other,
    a_readonly_view_cannot_be_written,
    a_running_tree_can_be_viewed_and_measured_meanwhile,
    layers_stack,
    a_hundred_and_twenty_eight_layers_stack,
    what_an_image_layer_deletes_is_hidden,
    what_an_image_layer_made_opaque_shows_nothing_from_below,
    a_file_can_be_renamed_over_another,
    a_directory_of_the_image_can_be_renamed_or_says_that_it_cannot,
    a_directory_of_the_child_s_own_can_be_renamed,
)
