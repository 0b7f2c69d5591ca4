"""What the overlay driver lays down and reads, without a mount: upper layers are made by hand as overlayfs would."""

import os
import stat
from pathlib import Path

import pytest

from trioker.linux.mounts import MOST_DATA, MS_BIND, MS_RDONLY, MS_REMOUNT
from trioker.linux.trees import remove_tree
from trioker.storage.changes import with_parents
from trioker.storage.driver import Change, Kind, Unsupported, Whiteouts
from trioker.testing.driver_suite.files import deepen
from trioker_overlay import open_driver
from trioker_overlay.changes import changes
from trioker_overlay.driver import MAX_LAYERS, Overlay

PROJECT = Path(__file__).parents[2]
BASE, MIDDLE, TOP = "a" * 64, "b" * 64, "c" * 64
DEPTH = 1100


@pytest.fixture
def driver(tmp_path):
    driver = Overlay(tmp_path / "overlay")
    driver.create(BASE, None)
    driver.create(MIDDLE, BASE)
    driver.create(TOP, MIDDLE)
    yield driver
    remove_tree(tmp_path / "overlay")  # pytest cannot remove what is deep


@pytest.fixture
def layers(driver):
    return [driver.unpack_target(key).path for key in (BASE, MIDDLE, TOP)]


def put(root, *paths: str) -> None:
    """Make files, in each layer with another content, and directories where the name ends with a slash."""
    for path in paths:
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir(exist_ok=True) if path.endswith("/") else place.write_text(str(place))


def told(driver) -> list[Change]:
    """As the store hands it on: a directory of a layer may be as old as that below, where both were made within one tick of the clock."""
    return list(with_parents(driver.changes(TOP)))


def hide(path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(path, stat.S_IFCHR, 0)


def make_opaque(path) -> None:
    os.setxattr(path, "trusted.overlay.opaque", b"y")


def test_a_chain_is_mounted_topmost_first_with_names_relative_to_their_directory(driver, tmp_path):
    (mount,) = driver.mounts(TOP, readonly=False)
    assert mount.fstype == "overlay"
    assert mount.directory == str(tmp_path / "overlay" / "l")
    assert mount.data.startswith(f"lowerdir={MIDDLE[:16]}:{BASE[:16]},upperdir=../{TOP}/diff,workdir=../{TOP}/work,")
    for name in (MIDDLE[:16], BASE[:16], f"../{TOP}/diff", f"../{TOP}/work"):
        assert os.path.isdir(os.path.join(mount.directory, name))


def test_a_readonly_view_has_no_upper_directory(driver):
    (mount,) = driver.mounts(TOP, readonly=True)
    assert mount.data.startswith(f"lowerdir=../{TOP}/diff:{MIDDLE[:16]}:{BASE[:16]},")
    assert "upperdir" not in mount.data
    assert mount.flags == MS_RDONLY


def test_a_bottom_layer_is_a_bind_mount(driver, layers):
    (mount,) = driver.mounts(BASE, readonly=False)
    assert (mount.source, mount.fstype, mount.flags) == (str(layers[0]), "none", MS_BIND)
    made, remount = driver.mounts(BASE, readonly=True)
    assert made == mount
    assert remount.flags == MS_REMOUNT | MS_BIND | MS_RDONLY


def test_a_layer_that_is_not_there_has_no_mounts_and_no_children(driver):
    with pytest.raises(FileNotFoundError):
        driver.mounts("d" * 64, readonly=False)
    with pytest.raises(FileNotFoundError):
        driver.create("e" * 64, "d" * 64)


def test_whiteouts_are_unpacked_in_overlay_s_own_form(driver):
    assert driver.unpack_target(TOP).whiteouts is Whiteouts.OVERLAY


def test_the_root_of_a_new_layer_is_its_parent_s(driver, layers):
    os.chmod(layers[2], 0o1770)
    os.utime(layers[2], ns=(5, 7))
    driver.create("d" * 64, TOP)
    found = driver.unpack_target("d" * 64).path.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o1770, 7)


def test_only_a_parent_has_a_short_name_and_loses_it_with_its_tree(driver, tmp_path):
    names = tmp_path / "overlay" / "l"
    assert sorted(os.listdir(names)) == [BASE[:16], MIDDLE[:16]]
    driver.remove(TOP)
    driver.remove(MIDDLE)
    assert os.listdir(names) == [BASE[:16]]
    assert list(driver.keys()) == [BASE]


def test_a_key_that_begins_like_another_s_is_not_mistaken_for_it(driver):
    twin = BASE[:16] + "0" * 48
    driver.create(twin, None)
    with pytest.raises(FileExistsError):
        driver.create("d" * 64, twin)
    driver.remove(twin)
    assert driver.mounts(MIDDLE, readonly=False)[0].data.startswith(f"lowerdir={BASE[:16]},")


def test_removing_twice_and_removing_the_unknown_and_the_half_made_is_welcome(driver, tmp_path):
    driver.remove(TOP)
    driver.remove(TOP)
    half = "d" * 64
    (tmp_path / "overlay" / half / "diff").mkdir(parents=True)
    driver.remove(half)
    assert sorted(driver.keys()) == [BASE, MIDDLE]


@pytest.mark.usefixtures("driver")
def test_opening_finishes_removals_and_drops_names_without_a_tree(tmp_path):
    root = tmp_path / "overlay"
    (root / TOP).rename(root / f"removing-{TOP}")
    (root / "l" / ("f" * 16)).symlink_to(f"../{'f' * 64}/diff")
    Overlay(root)
    assert sorted(os.listdir(root)) == [BASE, MIDDLE, "l"]
    assert sorted(os.listdir(root / "l")) == [BASE[:16], MIDDLE[:16]]


def make_chain(driver, parent: str, length: int) -> str:
    """More layers over ``parent``; returns the topmost."""
    for _ in range(length):
        key = os.urandom(32).hex()
        driver.create(key, parent)
        parent = key
    return parent


def test_an_old_kernel_refuses_a_chain_too_long_for_one_mount_when_it_is_made(driver):
    parent = make_chain(driver, TOP, 220)
    assert len(driver.mounts(parent, readonly=False)[0].data) <= MOST_DATA
    assert len(driver.mounts(parent, readonly=True)[0].data) <= MOST_DATA
    with pytest.raises(Unsupported, match=f"it takes {MOST_DATA} bytes .*since Linux 6.7"):
        make_chain(driver, parent, 10)


def test_as_many_layers_as_overlayfs_stacks_are_taken_and_no_more(tmp_path):
    driver = Overlay(tmp_path / "overlay", long_chains=True)
    driver.create(BASE, None)
    parent = make_chain(driver, BASE, MAX_LAYERS)
    with pytest.raises(Unsupported, match="500 layers are too many"):
        driver.create(TOP, parent)
    assert driver.mounts(parent, readonly=False)[0].data.count(":") == MAX_LAYERS - 1


def test_no_piece_of_a_chain_is_longer_than_xfs_takes_and_together_they_are_the_chain(driver, tmp_path):
    parents = []
    parent = TOP
    for _ in range(125):
        parents.insert(0, parent[:16])
        parent = make_chain(driver, parent, 1)
        home = tmp_path / "overlay" / parent
        pieces = sorted(name for name in os.listdir(home) if name.startswith("lower"))
        assert max(len(os.readlink(home / piece)) for piece in pieces) < 1024
        chain = ":".join([*parents, MIDDLE[:16], BASE[:16]])
        assert driver.mounts(parent, readonly=False)[0].data.startswith(f"lowerdir={chain},upperdir")
    assert pieces == ["lower", "lower1", "lower2"]


def test_a_chain_that_lost_a_piece_does_not_pass_for_a_shorter_one(driver, tmp_path):
    top = make_chain(driver, TOP, 70)
    os.unlink(tmp_path / "overlay" / top / "lower1")
    with pytest.raises(FileNotFoundError):
        driver.mounts(top, readonly=False)


def test_no_recipe_skips_what_a_container_syncs(driver):
    for key in (BASE, TOP):
        for readonly in (False, True):
            assert not any("volatile" in mount.data for mount in driver.mounts(key, readonly=readonly))


def test_only_the_steps_of_a_build_skip_it():
    places = [path for path in (PROJECT / "trioker").rglob("*.py") if "unsynced(" in path.read_text()]
    assert sorted(str(path.relative_to(PROJECT)) for path in places) == [
        "trioker/engine/steps.py",
        "trioker/linux/mounts.py",
    ]
    assert "volatile" not in (PROJECT / "trioker/engine/steps.py").read_text()


def test_a_size_is_refused_with_what_is_missing(tmp_path):
    with pytest.raises(Unsupported, match=r"^size= needs xfs with project quotas, and "):
        open_driver(tmp_path, {"size": "10G"})
    with pytest.raises(Unsupported, match=r"/proc is on proc; btrfs can limit its layers too \(-s btrfs\)$"):
        open_driver(Path("/proc"), {"size": "10G"})


@pytest.mark.parametrize(
    ("options", "why"), [({"size": "10 GB"}, "'10 GB' is not a size"), ({"colour": "1"}, "'colour'")]
)
def test_an_option_that_cannot_be_understood_is_refused_by_name(tmp_path, options, why):
    with pytest.raises(ValueError, match=why):
        open_driver(tmp_path, options)


def test_usage_is_the_layer_s_own(driver, layers):
    (layers[0] / "below").write_bytes(b"12345678")
    (layers[2] / "own").write_bytes(b"123")
    hide(layers[2] / "below")
    assert driver.usage(TOP) == (3, 2)


class TestChanges:
    def test_added_modified_and_deleted_are_told_apart(self, driver, layers):
        base, middle, top = layers
        put(base, "etc/passwd", "etc/hosts", "usr/bin/tool")
        put(middle, "etc/group")
        put(top, "etc/passwd", "etc/group", "etc/new", "var/log/")
        hide(top / "etc" / "hosts")
        hide(top / "usr" / "bin")
        assert told(driver) == [
            Change("/etc", Kind.MODIFIED),
            Change("/etc/group", Kind.MODIFIED),
            Change("/etc/hosts", Kind.DELETED),
            Change("/etc/new", Kind.ADDED),
            Change("/etc/passwd", Kind.MODIFIED),
            Change("/usr", Kind.MODIFIED),
            Change("/usr/bin", Kind.DELETED),
            Change("/var", Kind.ADDED),
            Change("/var/log", Kind.ADDED),
        ]

    def test_nothing_changed_is_an_empty_list(self, driver, layers):
        put(layers[0], "etc/passwd")
        assert told(driver) == []

    def test_what_a_lower_layer_deleted_comes_back_as_added(self, driver, layers):
        base, middle, top = layers
        put(base, "file", "dir/old")
        hide(middle / "file")
        hide(middle / "dir")
        put(top, "file", "dir/old")
        kinds = {change.kind for change in driver.changes(TOP)}
        assert kinds == {Kind.ADDED}

    def test_a_whiteout_over_nothing_is_no_change(self, driver, layers):
        _, middle, top = layers
        hide(middle / "file")
        hide(top / "file")
        hide(top / "never")
        assert told(driver) == []

    def test_a_file_where_the_image_had_a_directory_is_one_modification(self, driver, layers):
        put(layers[0], "x/inside")
        put(layers[2], "x")
        assert told(driver) == [Change("/x", Kind.MODIFIED)]

    def test_a_directory_where_the_image_had_a_file_has_new_entries(self, driver, layers):
        base, middle, top = layers
        put(base, "x/deep")
        (middle / "x").touch()
        put(top, "x/deep")
        assert told(driver) == [Change("/x", Kind.MODIFIED), Change("/x/deep", Kind.ADDED)]

    def test_symlinks_of_the_image_are_not_followed_in_looking_up(self, driver, layers):
        base, _, top = layers
        put(base, "real/file")
        (base / "link").symlink_to("real")
        put(top, "link/file")
        assert told(driver) == [Change("/link", Kind.MODIFIED), Change("/link/file", Kind.ADDED)]

    def test_odd_names_and_kinds_pass(self, driver, layers):
        top = layers[2]
        os.mkdir(os.fsencode(top) + b"/\xff\n")
        os.mkfifo(top / "fifo")
        (top / "loop").symlink_to("loop")
        found = [os.fsencode(change.path) for change in driver.changes(TOP)]
        assert found == [b"/fifo", b"/loop", b"/\xff\n"]

    def test_more_directories_in_one_another_than_a_stack_holds(self, driver, layers):
        deepen(layers[0], DEPTH)
        deepen(layers[2], DEPTH, "file")
        before = len(os.listdir("/proc/self/fd"))
        found = [change for change in driver.changes(TOP) if change.kind is Kind.ADDED]
        assert len(found) == DEPTH
        assert len(os.listdir("/proc/self/fd")) == before

    def test_entries_that_vanish_during_the_walk_are_no_error(self, driver, layers):
        top = layers[2]
        put(top, "a/one", "b/two", "c/three")
        walk = driver.changes(TOP)
        assert next(walk).path == "/a"
        (top / "a" / "one").unlink()
        (top / "a").rmdir()
        (top / "b" / "two").unlink()
        (top / "b").rmdir()
        assert [change.path for change in walk] == ["/c", "/c/three"]

    def test_an_abandoned_walk_leaves_no_descriptor(self, driver, layers):
        put(layers[2], "a/one", "b")
        before = len(os.listdir("/proc/self/fd"))
        walk = driver.changes(TOP)
        next(walk)
        walk.close()
        assert len(os.listdir("/proc/self/fd")) == before

    def test_a_bottom_layer_is_all_added(self, layers):
        put(layers[0], "dir/file")
        assert list(changes(str(layers[0]), [])) == [Change("/dir", Kind.ADDED), Change("/dir/file", Kind.ADDED)]


@pytest.mark.root
class TestOpaqueDirectories:
    """The mark is a trusted attribute, which needs CAP_SYS_ADMIN."""

    def test_entries_that_did_not_come_back_are_deleted(self, driver, layers):
        base, middle, top = layers
        put(base, "d/kept", "d/gone", "d/sub/deep/x", "d/sub/kept")
        put(middle, "d/late")
        hide(middle / "d" / "gone")
        put(top, "d/kept", "d/new", "d/sub/kept")
        make_opaque(top / "d")
        assert told(driver) == [
            Change("/d", Kind.MODIFIED),
            Change("/d/kept", Kind.MODIFIED),
            Change("/d/late", Kind.DELETED),
            Change("/d/new", Kind.ADDED),
            Change("/d/sub", Kind.MODIFIED),
            Change("/d/sub/deep", Kind.DELETED),
            Change("/d/sub/kept", Kind.MODIFIED),
        ]

    def test_what_an_opaque_directory_of_the_image_hides_was_not_there(self, driver, layers):
        base, middle, top = layers
        put(base, "d/old")
        put(middle, "d/")
        make_opaque(middle / "d")
        put(top, "d/old")
        assert told(driver) == [Change("/d", Kind.MODIFIED), Change("/d/old", Kind.ADDED)]
