"""Directories above a change, which the store tells for every driver."""

import os

import hypothesis
import hypothesis.strategies as st
import pytest

from trioker.storage.changes import with_parents
from trioker.storage.driver import Change, Kind

A, M, D = Kind.ADDED, Kind.MODIFIED, Kind.DELETED
PATHS = st.lists(st.sampled_from(["a", "b", "a.", "\udcff", " "]), min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)


def told(*changes: tuple[str, Kind]) -> list[tuple[str, Kind]]:
    return [tuple(change) for change in with_parents(Change(*each) for each in changes)]


def walk_order(path: str) -> list[bytes]:
    return os.fsencode(path).split(b"/")


@pytest.mark.parametrize(
    ("said", "more"),
    [
        ([], []),
        ([("/file", A)], []),
        ([("/a/b/c", M)], ["/a", "/a/b"]),
        ([("/a/b", D), ("/a/c", A)], ["/a"]),
        ([("/a", A), ("/a/b", A), ("/a/b/c", A)], []),
        ([("/a", M), ("/a/b/c", D)], ["/a/b"]),
        ([("/a/b/c", A), ("/ab/b/c", A)], ["/a", "/a/b", "/ab", "/ab/b"]),
        ([("/a", D), ("/a.", A)], []),
    ],
)
def test_what_was_not_said_of_those_above_is_added(said, more):
    assert sorted(told(*said)) == sorted([*said, *((path, M) for path in more)])


@hypothesis.given(st.dictionaries(PATHS, st.sampled_from([A, M])))
def test_a_directory_is_told_once_and_before_what_is_in_it(said):
    found = told(*((path, said[path]) for path in sorted(said, key=walk_order)))
    paths = [path for path, _ in found]
    assert paths == sorted({*paths}, key=walk_order)
    assert {os.path.dirname(path) for path in paths} <= {*paths, "/"}
    assert {path: kind for path, kind in found if path in said} == said
    assert all(kind is M for path, kind in found if path not in said)
