"""Folders of drivers that somebody else may write are not run."""

import os

import pytest

from trioker.storage.trust import distrust


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "above" / "drivers"
    (folder / "package").mkdir(parents=True)
    (folder / "module.py").touch()
    for path in (folder, folder / "package", folder / "module.py", folder.parent):
        path.chmod(0o755)
    return folder


def test_a_folder_of_our_own_is_trusted(folder):
    assert distrust(folder) == ""


@pytest.mark.parametrize("name", [".", "..", "package", "module.py"])
@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_where_others_may_write_the_place_is_named(folder, name, mode):
    place = folder / name
    place.chmod(mode)
    assert distrust(folder) == f"others than root may write {os.path.realpath(place)}, and root would run it"


def test_a_sticky_directory_on_the_way_is_fine_but_not_as_the_folder(folder):
    folder.parent.chmod(0o1777)
    assert distrust(folder) == ""
    folder.chmod(0o1777)
    assert "may write" in distrust(folder)


@pytest.mark.root
@pytest.mark.parametrize("name", [".", "..", "package", "module.py"])
def test_what_belongs_to_another_user_is_named(folder, name):
    os.chown(folder / name, 1000, 0)
    assert "may write" in distrust(folder)


def test_a_link_is_judged_by_what_it_names(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert distrust(tmp_path / "link") == ""
    folder.parent.chmod(0o777)
    assert "may write" in distrust(tmp_path / "link")


@pytest.mark.parametrize(("name", "why"), [("missing", "No such file"), ("above/drivers/module.py", "Not a directory")])
def test_what_is_no_readable_directory_is_told(folder, tmp_path, name, why):
    assert distrust(tmp_path / name).startswith(f"{tmp_path / name} cannot be read: {why}")


def test_a_link_to_nothing_in_it_is_told_not_followed(folder):
    (folder / "link").symlink_to("/no/such/thing")
    assert "cannot be read" in distrust(folder)
