import os
import sys
import zipfile

import pytest

from trioker.storage import discovery
from trioker.storage.discovery import DriverError, DriverInfo

KEY = "a" * 64


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A --driver-dir; what is imported from it is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "drivers"
    folder.mkdir()
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        del sys.modules[name]


def offer(folder, name: str, code: str, *, package: str = "", value: str = "") -> None:
    """A stranger's package: a module and its metadata."""
    package = package or f"stranger-{name}"
    module = package.replace("-", "_")
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(f"[trioker.storage]\n{name} = {value or f'{module}:open_driver'}\n")


def open_one(folder, name: str, root, **options: str):
    infos = discovery.available([folder])
    return discovery.open_driver(discovery.find(name, infos), root, options, [folder])


def test_our_own_drivers_are_offered_in_a_checkout_too():
    names = [info.name for info in discovery.available() if info.distribution == "trioker"]
    assert names == ["overlay", "vfs"]


def test_overlay2_is_another_word_for_overlay():
    assert discovery.find("overlay2", discovery.available()).name == "overlay"


def test_a_stranger_s_driver_is_found_in_its_folder_and_opened(folder, tmp_path):
    offer(folder, "mine", "from trioker_vfs import open_driver")
    info = discovery.find("mine", discovery.available([folder]))
    assert info == DriverInfo("mine", "stranger-mine", "1.5", "stranger_mine:open_driver")
    (tmp_path / "root").mkdir()
    driver = open_one(folder, "mine", tmp_path / "root")
    driver.create(KEY, None)
    assert (tmp_path / "root" / KEY).is_dir()


def test_a_driver_is_found_inside_a_zip(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
        archive.writestr("trioker-9.dist-info/METADATA", "Metadata-Version: 2.1\nName: trioker\nVersion: 9\n")
        archive.writestr(
            "trioker-9.dist-info/entry_points.txt", "[trioker.storage]\nzipped = zipped_driver:open_driver\n"
        )
    monkeypatch.setattr(sys, "path", [str(tmp_path / "app.pyz")])
    assert discovery.available() == [DriverInfo("zipped", "trioker", "9", "zipped_driver:open_driver")]


def test_a_broken_stranger_harms_nobody_who_did_not_choose_it(folder, tmp_path):
    offer(folder, "broken", "raise SystemExit('out')")
    (tmp_path / "root").mkdir()
    open_one(folder, "vfs", tmp_path / "root").close()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise SystemExit('out')", "'broken' of stranger-broken cannot be loaded: SystemExit: out"),
        ("import no_such_module", "cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'"),
        ("syntax error", "cannot be loaded: SyntaxError"),
        ("x = 1", "cannot be loaded: AttributeError"),
        ("open_driver = 5", "cannot be opened: TypeError"),
        ("def open_driver(root, options): raise RuntimeError('one\\ntwo')", "cannot be opened: RuntimeError: one"),
        ("def open_driver(root, options): raise ValueError('what is this?')", "refuses its options: what is this?"),
        (
            "from trioker.storage.driver import Unsupported\ndef open_driver(root, options): raise Unsupported('too old')",
            "cannot work here: too old",
        ),
    ],
)
def test_a_broken_driver_that_is_chosen_is_one_line(folder, tmp_path, code, told):
    offer(folder, "broken", code)
    with pytest.raises(DriverError) as caught:
        open_one(folder, "broken", tmp_path)
    assert told in str(caught.value)
    assert "'broken'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_nobody_has_lists_those_that_are_there():
    with pytest.raises(DriverError, match=r"no storage driver 'zfs'; there are: overlay, vfs"):
        discovery.find("zfs", discovery.available())


def test_two_of_one_name_are_an_error_only_when_it_is_chosen(folder):
    offer(folder, "vfs", "", package="impostor")
    infos = discovery.available([folder])
    assert discovery.find("overlay", infos).distribution == "trioker"
    with pytest.raises(DriverError, match="offered more than once, by impostor and trioker"):
        discovery.find("vfs", infos)


def test_a_folder_shadows_nothing_of_ours(folder, tmp_path):
    (folder / "trioker_vfs.py").write_text("raise SystemExit")
    (tmp_path / "root").mkdir()
    sys.modules.pop("trioker_vfs", None)
    open_one(folder, "vfs", tmp_path / "root").close()


def test_an_unknown_option_is_named(tmp_path, folder):
    with pytest.raises(DriverError, match=r"'vfs' refuses its options: unknown option 'size'"):
        open_one(folder, "vfs", tmp_path, size="10G")


def test_the_list_says_what_works_and_why_not(folder, tmp_path):
    offer(folder, "broken", "import no_such_module")
    rows = {row.name: row for row in discovery.list_drivers(tmp_path / "not" / "made" / "yet", [folder])}
    assert rows["vfs"].works
    assert rows["vfs"].why == ""
    assert not rows["broken"].works
    assert "no_such_module" in rows["broken"].why
    assert rows["broken"].package == "stranger-broken"
    assert os.listdir(tmp_path) == ["drivers"]


def test_without_a_choice_the_first_that_works_is_taken(tmp_path):
    infos = [
        DriverInfo("overlay", "trioker", "1", "no_such_module:open_driver"),
        DriverInfo("vfs", "trioker", "1", "trioker_vfs:open_driver"),
    ]
    assert discovery.default(tmp_path, infos).name == "vfs"


def test_where_none_works_every_reason_is_told(tmp_path):
    infos = [DriverInfo(name, "trioker", "1", f"no_{name}:open_driver") for name in ("overlay", "vfs")]
    with pytest.raises(DriverError, match=r"no_overlay.*no_vfs"):
        discovery.default(tmp_path, infos)
