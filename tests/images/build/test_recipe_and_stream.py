"""What a step's cache key depends on, and the tar that carries it out: recipe.py, stream.py, modes.py."""

import io
import tarfile

import attrs
import pytest
from archives import archive, member
from contexts import context_of, written
from hypothesis import given
from hypothesis import strategies as st

from trioker.images.build.entries import ContextEntry, Placed
from trioker.images.build.modes import parse_mode
from trioker.images.build.recipe import recipe
from trioker.images.build.selection import select
from trioker.images.dockerfile.instructions import Assignment, Command, Copy, Env, Label, Run, Volume
from trioker.images.dockerfile.parser import parse
from trioker.launcher.tar_header import DIRECTORY, SYMLINK
from trioker.model.errors import InvalidParameter

COPY = Copy(("a",), "/b")
ENTRY = ContextEntry("a", mode=0o644, uid=1, gid=2, mtime_ns=3, size=4, digest="sha256:5", offset=6, stored=4)


def key_of(entry, name="a"):
    return recipe(COPY, placed=[Placed(name, entry, named=True)])


def test_a_recipe_is_a_key():
    assert len(recipe(COPY)) == 64
    assert int(recipe(COPY), 16)


@pytest.mark.parametrize("field", ["mtime_ns", "offset", "stored", "path"])
def test_times_and_places_do_not_count(field):
    assert key_of(attrs.evolve(ENTRY, **{field: getattr(ENTRY, field) * 2})) == key_of(ENTRY)


@pytest.mark.parametrize(
    "change",
    [
        {"mode": 0o755},
        {"uid": 0},
        {"gid": 0},
        {"size": 5},
        {"digest": "sha256:6"},
        {"link": "x"},
        {"kind": SYMLINK},
        {"device": 7},
        {"xattrs": [(b"user.a", b"1")]},
    ],
)
def test_what_the_result_shows_counts(change):
    assert key_of(attrs.evolve(ENTRY, **change)) != key_of(ENTRY)


def test_names_and_their_row_count():
    two = [Placed("a", ENTRY), Placed("b", ENTRY)]
    keys = {key_of(ENTRY), key_of(ENTRY, "b"), recipe(COPY, placed=two), recipe(COPY, placed=two[::-1])}
    assert len(keys) == 4


def test_the_words_count_and_how_they_are_written_does_not():
    def key(text):
        return recipe(parse(f"FROM a\n{text}").stages[0].instructions[0])

    assert key("COPY a   b") == key("copy a \\\n# c\n b") == key('COPY ["a", "b"]')
    different = [
        "COPY a b",
        "ADD a b",
        "COPY --chown=1 a b",
        "RUN a",
        'RUN ["a"]',
        "CMD a",
        "ENV a=b",
        "LABEL a=b",
        "ENV a=b c=d",
    ]
    assert len(set(map(key, different))) == len(different)


def test_arguments_a_command_can_see_count_in_any_order():
    run = Run(Command(("x",), in_shell=True))
    assert recipe(run) == recipe(run, arguments={})
    assert recipe(run, arguments={"a": "1", "b": "2"}) == recipe(run, arguments={"b": "2", "a": "1"})
    assert len({recipe(run), recipe(run, arguments={"a": "1"}), recipe(run, arguments={"a": ""})}) == 3


TEXTS = st.lists(st.text(max_size=3), max_size=3).map(tuple)


@given(TEXTS, TEXTS)
def test_two_instructions_share_a_recipe_only_if_they_are_the_same(one, other):
    assert (recipe(Volume(one)) == recipe(Volume(other))) == (one == other)


def test_the_kind_of_instruction_counts():
    pairs = (Assignment("a", "b"),)
    assert recipe(Env(pairs)) != recipe(Label(pairs))


def test_a_selection_becomes_a_tar_with_the_names_it_has_at_the_destination():
    tar = archive(
        member("d/", kind=tarfile.DIRTYPE, mode=0o700),
        member("d/f", b"content", mode=0o640, uid=7, gid=8, mtime=9),
        member("d/l", kind=tarfile.SYMTYPE, linkname="f"),
    )
    made = written(select(context_of(tar), ["d"]).placed, tar)
    with tarfile.open(fileobj=io.BytesIO(made)) as found:
        assert found.getnames() == [".", "f", "l"]
        top, plain, link = found
        assert (top.isdir(), top.mode) == (True, 0o700)
        assert (plain.mode, plain.uid, plain.gid, plain.mtime) == (0o640, 0, 0, 9)
        assert found.extractfile(plain).read() == b"content"
        assert (link.issym(), link.linkname) == (True, "f")


def test_nodes_and_attributes_of_files_are_written():
    pax = {"SCHILY.xattr.user.a": "1"}
    tar = archive(
        member("d/f", b"x", pax_headers=pax), member("d/n", kind=tarfile.CHRTYPE, mode=0o600, devmajor=1, devminor=3)
    )
    made = written(select(context_of(tar), ["d"]).placed, tar, mode="755")
    with tarfile.open(fileobj=io.BytesIO(made)) as found:
        _, plain, node = found
        assert plain.pax_headers["SCHILY.xattr.user.a"] == "1"
        assert (node.ischr(), node.devmajor, node.devminor, node.mode) == (True, 1, 3, 0o600)


def test_names_of_one_file_stay_so_within_a_source_and_only_there():
    tar = archive(
        member("d/a", b"content", mode=0o640),
        member("d/b", kind=tarfile.LNKTYPE, linkname="d/a"),
        member("d/empty"),
        member("d/other", b"content", mode=0o640),
    )
    made = written(select(context_of(tar), ["d", "d/b"]).placed, tar, mode="755")
    with tarfile.open(fileobj=io.BytesIO(made)) as found:
        assert [(each.name, each.linkname if each.islnk() else each.mode) for each in found][1:] == [
            ("a", 0o755),
            ("b", "a"),
            ("empty", 0o755),
            ("other", 0o755),
            ("b", 0o755),
        ]


def test_owners_may_be_kept_and_modes_changed():
    tar = archive(member("f", b"x", uid=7, gid=8, mode=0o600))
    made = written(select(context_of(tar), ["f"]).placed, tar, mode="0755", keep_owner=True)
    with tarfile.open(fileobj=io.BytesIO(made)) as found:
        [info] = found
        assert (info.uid, info.gid, info.mode) == (7, 8, 0o755)


def test_a_sparse_file_is_written_with_its_holes_as_zeros():
    sparse = {"GNU.sparse.size": "150000", "GNU.sparse.map": "10,4,100000,6"}
    tar = archive(member("f", b"0123456789", pax_headers=sparse), member("g", b"y"))
    made = written(select(context_of(tar), ["f", "g"]).placed, tar)
    with tarfile.open(fileobj=io.BytesIO(made)) as found:
        content = found.extractfile("f").read()
        assert content == (bytes(10) + b"0123" + bytes(99_986) + b"456789").ljust(150_000, b"\0")
        assert found.extractfile("g").read() == b"y"


@pytest.mark.parametrize(
    ("text", "mode", "directory", "changed"),
    [
        ("", 0o640, False, 0o640),
        ("755", 0o4600, False, 0o755),
        ("0", 0o777, True, 0),
        ("4755", 0, False, 0o4755),
        ("u=rwX,go=rX", 0o600, False, 0o644),
        ("u=rwX,go=rX", 0o700, False, 0o755),
        ("u=rwX,go=rX", 0o600, True, 0o755),
        ("+x", 0o644, False, 0o755),
        ("a-w", 0o777, False, 0o555),
        ("go=", 0o777, False, 0o700),
        ("u+s,g+s", 0o755, False, 0o6755),
        ("u-s", 0o4755, False, 0o755),
        ("+t", 0o755, True, 0o1755),
        ("g=u", None, False, None),
        ("rwx", None, False, None),
        ("8", None, False, None),
        ("07777x", None, False, None),
        ("u+x,", None, False, None),
        ("77777", None, False, None),
    ],
)
def test_modes_are_changed_as_chmod_does(text, mode, directory, changed):
    if changed is None:
        with pytest.raises(InvalidParameter, match="invalid chmod parameter"):
            parse_mode(text)
    else:
        assert parse_mode(text)(mode, directory) == changed


def test_a_directory_is_a_directory_whatever_its_mode():
    made = written([Placed(".", ContextEntry("", DIRECTORY, 0o755))], mode="600")
    with tarfile.open(fileobj=io.BytesIO(made)) as found:
        [info] = found
        assert (info.isdir(), info.mode) == (True, 0o600)
