import fnmatch
import os
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioker.images.build.globs import Globs
from trioker.images.build.ignore import LARGEST, ignore_patterns, parse_ignore
from trioker.model.errors import InvalidParameter


def matches(pattern, path):
    globs = Globs([pattern])
    return bool(globs.follow(globs.start, path).accepted)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("a", "a", "b aa a/b"),
        ("*", "a abc .x", "a/b"),
        ("*.go", "a.go .go", "a.goo a/b.go"),
        ("a*b*c", "abc axbxc abbcc", "abcd ab/c"),
        ("?", "a é", "/ ab"),
        ("a/*/c", "a/b/c", "a/c a/b/b/c"),
        ("[a-c]x", "ax cx", "dx -x"),
        ("[^a-c]x", "dx", "ax /x"),
        (r"[\]a\-c]x", "]x ax -x cx", "bx"),
        (r"\*", "*", "a"),
        (r"a\[", "a[", "a"),
        ("**", "a a/b .x/y", ""),
        ("**/a", "a b/a c/b/a", "xa b/ax"),
        ("a/**", "a/b a/b/c", "a ab"),
        ("a/**/b", "a/b a/x/b a/x/y/b", "ab a/xb"),
        ("**/*.go", "x.go a/b/x.go", "x.goo"),
        ("a**b", "ab ax/b", "axb"),
        ("**.go", "a/.go .go", "a.go"),
        ("**/**/a", "a b/a", "ba"),
        ("*/**", "a/b a/b/c", "a"),
    ],
)
def test_a_pattern_matches_whole_paths(pattern, yes, no):
    assert [path for path in yes.split() if not matches(pattern, path)] == []
    assert [path for path in no.split() if matches(pattern, path)] == []


@pytest.mark.parametrize("pattern", ["[", "[]", "[a", "[a-", "[a-]", "[-a]", "[]a]", "[^]", "a\\", "[a\\"])
def test_a_bad_pattern_is_refused(pattern):
    with pytest.raises(InvalidParameter, match="syntax error in pattern"):
        ignore_patterns([pattern])


@settings(max_examples=400, deadline=None)
@given(st.text("ab*?[]^-\\/.", max_size=8), st.lists(st.text("ab./", max_size=6), max_size=4))
def test_all_patterns_together_match_what_each_alone_matches(pattern, paths):
    try:
        alone = Globs([pattern])
    except ValueError:
        return
    together = Globs(["a*", pattern, "**/b"])
    for path in paths:
        accepted = together.follow(together.start, path).accepted
        expected = bool(alone.follow(alone.start, path).accepted)
        if not matches("**/b", path):
            assert (together.last(accepted) == 1) == expected


@settings(max_examples=300, deadline=None)
@given(st.text("ab*?", max_size=8), st.text("ab", max_size=10))
def test_without_slashes_patterns_are_those_of_a_shell(pattern, name):
    pattern = re.sub(r"\*+", "*", pattern)
    assert matches(pattern, name) == fnmatch.fnmatchcase(name, pattern)


def test_hostile_patterns_take_no_longer_than_their_length():
    """A matcher that tries one way after the other would not end."""
    ignore = ignore_patterns(["*a" * 2000 + "b", "**/a*" * 500 + "c", "**" * 2000 + "x", "*a*b**/[a-c]" * 90])
    assert not ignore.excludes_path("a" * 4000 + "/" + "a/" * 1000)


@pytest.mark.parametrize(
    ("lines", "excluded", "kept"),
    [
        ("", "", "a"),
        ("a", "a a/b a/b/c", "b b/a"),
        ("/a/\n./b\nc//d/../e", "a a/x b c/e", "d"),
        ("# a\n \n  b  ", "b", "a"),
        ("*.md\n!README.md", "a.md", "README.md x/a.md"),
        ("*.md\n!README*.md\nREADME-secret.md", "a.md README-secret.md", "README.md README-x.md"),
        ("*.md\nREADME-secret.md\n!README*.md", "a.md", "README-secret.md README.md"),
        ("a\n!a/b", "a a/c", "a/b a/b/c"),
        ("!a\na", "a", ""),
        ("**/node_modules\n! keep/node_modules", "node_modules/x a/node_modules", "keep/node_modules/x"),
        ("*\n!src/**/*.c", "a src src/x.h", "src/x.c src/d/x.c"),
        ("\N{ZERO WIDTH NO-BREAK SPACE}a\r\nb\r", "a b", "c"),
        ("../a\n.", "", "a b"),
    ],
)
def test_the_last_pattern_that_matches_decides(lines, excluded, kept):
    ignore = parse_ignore(lines.encode())
    assert [path for path in excluded.split() if not ignore.excludes_path(path)] == []
    assert [path for path in kept.split() if ignore.excludes_path(path)] == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"!", "illegal exclusion pattern"),
        (b"[", "error in .dockerignore or --exclude: syntax error in pattern"),
        (b"[a]" * 101, "more than 100 bracket expressions"),
        (b"x" * (LARGEST + 1), "larger than"),
    ],
)
def test_a_file_that_cannot_be_obeyed_is_refused(source, message):
    with pytest.raises(InvalidParameter, match=re.escape(message)):
        parse_ignore(source)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_whatever_comes_is_obeyed_or_refused(source):
    try:
        ignore = parse_ignore(source)
    except InvalidParameter:
        return
    ignore.excludes_path(os.fsdecode(source) or "a")
