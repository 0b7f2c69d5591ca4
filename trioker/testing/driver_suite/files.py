"""Files: everything an inode can be comes through a chain, untouched and after a first change in the child."""

import os
import stat
from pathlib import Path

from trioker.storage.driver import Kind
from trioker.testing.driver_suite.trial import BASE, CAP_NET_RAW, MIDDLE, TOP, Trial, expect, fill

DEPTH = 1200
"""Directories in one another: more than Python's recursion limit."""

_MEBIBYTE = 2**20
_LARGEST_ID = 2**32 - 2
"""The last user there is: 2**32 - 1 is nobody (chown(2))."""


def every_kind_of_file_comes_through(trial: Trial) -> None:
    """Regular, link, named pipe, socket and both kinds of device, with mode, owner and device number."""
    base = trial.base("file")
    (base / "link").symlink_to("../../etc/passwd")
    os.lchown(base / "link", 7, 8)
    os.mknod(base / "char", stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(base / "block", stat.S_IFBLK, os.makedev(7, 300))
    os.mkfifo(base / "fifo")
    os.mknod(base / "socket", stat.S_IFSOCK)
    for name, mode in (("file", 0o604), ("char", 0o620), ("block", 0o660), ("fifo", 0o640), ("socket", 0o700)):
        os.chmod(base / name, mode)
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        assert os.readlink(root / "link") == "../../etc/passwd"
        assert _owner(root / "link") == (7, 8)
        assert (root / "char").stat().st_rdev == os.makedev(1, 3)
        assert (root / "block").stat().st_rdev == os.makedev(7, 300)
        modes = {name: stat.filemode((root / name).lstat().st_mode) for name in os.listdir(root) if name != "link"}
    assert modes == {
        "file": "-rw----r--",
        "char": "crw--w----",
        "block": "brw-rw----",
        "fifo": "prw-r-----",
        "socket": "srwx------",
    }
    assert trial.changes(TOP) == []


def owners_are_kept(trial: Trial) -> None:
    """Of files, links and directories, up to the largest id; a change in the child is its own."""
    base = trial.base("dir/file")
    (base / "link").symlink_to("dir")
    for path, owner in (
        ("dir/file", (1000, 1001)),
        ("dir", (_LARGEST_ID, 5)),
        ("link", (7, _LARGEST_ID)),
        (".", (3, 4)),
    ):
        os.chown(base / path, *owner, follow_symlinks=False)
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        assert [_owner(root / path) for path in (".", "dir", "dir/file", "link")] == [
            (3, 4),
            (_LARGEST_ID, 5),
            (1000, 1001),
            (7, _LARGEST_ID),
        ]
        os.chown(root / "dir/file", 0, 0)
    with trial.shown(TOP) as root:
        assert _owner(root / "dir/file") == (0, 0)
    assert _owner(base / "dir/file") == (1000, 1001)


def _owner(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_uid, found.st_gid


def setuid_bits_are_kept(trial: Trial) -> None:
    """Set-user-ID, set-group-ID and the sticky bit, in every child and after a change that does not concern them."""
    base = trial.base("su", "wall", "tmp/file")
    modes = {"su": 0o4755, "wall": 0o2755, "tmp": 0o1777}
    for name, mode in modes.items():
        os.chown(base / name, 1000, 1000)
        os.chmod(base / name, mode)
    trial.driver.create(MIDDLE, BASE)
    trial.driver.create(TOP, MIDDLE)
    for _ in range(2):
        with trial.shown(TOP) as root:
            assert {name: stat.S_IMODE((root / name).stat().st_mode) for name in modes} == modes
            for name in modes:
                os.utime(root / name, ns=(1, 1))


def times_are_kept_to_the_nanosecond(trial: Trial) -> None:
    """Of files, directories and links; before 1970 too."""
    base = trial.base("file", "dir/inside", "old")
    (base / "link").symlink_to("file")
    wanted = {"file": 123_456_789, "dir": 1_000_000_000_000_000_001, "link": 987_654_321, "old": -3_000_000_001}
    for name, when in wanted.items():
        os.utime(base / name, ns=(when, when), follow_symlinks=False)
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        assert {name: (root / name).lstat().st_mtime_ns for name in wanted} == wanted
        os.chmod(root / "file", 0o600)
        assert (root / "file").stat().st_mtime_ns == wanted["file"]
    with trial.shown(TOP) as root:
        assert {name: (root / name).lstat().st_mtime_ns for name in wanted} == wanted


def attributes_and_capabilities_are_kept(trial: Trial) -> None:
    """Extended attributes of files and directories, file capabilities among them; a change of the mode takes none away."""
    base = trial.base("ping", "dir/file")
    os.setxattr(base / "ping", "security.capability", CAP_NET_RAW)
    os.setxattr(base / "dir", "trusted.colour", b"blue\x00\xff")
    trial.driver.create(TOP, BASE)
    for mode in (0o755, 0o700):
        with trial.shown(TOP) as root:
            assert os.getxattr(root / "ping", "security.capability") == CAP_NET_RAW
            assert os.getxattr(root / "dir", "trusted.colour") == b"blue\x00\xff"
            os.chmod(root / "ping", mode)
            os.chmod(root / "dir", mode)


def attributes_can_be_changed_in_a_child(trial: Trial) -> None:
    """Set, replaced and removed there, and only there."""
    base = trial.base("file")
    for name in ("kept", "replaced", "removed"):
        os.setxattr(base / "file", f"trusted.{name}", b"old")
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        os.setxattr(root / "file", "trusted.replaced", b"new")
        os.removexattr(root / "file", "trusted.removed")
    with trial.shown(TOP) as root:
        found = {name: os.getxattr(root / "file", name) for name in os.listxattr(root / "file")}
        assert found.get("trusted.kept") == b"old"
        assert found.get("trusted.replaced") == b"new"
        assert "trusted.removed" not in found
    assert os.getxattr(base / "file", "trusted.removed") == b"old"


def hard_links_stay_together(trial: Trial) -> None:
    """Names of one file, in different directories and of a symlink too, are names of one file in every child."""
    base = trial.base("file", "dir/other")
    os.link(base / "file", base / "dir/same")
    (base / "link").symlink_to("file")
    os.link(base / "link", base / "dir/link", follow_symlinks=False)
    trial.driver.create(MIDDLE, BASE)
    trial.driver.create(TOP, MIDDLE)
    with trial.shown(TOP) as root:
        assert (root / "file").samefile(root / "dir/same")
        assert (root / "file").stat().st_nlink == 2
        assert (root / "link").lstat().st_ino == (root / "dir/link").lstat().st_ino
    assert trial.changes(TOP) == []


def a_file_of_the_image_can_get_another_name(trial: Trial) -> None:
    """A hard link across layers: one file afterwards, whichever name it is written by."""
    trial.base("file")
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        os.link(root / "file", root / "again")
        (root / "again").write_text("anew")
    with trial.shown(TOP) as root:
        assert (root / "file").samefile(root / "again")
        assert (root / "file").read_text() == "anew"
    expect(trial.changes(TOP), ("/again", Kind.ADDED), ("/file", Kind.MODIFIED))
    trial.expect_whole(BASE, "file")


def holes_stay_holes(trial: Trial) -> None:
    """A sparse file costs its data, in a child and after a first write there too; its size is its size."""
    size, island = 64 * _MEBIBYTE, 32 * _MEBIBYTE
    base = trial.base("file")
    with open(base / "sparse", "wb") as file:
        file.truncate(size)
        file.seek(island)
        file.write(b"island")
    trial.driver.create(TOP, BASE)
    for _ in range(2):
        with trial.shown(TOP) as root, open(root / "sparse", "r+b") as file:
            found = os.fstat(file.fileno())
            assert found.st_size == size
            assert found.st_blocks * 512 < 4 * _MEBIBYTE, f"{found.st_blocks * 512} bytes on the disk for six"
            file.seek(island)
            assert file.read() == b"island".ljust(size - island, b"\0")
            file.seek(0)
            file.write(b"more")
    assert trial.driver.usage(BASE).size == size + len("file")


def hostile_names_and_depths_are_harmless(trial: Trial) -> None:
    """Undecodable names, newlines, links in circles, more directories in one another than a stack or a path can hold."""
    trial.base("file")
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        os.mkdir(os.fsencode(root) + b"/\xff\n")
        (root / "circle").symlink_to("circle")
        (root / "out").symlink_to("/etc")
        deepen(root, DEPTH)
    found = trial.changes(TOP)
    assert [os.fsencode(change.path) for change in found if change.path.count("/") == 1] == [
        b"/circle",
        b"/deep",
        b"/out",
        b"/\xff\n",
    ]
    assert len(found) == DEPTH + 3
    assert trial.driver.usage(TOP).entries >= DEPTH + 3


def names_of_any_bytes_come_through(trial: Trial) -> None:
    """Every byte a name may have, the longest name, and what quoting and mount options stumble over."""
    names = [bytes([byte]) for byte in range(1, 256) if byte not in b"/."]
    names += [b"\xff" * 255, b"a,b:c\\d", b"lowerdir=x", b"-rf", b"\xe2\x80\xae", b".wh", b"..."]
    trial.driver.create(BASE, None)
    base = os.fsencode(trial.driver.unpack_target(BASE).path)
    for name in names:
        _write(base + b"/" + name, name)
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        place = os.fsencode(root)
        assert sorted(os.listdir(place)) == sorted(names)
        for name in names:
            assert Path(os.fsdecode(place + b"/" + name)).read_bytes() == name
            _write(place + b"/" + name, b"anew " + name)
    found = [(os.fsencode(change.path), change.kind) for change in trial.changes(TOP)]
    assert found == [(b"/" + name, Kind.MODIFIED) for name in sorted(names)]


def _write(path: bytes, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


def deepen(root: Path, depth: int, file: str = "") -> None:
    """Make so many directories in one another, each with an empty ``file`` beside the next."""
    fd = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        if file:
            os.close(os.open(file, os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.mkdir("deep", dir_fd=fd)
        below = os.open("deep", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)


def the_size_of_a_layer_is_that_of_a_walk(trial: Trial) -> None:
    """``usage`` of a bottom layer: apparent bytes of regular files, a hard link once; entries without the root. What du(1) counts."""
    base = trial.base("file", "dir/sub/file")
    os.link(base / "file", base / "dir/same")
    (base / "link").symlink_to("file")
    os.mkfifo(base / "fifo")
    os.truncate(base / "file", 10_000)
    assert trial.driver.usage(BASE) == (10_000 + len("dir/sub/file"), 7)


def the_size_of_a_child_is_what_it_holds(trial: Trial) -> None:
    """At least what was written there, at most the whole tree."""
    base = trial.base("big", "small")
    os.truncate(base / "big", 100_000)
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        fill(root, "dir/new")
        (root / "small").write_bytes(b"x" * 1000)
    size, entries = trial.driver.usage(TOP)
    own, tree = 1000 + len("dir/new"), 100_000 + 1000 + len("dir/new")
    assert own <= size <= tree, f"usage() said {size} bytes, which should be {own} to {tree}"
    assert 3 <= entries <= 4, f"usage() said {entries} entries of three or four"


CHECKS = (
    every_kind_of_file_comes_through,
    owners_are_kept,
    setuid_bits_are_kept,
    times_are_kept_to_the_nanosecond,
    attributes_and_capabilities_are_kept,
    attributes_can_be_changed_in_a_child,
    hard_links_stay_together,
    a_file_of_the_image_can_get_another_name,
    holes_stay_holes,
    hostile_names_and_depths_are_harmless,
    names_of_any_bytes_come_through,
    the_size_of_a_layer_is_that_of_a_walk,
    the_size_of_a_child_is_what_it_holds,
)
