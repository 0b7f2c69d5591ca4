# ruff: noqa: S101, S103  asserting and odd modes are what a suite is for
"""The contract of a storage driver, as checks that run over any driver. For outsiders too.

Needs root and the real kernel: the checks make the driver's mounts, each in a mount namespace of its own. ``check(open_driver, root)`` runs
all of them on a directory of the filesystem in question and raises AssertionError from the first that fails; a test suite that wants one
test per promise goes through CHECKS and ``run``::

    @pytest.mark.parametrize("name", CHECKS)
    def test_contract(name, tmp_path):
        run(name, open_driver, tmp_path)
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from trioker.linux import mounts, syscalls
from trioker.linux.private import in_private_mounts
from trioker.storage.driver import Change, Driver, Kind, Lists, OpenDriver

__all__ = ["CHECKS", "check", "run"]

BASE, MIDDLE, TOP, OTHER = ("ba" * 32, "1d" * 32, "70" * 32, "07" * 32)
DEPTH = 1200
"""Directories in one another: more than Python's recursion limit."""


class Trial:
    """A driver under trial, with the little every check needs."""

    def __init__(self, open_driver: OpenDriver, root: Path) -> None:
        self._open, self.root = open_driver, root
        self.driver: Driver = open_driver(root, {})

    def reopen(self) -> None:
        """Close the driver and open its data again."""
        self.driver.close()
        self.driver = self._open(self.root, {})

    def base(self, *files: str) -> Path:
        """Make BASE with these files, each holding its own name; filled as the unpacker fills it."""
        self.driver.create(BASE, None)
        path = self.driver.unpack_target(BASE).path
        fill(path, *files)
        return path

    @contextmanager
    def shown(self, key: str, *, readonly: bool = False) -> Iterator[Path]:
        """The tree ``key``, mounted as a container sees it."""
        with tempfile.TemporaryDirectory(prefix="driver-suite-") as place:
            recipes = self.driver.mounts(key, readonly=readonly)
            mounts.make(recipes, place)
            try:
                yield Path(place)
            finally:
                os.chdir("/")
                syscalls.umount2(place, syscalls.MNT_DETACH)

    def changes(self, key: str) -> list[Change]:
        """What the driver says that differs."""
        return list(self.driver.changes(key))


Check = Callable[[Trial], None]


def check(open_driver: OpenDriver, root: Path) -> None:
    """Run every check, each on a directory of its own in ``root``."""
    for name in CHECKS:
        run(name, open_driver, root)


def run(name: str, open_driver: OpenDriver, root: Path) -> None:
    """Run one check; what it made is removed if it passed. Raises AssertionError, or whatever the driver raised."""
    place = Path(tempfile.mkdtemp(prefix=f"{name[:40]}-", dir=root))

    def work() -> None:
        trial = Trial(open_driver, place)
        CHECKS[name](trial)
        _remove_all(trial)

    in_private_mounts(work)
    shutil.rmtree(place)


def fill(root: Path, *files: str) -> None:
    """Make files holding their own names."""
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def _remove_all(trial: Trial) -> None:
    """Every check ends with the promise of ``remove``."""
    for key in (TOP, OTHER, MIDDLE, BASE):
        trial.driver.remove(key)
    left = [name for _, _, files in os.walk(trial.root) for name in files]
    assert left == [], f"remove() left files: {left}"
    trial.driver.close()


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
    with trial.shown(BASE, readonly=True) as root:
        assert sorted(os.listdir(root / "etc")) == ["edited", "gone", "kept"]
        assert (root / "etc/edited").read_text() == "etc/edited"


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
    """Neither a bottom layer's nor a child's."""
    trial.base("file")
    trial.driver.create(TOP, BASE)
    for key in (BASE, TOP):
        with trial.shown(key, readonly=True) as root:
            assert (root / "file").read_text() == "file"
            with suppress(OSError):
                (root / "new").touch()
                raise AssertionError("a read-only view took a file")


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
    _expect(
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
    _expect(
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
    _expect(
        trial.changes(TOP),
        ("/was-dir", Kind.MODIFIED),
        ("/was-file", Kind.MODIFIED),
        ("/was-file/inside", Kind.ADDED),
    )


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
    _expect(trial.changes(TOP), ("/dir", Kind.ADDED), ("/dir/again", Kind.ADDED), ("/gone", Kind.ADDED))
    with trial.shown(TOP, readonly=True) as root:
        assert sorted(os.listdir(root)) == ["both", "dir", "gone"]


def every_kind_of_file_comes_through(trial: Trial) -> None:
    """With its mode, owner, device number, attributes and nanoseconds."""
    base = trial.base("file")
    os.chown(base / "file", 1000, 1001)
    os.chmod(base / "file", 0o4755)
    os.setxattr(base / "file", "security.capability", _CAP_NET_RAW)
    os.utime(base / "file", ns=(1, 123_456_789))
    (base / "link").symlink_to("../../etc/passwd")
    os.lchown(base / "link", 7, 8)
    os.mknod(base / "device", stat.S_IFCHR | 0o620, os.makedev(1, 3))
    os.mkfifo(base / "fifo")
    os.link(base / "file", base / "same")
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        found = (root / "file").stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1000, 1001, 0o4755)
        assert (found.st_mtime_ns, found.st_nlink) == (123_456_789, 2)
        assert os.getxattr(root / "file", "security.capability") == _CAP_NET_RAW
        assert (root / "file").samefile(root / "same")
        assert os.readlink(root / "link") == "../../etc/passwd"
        assert ((root / "link").lstat().st_uid, (root / "link").lstat().st_gid) == (7, 8)
        assert (root / "device").stat().st_rdev == os.makedev(1, 3)
        assert stat.S_ISFIFO((root / "fifo").stat().st_mode)
    assert trial.changes(TOP) == []


def hostile_names_and_depths_are_harmless(trial: Trial) -> None:
    """Undecodable names, newlines, links in circles, more directories in one another than a stack or a path can hold."""
    trial.base("file")
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        os.mkdir(os.fsencode(root) + b"/\xff\n")
        (root / "circle").symlink_to("circle")
        (root / "out").symlink_to("/etc")
        _deepen(root)
    found = trial.changes(TOP)
    assert [os.fsencode(change.path) for change in found if change.path.count("/") == 1] == [
        b"/circle",
        b"/deep",
        b"/out",
        b"/\xff\n",
    ]
    assert len(found) == DEPTH + 3
    assert trial.driver.usage(TOP).entries >= DEPTH + 3


def a_hard_link_is_measured_once(trial: Trial) -> None:
    """Usage is bytes of files, not of names."""
    base = trial.base("file")
    os.link(base / "file", base / "same")
    assert trial.driver.usage(BASE) == (4, 2)


def data_outlives_the_driver(trial: Trial) -> None:
    """Closed and opened, everything is as it was."""
    trial.base("file")
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        fill(root, "new")
    trial.reopen()
    with trial.shown(TOP) as root:
        assert sorted(os.listdir(root)) == ["file", "new"]
    assert trial.changes(TOP) == [Change("/new", Kind.ADDED)]


def removing_takes_one_tree_and_may_be_repeated(trial: Trial) -> None:
    """Unknown keys are welcome, and so is a key made again."""
    trial.base("file")
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        fill(root, "new")
    trial.driver.remove(TOP)
    trial.driver.remove(TOP)
    trial.driver.remove(OTHER)
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        assert os.listdir(root) == ["file"]


def what_is_there_is_listed(trial: Trial) -> None:
    """For drivers with that ability."""
    if not isinstance(trial.driver, Lists):
        return
    assert set(trial.driver.keys()) == set()
    trial.base("file")
    trial.driver.create(TOP, BASE)
    assert set(trial.driver.keys()) == {BASE, TOP}
    trial.driver.remove(TOP)
    assert set(trial.driver.keys()) == {BASE}


def many_children_are_made_and_removed_at_once(trial: Trial) -> None:
    """From several threads, each its own key."""
    trial.base("file")
    keys = [f"{number:02x}" * 32 for number in range(16)]

    def live(key: str) -> None:
        trial.driver.create(key, BASE)
        assert trial.driver.mounts(key, readonly=False)
        assert trial.changes(key) == []
        trial.driver.remove(key)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(live, keys))
    if isinstance(trial.driver, Lists):
        assert set(trial.driver.keys()) == {BASE}


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
    _expect(trial.changes(TOP), ("/new", Kind.ADDED), ("/new/file", Kind.ADDED), ("/old", Kind.DELETED))


_CAP_NET_RAW = bytes.fromhex("0100000200200000000000000000000000000000")
"""``setcap cap_net_raw+ep``, as the attribute holds it (linux/capability.h, struct vfs_cap_data)."""


def _deepen(root: Path) -> None:
    fd = os.open(root, os.O_RDONLY)
    for _ in range(DEPTH):
        os.mkdir("deep", dir_fd=fd)
        below = os.open("deep", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)


def _expect(found: Sequence[Change], *expected: tuple[str, Kind]) -> None:
    assert [tuple(change) for change in found] == list(expected), f"changes() said {found}"


CHECKS: dict[str, Check] = {
    each.__name__: each
    for each in (
        a_tree_without_a_parent_is_empty,
        a_child_shows_its_parent_and_keeps_what_is_written,
        siblings_do_not_see_each_other,
        a_readonly_view_cannot_be_written,
        a_running_tree_can_be_viewed_and_measured_meanwhile,
        an_untouched_child_has_no_changes,
        changes_are_told_in_the_order_of_a_walk,
        a_directory_made_anew_hides_its_old_entries,
        a_path_that_changes_its_kind_is_modified,
        layers_stack,
        every_kind_of_file_comes_through,
        hostile_names_and_depths_are_harmless,
        a_hard_link_is_measured_once,
        data_outlives_the_driver,
        removing_takes_one_tree_and_may_be_repeated,
        what_is_there_is_listed,
        many_children_are_made_and_removed_at_once,
        a_directory_of_the_image_can_be_renamed_or_says_that_it_cannot,
    )
}
