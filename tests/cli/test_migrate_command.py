import io
import sys
from pathlib import Path

import pytest

from trioker.cli.drivers import show
from trioker.cli.migrate import Display, parse_migrate
from trioker.cli.places import Places
from trioker.model.options import MigrateOptions
from trioker.model.progress import Progress

LAYER = [Progress("1/2 Copying", "aaa", 0), Progress("1/2 Copying", "aaa", 5_000_000), Progress("1/2 Moved", "aaa")]


def test_all_it_takes_is_a_driver_s_name():
    assert parse_migrate(["--to", "vfs"]) == MigrateOptions("vfs")


def test_every_option_arrives():
    given = [
        "--to",
        "btrfs",
        "-g",
        "/root",
        "--storage-opt",
        "size=1G",
        "--driver-dir",
        "/one",
        "--driver-dir",
        "/two",
        "--keep",
    ]
    assert parse_migrate(given) == MigrateOptions(
        "btrfs", Path("/root"), (("size", "1G"),), (Path("/one"), Path("/two")), keep=True
    )


@pytest.mark.parametrize("wrong", [[], ["--to"], ["--to", "vfs", "--storage-opt", "size"], ["--to", "vfs", "more"]])
def test_what_cannot_be_is_refused(wrong, capsys):
    with pytest.raises(SystemExit) as ended:
        parse_migrate(wrong)
    assert ended.value.code == 2
    assert "migrate --help" in capsys.readouterr().err


def test_into_a_file_goes_a_line_for_what_was_done(capsys):
    display = Display()
    for each in LAYER:
        display(each)
    display.end("2 layers moved", failed=False)
    assert capsys.readouterr().out == "aaa: 1/2 Moved\n2 layers moved\n"


def test_on_a_terminal_a_line_is_replaced_until_its_layer_is_done(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    display = Display()
    for each in LAYER:
        display(each)
    display(Progress("2/2 Copying", "bbb", 0))
    display.end("the disk is full", failed=True)
    shown = capsys.readouterr()
    assert shown.out == (
        "\raaa: 1/2 Copying 0 B\x1b[K\raaa: 1/2 Copying 5 MB\x1b[K\raaa: 1/2 Moved\x1b[K\n\rbbb: 2/2 Copying 0 B\x1b[K\n"
    )
    assert shown.err == "the disk is full\n"


class Unwritable(io.StringIO):
    """A stream whose reader has gone after so many writes."""

    def __init__(self, writes):
        super().__init__()
        self._writes = writes

    def write(self, text):
        self._writes -= 1
        if self._writes < 0:
            raise BrokenPipeError
        return super().write(text)


def test_where_nobody_looks_any_more_it_goes_on(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Unwritable(1))
    display = Display()
    for each in LAYER * 2:
        display(each)
    display.end("2 layers moved", failed=False)
    assert sys.stdout.getvalue() == "aaa: 1/2 Moved\n"
    display.end("the disk is full", failed=True)
    assert capsys.readouterr().err == "the disk is full\n"


def test_the_driver_that_keeps_the_layers_is_marked(tmp_path, capsys):
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "driver").write_text("vfs\n")
    assert show(Places(tmp_path, ())) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[3:6] == ["WORKS", "IN", "USE"]
    assert {row.split()[0]: row.split()[4] for row in rows} == {"btrfs": "no", "overlay": "no", "vfs": "yes"}


def test_a_driver_without_a_name_keeps_nothing(tmp_path, capsys):
    folder = tmp_path / "drivers"
    (folder / "nameless-1.dist-info").mkdir(parents=True)
    (folder / "nameless-1.dist-info" / "METADATA").write_text("Name: nameless\nVersion: 1\n")
    (folder / "nameless-1.dist-info" / "entry_points.txt").write_text("[trioker.storage]\n = a:b\n")
    show(Places(tmp_path, (folder,)))
    row = next(line for line in capsys.readouterr().out.splitlines() if "nameless" in line)
    assert row.split()[:4] == ["nameless", "1", "no", "no"]


def test_so_is_one_that_no_package_offers(tmp_path, capsys):
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "driver").write_text("zfs\n")
    show(Places(tmp_path, ()))
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.split()[:5] == ["zfs", "-", "-", "no", "yes"]
    assert "no package offers it" in last


def test_a_root_that_is_not_there_yet_has_none_and_is_not_made(tmp_path, capsys):
    assert show(Places(tmp_path / "not" / "yet", ())) == 0
    assert all(row.split()[4] == "no" for row in capsys.readouterr().out.splitlines()[1:])
    assert list(tmp_path.iterdir()) == []
