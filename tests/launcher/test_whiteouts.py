import os

import pytest
from archives import archive, member, pieces

from trioker.launcher.tar_header import BadArchive
from trioker.launcher.unpack import unpack
from trioker.launcher.whiteouts import OverlayWhiteouts, RemovingWhiteouts


@pytest.fixture(autouse=True)
def _own_directory(tmp_path):
    yield
    os.chdir(tmp_path.parent)


@pytest.fixture
def lower(tmp_path):
    """A full tree, as the vfs driver hands it out."""
    root = tmp_path / "tree"
    for name in ("gone", "stays", "d/old", "d/sub/old", "other/deep/old"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("lower")
    (root / "d/link").symlink_to(root / "other")
    return root


def apply(root, *members, whiteouts=None):
    path = os.fsencode(root) + b"/"
    unpack(pieces(archive(*members)), whiteouts or RemovingWhiteouts(), max_bytes=2**20, max_entries=100, root=path)
    return sorted(
        os.path.relpath(os.path.join(place, name), root) for place, _, names in os.walk(root) for name in names
    )


def test_a_whiteout_takes_a_file_away(lower):
    assert apply(lower, member(".wh.gone")) == ["d/old", "d/sub/old", "other/deep/old", "stays"]


def test_a_whiteout_takes_a_directory_away_and_follows_no_link(lower):
    assert apply(lower, member("./.wh.d")) == ["gone", "other/deep/old", "stays"]


def test_a_whiteout_of_what_is_not_there_is_no_error(lower):
    before = apply(lower, member("keep"))
    assert apply(lower, member(".wh.nothing"), member("keep")) == before


def test_an_opaque_directory_keeps_only_what_this_layer_brings_in_any_order(lower):
    layer = [member("d/.wh..wh..opq"), member("d/new"), member("d/sub/new")]
    for members in (layer, layer[::-1], [layer[1], layer[0], layer[2]]):
        found = apply(lower, *members)
        assert [name for name in found if name.startswith("d/")] == ["d/new", "d/sub/new"]


def test_an_opaque_root_keeps_only_this_layer(lower):
    assert apply(lower, member("new"), member(".wh..wh..opq")) == ["new"]


def test_a_whiteout_does_not_touch_what_its_own_layer_brings(lower):
    assert "gone" in apply(lower, member("gone", b"again"), member(".wh.gone"))
    assert "gone" in apply(lower, member(".wh.gone"), member("gone", b"again"))
    found = apply(lower, member("d/new"), member(".wh.d"))
    assert [name for name in found if name.startswith("d/")] == ["d/new"]


@pytest.mark.parametrize("name", [".wh.", "d/.wh..", ".wh...", "d/.wh..."])
def test_a_whiteout_of_a_parent_is_refused(name, lower):
    with pytest.raises(BadArchive, match="a whiteout of a parent directory in entry"):
        apply(lower, member(name))
    assert (lower / "d/old").exists()


@pytest.mark.parametrize("name", [".wh..wh.aufs", ".wh..wh.plnk/1.2", "d/.wh..wh.orph/x"])
def test_the_book_keeping_of_aufs_is_left_out(name, lower):
    before = apply(lower)
    assert apply(lower, member(name, b"x" * 600)) == before


def test_a_name_that_only_holds_the_prefix_is_a_name(lower):
    assert "d/a.wh.b" in apply(lower, member("d/a.wh.b"))


def test_a_whiteout_of_a_path_through_two_dots_is_refused(lower):
    with pytest.raises(BadArchive, match=r'"\.\."'):
        apply(lower, member("d/../../.wh.gone"))


def test_an_opaque_directory_of_an_overlay_is_marked_once_it_stands(tmp_path):
    marked = []
    whiteouts = OverlayWhiteouts(lambda base, name, value: marked.append((os.getcwd(), base, name, value)))
    (tmp_path / "upper").mkdir()
    apply(tmp_path / "upper", member("d/.wh..wh..opq"), whiteouts=whiteouts)
    assert marked == [(str(tmp_path / "upper/d"), b".", "trusted.overlay.opaque", b"y")]
