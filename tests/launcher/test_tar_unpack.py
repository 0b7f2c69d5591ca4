"""Unpacking without root: archives of this user's own files, into a directory that confines nothing."""

import os
import stat
import subprocess
import tarfile

import pytest
from archives import FORMATS, archive, grow_tree, member, pieces, snapshot

from trioker.launcher.making import Held
from trioker.launcher.tar_header import BadArchive
from trioker.launcher.unpack import unpack
from trioker.launcher.whiteouts import RemovingWhiteouts

DIRECTORY = tarfile.DIRTYPE


@pytest.fixture(autouse=True)
def _clean_process(tmp_path):
    before = os.umask(0)
    yield
    os.umask(before)
    os.chdir(tmp_path.parent)


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "target"
    path.mkdir(mode=0o755)
    return path


def unpacked(data, target, max_bytes=2**30, max_entries=1000):
    root = os.fsencode(target) + b"/"
    return unpack(pieces(data), RemovingWhiteouts(), max_bytes=max_bytes, max_entries=max_entries, root=root)


def refusal(data, target, **options):
    with pytest.raises(BadArchive) as caught:
        unpacked(data, target, **options)
    return str(caught.value)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("seed", range(3))
def test_a_tree_comes_out_as_it_went_in(form, seed, tmp_path, target):
    source, theirs = tmp_path / "source", tmp_path / "theirs"
    source.mkdir()
    theirs.mkdir()
    grow_tree(source, seed)
    tar = ["tar", f"--format={form}", *FORMATS[form], "-C", source, "-c", "."]
    # v7 and ustar leave out, with a complaint, what they have no room for
    made = subprocess.run(tar, check=form not in ("v7", "ustar"), capture_output=True).stdout
    subprocess.run(["tar", "-p", "-C", theirs, "-x"], input=made, check=True, capture_output=True)
    unpacked(made, target)
    assert snapshot(target) == snapshot(theirs)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_pythons_tarfile_writes_comes_out(form, tmp_path, target):
    source = tmp_path / "source"
    source.mkdir()
    (source / "d").mkdir()
    (source / "d" / ("n" * 90)).write_bytes(b"x" * 2000)
    (source / "link").symlink_to("d")
    os.link(source / "d" / ("n" * 90), source / "again")
    for each in (source / "again", source / "link", source / "d", source):
        os.utime(each, (5, 5), follow_symlinks=False)
    with tarfile.open(tmp_path / "made.tar", "w", format=form) as made:
        made.add(source, ".")
    assert unpacked((tmp_path / "made.tar").read_bytes(), target) == Held(size=2000, entries=5)
    assert snapshot(target) == snapshot(source)


@pytest.mark.parametrize("name", ["a", "./a", "/a", "//a", ".//a", "./././a"])
def test_a_name_means_the_same_however_it_is_spelt(name, target):
    unpacked(archive(member(name, b"x")), target)
    assert os.listdir(target) == ["a"]


@pytest.mark.parametrize("name", [".", "./", "/", "./.", "//"])
def test_the_root_itself_is_an_entry(name, target):
    unpacked(archive(member(name, kind=DIRECTORY, mode=0o711, mtime=5)), target)
    found = target.stat()
    assert (found.st_mode & 0o777, found.st_mtime) == (0o711, 5)


def test_the_root_can_only_be_a_directory(target):
    assert refusal(archive(member("./.", b"x")), target) == "the root can only be a directory in entry ./."


def test_a_name_is_bytes(target):
    name = os.fsdecode(b"\xff\xfe\x80")
    info = tarfile.TarInfo(name)
    info.uid, info.gid = os.geteuid(), os.getegid()
    unpacked(archive(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")), target)
    assert os.listdir(target) == [name]


def test_missing_parents_are_made(target):
    unpacked(archive(member("a/b/c/file", b"x"), member("a/other", b"y")), target)
    assert (target / "a/b/c/file").read_bytes() == b"x"
    assert stat.S_IMODE((target / "a/b").stat().st_mode) == 0o755


def test_a_directory_keeps_its_time_and_mode_though_files_come_later(target):
    unpacked(
        archive(
            member("d/", kind=DIRECTORY, mode=0o500, mtime=7),
            member("d/e/", kind=DIRECTORY, mtime=8),
            member("d/e/f", b"x"),
        ),
        target,
    )
    assert (target / "d").stat().st_mtime == 7
    assert stat.S_IMODE((target / "d").stat().st_mode) == 0o500
    assert (target / "d/e").stat().st_mtime == 8


def test_times_have_fractions_and_may_be_before_1970(target):
    unpacked(
        archive(member("a", pax_headers={"mtime": "-2.5"}), member("b", pax_headers={"mtime": "1.123456789"})), target
    )
    assert (target / "a").stat().st_mtime_ns == -2_500_000_000
    assert (target / "b").stat().st_mtime_ns == 1_123_456_789


KINDS = {
    "file": member("x", b"new"),
    "symlink": member("x", kind=tarfile.SYMTYPE, linkname="to"),
    "fifo": member("x", kind=tarfile.FIFOTYPE),
    "directory": member("x/", kind=DIRECTORY),
    "hard link": member("other", b"o") + member("x", kind=tarfile.LNKTYPE, linkname="./other"),
}


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
def test_the_later_of_two_entries_of_one_name_counts(first, second, target):
    alone = target / "alone"
    both = target / "both"
    for each in (alone, both):
        each.mkdir()
    filler = member("x/inside", b"x") if first == "directory" and second != "directory" else b""
    unpacked(archive(KINDS[second], member("other", b"o")), alone)
    unpacked(archive(KINDS[first], filler, KINDS[second], member("other", b"o")), both)
    assert stat.S_IFMT(os.lstat(both / "x").st_mode) == stat.S_IFMT(os.lstat(alone / "x").st_mode)


def test_a_directory_whose_place_was_taken_is_not_settled_through_the_link(target):
    (target / "elsewhere").mkdir(mode=0o755)
    unpacked(
        archive(member("d/", kind=DIRECTORY, mode=0o700), member("d", kind=tarfile.SYMTYPE, linkname="elsewhere")),
        target,
    )
    assert stat.S_IMODE((target / "elsewhere").stat().st_mode) == 0o755


def test_a_file_linked_to_itself_stays(target):
    unpacked(archive(member("a", b"x"), member("a", kind=tarfile.LNKTYPE, linkname="a")), target)
    assert (target / "a").read_bytes() == b"x"


def test_a_link_to_a_file_that_is_not_there_is_told(target):
    data = archive(member("a", kind=tarfile.LNKTYPE, linkname="missing"))
    assert refusal(data, target) == "No such file to link to: missing in entry a"


def test_a_file_in_the_way_of_a_directory_is_told(target):
    assert refusal(archive(member("a", b"x"), member("a/b", b"x")), target) == "Not a directory in entry a/b"


def test_a_name_the_kernel_can_not_take_is_told(target):
    assert refusal(archive(member("n" * 256, b"x")), target) == f"File name too long in entry {'n' * 256}"


def test_a_name_beyond_the_limit_is_told(target):
    assert "a name of 5001 bytes, more than 4096" in refusal(archive(member("d/" * 2500 + "n")), target)


def test_more_entries_than_allowed_are_refused(target):
    data = archive(*(member(f"f{number}") for number in range(11)))
    assert unpacked(data, target, max_entries=11).entries == 11
    assert refusal(data, target, max_entries=10) == "more than the 10 entries allowed, at entry f10"


def test_holes_count_as_bytes(target):
    records = {"GNU.sparse.size": str(10**12), "GNU.sparse.map": "0,0"}
    data = archive(member("huge", pax_headers=records))
    assert "the files hold more than the 1000000 bytes allowed, at entry huge" in refusal(data, target, max_bytes=10**6)
    assert not (target / "huge").exists()


def test_attributes_a_filesystem_does_not_keep_are_no_error(target):
    unpacked(
        archive(member("a", b"x", pax_headers={"SCHILY.xattr.user.a": "b", "SCHILY.xattr.trusted.x": "y"})), target
    )
    assert "trusted.x" not in os.listxattr(target / "a")


def test_a_deep_tree_is_no_deeper_than_we_can_go(target):
    """Each entry goes further down through a link than a path can say, so that nothing recursive could follow."""
    step = "/".join("d" * 300)
    members = [
        member(f"{step}/x"),
        *(member(f"s{n}", kind=tarfile.SYMTYPE, linkname=f"s{n - 1}/{step}" if n else step) for n in range(8)),
    ]
    members += [member(f"s{n}/{step}/x") for n in range(6)]
    unpacked(archive(*members), target)
    unpacked(archive(member("d", b"now a file")), target)
    assert (target / "d").read_bytes() == b"now a file"
