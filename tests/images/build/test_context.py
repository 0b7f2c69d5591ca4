import hashlib
import os
import tarfile

import pytest
from archives import archive, member
from contexts import context_of
from hostile_archives import mutated
from hypothesis import given, settings
from tars import character_device, directory, fifo, file, hard_link, symlink, tar_of

from trioker.images.build import context as module
from trioker.images.build.ignore import parse_ignore
from trioker.launcher.tar_header import CHARACTER_DEVICE, DIRECTORY, FIFO, FILE, SYMLINK
from trioker.model.errors import InvalidParameter


def paths(context):
    return sorted(context.entries)


def refusal(*members, **options):
    with pytest.raises(InvalidParameter) as caught:
        context_of(tar_of(*members), **options)
    return str(caught.value)


def test_every_entry_is_known_with_what_a_copy_needs():
    tar = archive(
        member("./", kind=tarfile.DIRTYPE, mode=0o700),
        member("./d/", kind=tarfile.DIRTYPE),
        member("./d/f", b"content", mode=0o4750, uid=7, gid=8, mtime=9),
        member("./l", kind=tarfile.SYMTYPE, linkname="d/f"),
    )
    entries = context_of(tar).entries
    assert (entries[""].kind, entries[""].mode) == (DIRECTORY, 0o700)
    assert entries["d"].kind == DIRECTORY
    found = entries["d/f"]
    assert (found.kind, found.mode, found.uid, found.gid, found.mtime_ns, found.size) == (
        FILE,
        0o4750,
        7,
        8,
        9 * 10**9,
        7,
    )
    assert found.digest == f"sha256:{hashlib.sha256(b'content').hexdigest()}"
    assert tar[found.offset : found.offset + found.stored] == b"content"
    assert (entries["l"].kind, entries["l"].link) == (SYMLINK, "d/f")


def test_directories_that_are_only_implied_are_there():
    context = context_of(tar_of(file("a/b/c")))
    assert paths(context) == ["", "a", "a/b", "a/b/c"]
    assert context.entries["a/b"].mode == 0o755


def test_the_last_of_one_name_counts():
    context = context_of(tar_of(file("f", b"1"), file("./f", b"22"), directory("d"), file("d/x"), file("d", b"333")))
    assert paths(context) == ["", "d", "f"]
    assert (context.entries["f"].size, context.entries["d"].size) == (2, 3)


def test_a_directory_told_twice_keeps_its_content():
    assert paths(context_of(tar_of(directory("d"), file("d/x"), directory("d")))) == ["", "d", "d/x"]


def test_a_hard_link_is_the_file():
    entries = context_of(tar_of(file("d/f", b"content"), hard_link("l", "./d/f"))).entries
    assert entries["l"].path == "l"
    assert (entries["l"].digest, entries["l"].offset) == (entries["d/f"].digest, entries["d/f"].offset)


def test_nodes_and_attributes_of_files_are_known():
    pax = {"SCHILY.xattr.user.a": "1", "SCHILY.xattr.trusted.overlay.opaque": "y"}
    found = context_of(archive(member("f", b"x", pax_headers=pax))).entries
    assert found["f"].xattrs == ((b"user.a", b"1"),)
    nodes = context_of(tar_of(fifo("p"), character_device("c", 1, 3), file("f"))).entries
    assert (nodes["p"].kind, nodes["c"].kind, nodes["c"].device) == (FIFO, CHARACTER_DEVICE, os.makedev(1, 3))


def test_a_sparse_file_has_the_digest_of_what_one_reads_of_it():
    sparse = member("f", b"0123456789", pax_headers={"GNU.sparse.size": "200000", "GNU.sparse.map": "0,5,100000,5"})
    found = context_of(archive(sparse)).entries["f"]
    content = (b"01234" + bytes(99_995) + b"56789").ljust(200_000, b"\0")
    assert (found.size, found.stored) == (200_000, 10)
    assert found.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_names_of_any_bytes_are_kept():
    assert "caf\udce9" in context_of(archive(member("caf\udce9"))).entries


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([file("../x")], "bad build context: a name that leads out of the context: entry ../x"),
        ([file("a/../../x")], "bad build context: a name that leads out of the context: entry a/../../x"),
        ([file("..")], "bad build context: a name that leads out of the context: entry .."),
        ([file("f"), file("f/x")], "bad build context: f is no directory, and has something in it"),
        ([symlink("l", "/etc"), file("l/x")], "bad build context: l is no directory, and has something in it"),
        ([hard_link("l", "/etc/passwd")], "bad build context: a link to /etc/passwd, which is no file, in entry l"),
        ([directory("d"), hard_link("l", "d")], "bad build context: a link to d, which is no file, in entry l"),
        ([file("n" * 256)], f"bad build context: a name longer than 255 bytes: entry {'n' * 256}"),
        ([file(".", b"x")], "bad build context: the archive's top is no directory"),
    ],
)
def test_what_no_context_can_hold_is_refused_by_name(members, message):
    assert refusal(*members) == message


def test_absolute_names_are_those_of_the_context():
    assert paths(context_of(tar_of(file("/etc/passwd")))) == ["", "etc", "etc/passwd"]


def test_an_archive_or_files_beyond_the_limit_are_refused():
    assert "larger than what is allowed, with entry f" in refusal(file("f", bytes(20_000)), max_bytes=10_000)
    assert "holds more than the 10000 bytes" in refusal(*map(file, "abcdefghijklmnopqrstuvwxyz"), max_bytes=10_000)
    links = [hard_link(f"l{number}", "f") for number in range(9)]
    assert "larger than what is allowed, with entry l" in refusal(file("f", bytes(6000)), *links, max_bytes=20_000)


def test_a_hole_as_large_as_a_disk_is_refused_at_once():
    sparse = member("f", b"0", pax_headers={"GNU.sparse.size": str(2**50), "GNU.sparse.map": "0,1"})
    with pytest.raises(InvalidParameter, match="larger than what is allowed, with entry f"):
        context_of(archive(sparse))


def test_too_many_entries_or_too_long_names_are_refused(monkeypatch):
    monkeypatch.setattr(module, "MOST_ENTRIES", 10)
    assert "more than 10 entries" in refusal(file("a/b/c/d/e/f/g/h/i/j/k"))
    monkeypatch.setattr(module, "LONGEST_NAMES", 100)
    assert "the names are too long together" in refusal(*(symlink(f"l{number}", "x" * 50) for number in range(3)))


def test_what_is_no_archive_is_refused():
    with pytest.raises(InvalidParameter, match="bad build context"):
        context_of(b"FROM busybox\n" * 100)


@settings(max_examples=200, deadline=None)
@given(mutated())
def test_whatever_comes_is_indexed_or_refused(data):
    try:
        context = context_of(data)
    except InvalidParameter:
        return
    assert all(path == entry.path for path, entry in context.entries.items())
    assert {entry.path for entry in context.walk("")} == set(context.entries)


LINKS = context_of(
    tar_of(
        file("d/f"),
        symlink("to-d", "d"),
        symlink("d/up", "../d/f"),
        symlink("abs", "/d/f"),
        symlink("out", "../../../d"),
        symlink("etc", "/etc/passwd"),
        symlink("loop", "loop"),
        symlink("a", "b"),
        symlink("b", "a/x"),
        symlink("empty", ""),
    )
)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("", ""),
        (".", ""),
        ("/", ""),
        ("..", ""),
        ("d/f", "d/f"),
        ("/d//./f", "d/f"),
        ("d/../d/f", "d/f"),
        ("to-d/f", "d/f"),
        ("to-d", "d"),
        ("d/up", "d/f"),
        ("to-d/up", "d/f"),
        ("abs", "d/f"),
        ("out/f", "d/f"),
        ("etc", None),
        ("loop", None),
        ("a", None),
        ("d/f/x", None),
        ("none", None),
    ],
)
def test_links_are_followed_inside_the_context(path, found):
    entry = LINKS.find(path)
    assert (entry.path if entry else None) == found


def test_a_walk_gives_parents_first_and_names_in_order():
    context = context_of(tar_of(file("b/2"), file("b/1"), file("a"), file("b/1x/y")))
    assert [entry.path for entry in context.walk("")] == ["", "a", "b", "b/1", "b/1x", "b/1x/y", "b/2"]


def test_a_tree_of_any_depth_is_walked():
    deep = "/".join("d" * 1 for _ in range(2000))
    context = context_of(archive(member(deep)))
    assert sum(1 for _ in context.walk("")) == 2001
    assert len(context.without(parse_ignore(b"x")).entries) == 2001


def test_a_context_without_what_is_ignored_keeps_the_directories_of_the_rest():
    context = context_of(tar_of(file("Dockerfile"), file("d/a"), file("d/b"), directory("d/e"), file("x/y/z")))
    left = context.without(parse_ignore(b"*\n!d/a\n!x/y\nx/y/none"))
    assert paths(left) == ["", "d", "d/a", "x", "x/y", "x/y/z"]
    assert left.children["d"] == ("a",)
    assert context.find("Dockerfile") is not None
