import pytest

from trioker.launcher.picking import find_sources, pick
from trioker.launcher.tar_header import BadArchive


def flat(picked):
    return {name: (flat(below), sorted(below.gone)) for name, below in picked.below.items()}


def test_paths_become_a_tree_with_their_directories():
    root = pick(["/a", "/a/b/c", "/x"], ["/a/gone", "/top"])
    assert flat(root) == {"a": ({"b": ({"c": ({}, [])}, [])}, ["gone"]), "x": ({}, [])}
    assert root.gone == {"top"}


def test_no_path_is_no_layer():
    root = pick([], [])
    assert not root.below
    assert not root.gone


@pytest.fixture
def place(tmp_path):
    for each in ("b/x.py", "a/x.py", "a/y.py", "a/.z.py", "c"):
        path = tmp_path / each
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return str(tmp_path).lstrip("/")


def test_matches_come_in_order_and_each_once(place):
    wanted = [f"/{place}/*/[xy].py", f"{place}/a/x.py", f"//{place}/./a/../c"]
    assert list(find_sources(wanted)) == [f"{place}/{each}" for each in ("a/x.py", "a/y.py", "b/x.py", "c")]


@pytest.mark.parametrize("source", ["nope", "c/x", "*/nope", "[", "c/*"])
def test_no_match_is_an_error(place, source):
    with pytest.raises(BadArchive):
        list(find_sources([f"{place}/{source}"]))
