import pytest
from contexts import context_of
from tars import directory, file, symlink, tar_of

from trioker.images.build.selection import check_destination, documents, names_directory, resolve, select
from trioker.images.dockerfile.instructions import Heredoc
from trioker.model.errors import InvalidParameter

CONTEXT = context_of(
    tar_of(
        file("a.txt"),
        file("b.txt"),
        file("c.md"),
        file("d/e/f.txt"),
        file("d/g"),
        directory("d/empty"),
        symlink("d/link", "g"),
        symlink("to-a", "a.txt"),
        symlink("to-d", "d"),
        symlink("broken", "nowhere"),
        file("[x]"),
        file("deep/one/two/x.txt"),
    )
)


def names(*sources, **options):
    return [placed.name for placed in select(CONTEXT, sources, **options).placed]


@pytest.mark.parametrize(
    ("sources", "placed"),
    [
        (["a.txt"], ["a.txt"]),
        (["/a.txt", "./d/../b.txt"], ["a.txt", "b.txt"]),
        (["*.txt"], ["a.txt", "b.txt"]),
        (["?.md", "[ab].txt"], ["c.md", "a.txt", "b.txt"]),
        (["d"], [".", "e", "e/f.txt", "empty", "g", "link"]),
        (["d/"], [".", "e", "e/f.txt", "empty", "g", "link"]),
        (["d/e"], [".", "f.txt"]),
        (["d/*"], [".", "f.txt", ".", "g", "link"]),
        (["d/e*"], [".", "f.txt", "."]),
        (["to-a"], ["to-a"]),
        (["to-d"], [".", "e", "e/f.txt", "empty", "g", "link"]),
        (["to-d/e/*.txt"], ["f.txt"]),
        (["**/*.txt"], ["a.txt", "b.txt", "f.txt", "x.txt"]),
        (["d/**/f.txt"], ["f.txt"]),
        (["[[]x]"], ["[x]"]),
        ([r"\[x]"], ["[x]"]),
        (["*/e/f.txt"], ["f.txt"]),
    ],
)
def test_sources_select_files_and_what_is_in_directories(sources, placed):
    assert names(*sources) == placed


def test_the_whole_context_is_its_content():
    every = names(".")
    assert every[0] == "."
    assert set(every[1:]) == set(CONTEXT.entries) - {""}
    assert names("/") == names("./") == every


def test_a_link_that_is_named_is_followed_and_one_in_a_directory_is_kept():
    named = select(CONTEXT, ["to-a"]).placed[0]
    assert (named.entry.path, named.named) == ("a.txt", True)
    inside = next(each for each in select(CONTEXT, ["d"]).placed if each.name == "link")
    assert (inside.entry.link, inside.named) == ("g", False)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "none",
            "COPY failed: file not found in build context or excluded by .dockerignore: stat none: file does not exist",
        ),
        (
            "a.txt/b",
            "COPY failed: file not found in build context or excluded by .dockerignore: stat a.txt/b: file does not exist",
        ),
        ("*.none", "COPY failed: no source files were specified"),
        ("none/*", "COPY failed: no source files were specified"),
        ("../x", "COPY failed: forbidden path outside the build context: ../x ()"),
        ("d/../../x", "COPY failed: forbidden path outside the build context: d/../../x ()"),
        ("..", "COPY failed: forbidden path outside the build context: .. ()"),
        ("../*", "COPY failed: forbidden path outside the build context: ../* ()"),
        ("bro*", "broken is a symbolic link that leads nowhere in the build context"),
        ("[", "syntax error in pattern '[': brackets without end"),
        ("*a" * 2500, f"the pattern '{'*a' * 128}' is longer than 4096 characters"),
    ],
)
def test_what_selects_nothing_is_said_in_dockers_words(source, message):
    with pytest.raises(InvalidParameter) as caught:
        names(source)
    assert str(caught.value) == message


def test_errors_speak_of_the_instruction_and_the_place():
    with pytest.raises(InvalidParameter, match=r"^ADD failed: file not found in stage 0: stat x: file does not exist$"):
        names("x", word="ADD", place="stage 0")


@pytest.mark.parametrize(
    ("sources", "placed"),
    [
        (["d/e/f.txt"], ["d", "d/e", "d/e/f.txt"]),
        (["d/./e/f.txt"], ["e", "e/f.txt"]),
        (["./d/g"], ["d", "d/g"]),
        (["d/e"], ["d", "d/e", "d/e/f.txt"]),
        (["d/*/f.txt"], ["d", "d/e", "d/e/f.txt"]),
        (["deep/one/./two/*.txt"], ["two", "two/x.txt"]),
        (["a.txt"], ["a.txt"]),
    ],
)
def test_sources_may_keep_the_directories_they_are_in(sources, placed):
    assert names(*sources, parents=True) == placed


def test_what_is_excluded_is_left_out():
    assert names("*.txt", exclude=("b*",)) == ["a.txt"]
    assert names("d", exclude=("e", "l*")) == [".", "empty", "g"]
    assert names("d", exclude=("*", "!g")) == [".", "g"]


def test_several_sources_need_a_directory():
    several = select(CONTEXT, ["*.txt"])
    with pytest.raises(
        InvalidParameter, match="When using COPY with more than one source file, the destination must be a"
    ):
        check_destination(several, "/x")
    check_destination(several, "/x/")
    check_destination(select(CONTEXT, ["d"]), "/x")
    check_destination(documents([Heredoc("E", "")]), "/x")


@pytest.mark.parametrize(
    ("path", "working_dir", "whole"),
    [
        ("/a", "/w", "/a"),
        ("/a/", "", "/a/"),
        ("a", "", "/a"),
        ("a", "/w", "/w/a"),
        ("./a/", "/w/", "/w/a/"),
        (".", "/w", "/w/"),
        ("..", "/w/x", "/w/"),
        ("../../../a", "/w", "/a"),
        ("/", "/w", "/"),
        ("//a//b", "/w", "/a/b"),
    ],
)
def test_a_destination_is_resolved_from_the_working_directory(path, working_dir, whole):
    assert resolve(path, working_dir) == whole
    assert names_directory(path) == whole.endswith("/")


def test_a_here_document_is_a_file_of_its_content():
    [placed] = documents([Heredoc("EOF", "é\n")]).placed
    assert (placed.name, placed.named, placed.entry.size, placed.entry.mode) == ("EOF", True, 3, 0o644)


@pytest.mark.parametrize("name", ["a/b", "..", "."])
def test_a_here_document_becomes_no_path(name):
    with pytest.raises(InvalidParameter, match="becomes a file's"):
        documents([Heredoc(name, "")])
