import os
import random
import stat
from pathlib import Path

import pytest

from trioker.launcher.compare import Known, compare
from trioker.launcher.meter import Meter
from trioker.launcher.mirror import mirror

NAMES = (b"a", b"b", b"line\nbreak", b"odd\xff", b"c", b"d")


@pytest.fixture
def trees(tmp_path):
    """Two empty ones, with no set-group-id or ACL to inherit."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    return old, new


def grow(place: Path, seed: int) -> None:
    """A small tree where the same names are other things with another seed."""
    dice = random.Random(seed)
    files: list[bytes] = []
    _fill(os.fsencode(place), dice, files, depth=0)


def _fill(directory: bytes, dice: random.Random, files: list[bytes], depth: int) -> None:
    for name in dice.sample(NAMES, dice.randrange(1, len(NAMES) + 1)):
        path = directory + b"/" + name
        kind = dice.choice(("file", "file", "link", "symlink", "fifo", "directory", "directory"))
        if kind == "directory" and depth < 3:
            os.mkdir(path)
            _fill(path, dice, files, depth + 1)
        elif kind == "link" and files:
            os.link(dice.choice(files), path)
            continue
        elif kind == "symlink":
            os.symlink(dice.choice(NAMES), path)
        elif kind == "fifo":
            os.mkfifo(path)
        else:
            Path(os.fsdecode(path)).write_bytes(dice.choice((b"", b"one", b"two", b"x" * 300_000)))
            files.append(path)
        if not os.path.islink(path):
            os.chmod(path, dice.choice((0o700, 0o755, 0o4711)))
        os.utime(path, ns=(0, dice.choice((1, 10**18 + 7))), follow_symlinks=False)


def birth(path: Path) -> tuple[int, int]:
    """Another for whatever was made anew or written to."""
    found = path.lstat()
    return found.st_ino, found.st_ctime_ns


def same(one: Path, other: Path, meter: Meter) -> bool:
    return not compare((str(one), ""), (str(other), ""), Known(), meter)


@pytest.mark.parametrize("seed", range(40))
def test_any_tree_becomes_any_other(trees, meter, seed):
    old, new = trees
    grow(old, seed)
    grow(new, seed + 1000)
    mirror(str(old), str(new), (), meter)
    assert same(old, new, meter)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_equal_is_left_alone(trees, meter, seed):
    old, new = trees
    grow(old, seed)
    mirror(str(old), str(new), (), meter)
    before = {path: birth(path) for path in new.rglob("*")}
    (old / "further").write_text("new")
    mirror(str(old), str(new), (), meter)
    assert {path: birth(path) for path in before} == before
    assert same(old, new, meter)


def test_what_was_touched_is_made_anew_though_it_is_equal(trees, meter):
    old, new = trees
    for each in ("touched", "other"):
        (old / each).write_text("same")
    mirror(str(old), str(new), (), meter)
    before = {name: birth(new / name) for name in ("touched", "other")}
    mirror(str(old), str(new), {"/touched"}, meter)
    assert birth(new / "touched") != before["touched"]
    assert birth(new / "other") == before["other"]


def test_a_file_with_one_more_name_is_made_anew_under_all_of_them(trees, meter):
    old, new = trees
    (old / "a").write_text("same")
    os.link(old / "a", old / "b")
    mirror(str(old), str(new), (), meter)
    before = birth(new / "a")
    os.link(old / "a", old / "c")
    mirror(str(old), str(new), (), meter)
    assert {birth(new / name) for name in "abc"} == {birth(new / "a")}
    assert birth(new / "a") != before


def test_names_of_one_file_that_became_two_are_parted(trees, meter):
    old, new = trees
    for name in "ab":
        (old / name).write_text("same")
        os.utime(old / name, ns=(0, 0))
    (new / "a").write_text("same")
    os.utime(new / "a", ns=(0, 0))
    os.link(new / "a", new / "b")
    assert not same(old, new, meter)
    mirror(str(old), str(new), (), meter)
    assert same(old, new, meter)


def test_the_same_size_and_time_hide_no_other_content(trees, meter):
    old, new = trees
    for tree, text in zip(trees, ("one", "two"), strict=True):
        (tree / "file").write_text(text)
        os.utime(tree / "file", ns=(0, 0))
    mirror(str(old), str(new), (), meter)
    assert (new / "file").read_text() == "one"


def test_links_are_made_however_deep_a_name_is(trees, meter):
    old, new = trees
    os.chdir(old)
    for _ in range(30):
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
    Path("deep").write_text("x")
    os.link("deep", "deeper")
    os.chdir("/")
    mirror(str(old), str(new), (), meter)
    assert same(old, new, meter)
    assert os.listdir(new) == ["d" * 200]


def test_holes_stay_holes(trees, meter):
    old, new = trees
    with (old / "sparse").open("wb") as file:
        file.seek(2**30)
        file.write(b"end")
        file.truncate(2**31)
    mirror(str(old), str(new), (), meter)
    found = (new / "sparse").stat()
    assert found.st_size == 2**31
    assert found.st_blocks * 512 < 2**20
    with (new / "sparse").open("rb") as file:
        file.seek(2**30)
        assert file.read(3) == b"end"


def test_a_socket_is_made_too(trees, meter):
    old, new = trees
    os.mknod(old / "socket", stat.S_IFSOCK | 0o600)
    mirror(str(old), str(new), (), meter)
    assert stat.S_ISSOCK((new / "socket").lstat().st_mode)


def test_attributes_are_set_and_taken_away(trees, meter):
    old, new = trees
    for tree, name in zip(trees, ("user.old", "user.new"), strict=True):
        (tree / "file").touch()
        os.utime(tree / "file", ns=(0, 0))
        os.setxattr(tree / "file", name, b"x")
    assert not same(old, new, meter)
    mirror(str(old), str(new), (), meter)
    assert os.listxattr(new / "file") == ["user.old"]


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.chmod(0o600),
        lambda file: os.utime(file, ns=(0, 2)),
        lambda file: (file.write_text("yes"), os.utime(file, ns=(0, 1))),
        lambda file: file.rename(file.with_name("other")),
        lambda file: os.setxattr(file, "user.x", b""),
        lambda file: (file.unlink(), os.symlink("abc", file), os.utime(file, ns=(0, 1), follow_symlinks=False)),
        lambda file: (file.unlink(), os.link(file.with_name("twin"), file)),
    ],
)
def test_no_difference_escapes(trees, meter, change):
    for tree in trees:
        for name in ("file", "twin"):
            (tree / name).write_text("abc")
            (tree / name).chmod(0o755)
            os.utime(tree / name, ns=(0, 1))
    change(trees[1] / "file")
    for tree in trees:
        os.utime(tree, ns=(0, 1))
    assert not same(*trees, meter)


def test_nobody_who_listens_ends_it(trees, stay_here):
    old, new = trees
    (old / "large").write_bytes(bytes(range(256)) * 2**15)
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        mirror(str(old), str(new), (), Meter(writer))
    os.close(writer)
