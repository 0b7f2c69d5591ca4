"""What makes an entry another than it was."""

import fcntl
import os
import signal
from pathlib import Path

import pytest

from trioker.linux.differences import differs, rewritten

OLD = 1_000_000_000_123_456_789
MEBIBYTE = 2**20


@pytest.fixture
def pair(tmp_path):
    """The same file twice, in ``now`` and ``before``."""
    for name in ("now", "before"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("content")
        os.utime(tmp_path / name / "file", ns=(OLD, OLD))
    return tmp_path / "now/file", tmp_path / "before/file"


def told(pair: tuple[Path, Path]) -> tuple[bool, bool]:
    """Whether they differ, and whether the contents do."""
    now, before = (os.open(each.parent, os.O_RDONLY) for each in pair)
    try:
        old, new = pair[1].lstat(), pair[0].lstat()
        return differs(now, before, "file", old, new), rewritten(now, before, "file", new)
    finally:
        os.close(now)
        os.close(before)


def test_equal_files_do_not_differ_whatever_their_inodes(pair):
    assert told(pair) == (False, False)


def test_contents_are_told_when_nothing_else_is(pair):
    pair[0].write_text("CONTENT")
    os.utime(pair[0], ns=(OLD, OLD))
    assert told(pair) == (False, True)


def test_an_attribute_of_its_own_is_told(pair):
    os.setxattr(pair[0], "user.colour", b"green")
    assert told(pair) == (True, False)


def test_a_name_more_is_told_and_a_name_less_is_not(pair):
    for place, expected in zip(pair, (True, False), strict=True):
        os.link(place, place.with_name("again"))
        assert told(pair)[0] is expected


def test_of_a_directory_names_are_not_counted(tmp_path):
    for name in ("now", "before"):
        (tmp_path / name / "file").mkdir(parents=True)
    (tmp_path / "now/file/inside").mkdir()
    for name in ("now", "before"):
        os.utime(tmp_path / name / "file", ns=(OLD, OLD))
    assert told((tmp_path / "now/file", tmp_path / "before/file")) == (False, False)


def test_a_link_s_target_is_told(pair):
    for place, target in zip(pair, ("one", "two"), strict=True):
        place.unlink()
        place.symlink_to(target)
        os.utime(place, ns=(OLD, OLD), follow_symlinks=False)
    assert told(pair) == (True, False)


def test_holes_are_not_read_and_count_as_zeros(pair):
    for place in pair:
        os.truncate(place, 2**43)
    assert not told(pair)[1]
    with open(pair[0], "r+b") as file:
        file.seek(2**42)
        file.write(bytes(MEBIBYTE))
    assert not told(pair)[1]
    with open(pair[1], "r+b") as file:
        file.seek(2**42 + MEBIBYTE - 1)
        file.write(b"x")
    assert told(pair)[1]


@pytest.mark.parametrize("place", [0, 2**18 - 1, 2**18, 3 * 2**18, MEBIBYTE])
def test_one_byte_anywhere_is_told(pair, place):
    for each in pair:
        each.write_bytes(b"x" * (MEBIBYTE + 1))
    assert not told(pair)[1]
    with open(pair[0], "r+b") as file:
        file.seek(place)
        file.write(b"y")
    assert told(pair)[1]


@pytest.mark.parametrize("replace", [Path.unlink, lambda path: path.unlink() or os.mkfifo(path)])
def test_what_vanished_or_was_replaced_meanwhile_differs_and_is_not_waited_for(pair, replace):
    directories = [os.open(each.parent, os.O_RDONLY) for each in pair]
    open_before = len(os.listdir("/proc/self/fd"))
    found = pair[0].lstat()
    replace(pair[0])
    assert rewritten(*directories, "file", found)
    assert rewritten(*reversed(directories), "file", found)
    assert len(os.listdir("/proc/self/fd")) == open_before
    for each in directories:
        os.close(each)


def test_whoever_holds_a_lease_on_a_file_is_not_waited_for(pair):
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # by which the kernel asks for it
    with open(pair[0], "r+b") as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        assert told(pair) == (False, True)
    signal.signal(signal.SIGIO, before)


def test_the_time_of_access_stays(pair):
    for place in pair:
        os.utime(place, ns=(1, OLD))
    told(pair)
    assert [place.stat().st_atime_ns for place in pair] == [1, 1]
