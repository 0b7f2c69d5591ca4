"""``trioker.pyz`` as a file: what is in it, that it is always the same, and that it runs wherever it is put."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests import pythons
from trioker import __version__

PROJECT = Path(__file__).parent.parent.parent
LARGEST = 4_000_000


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


def test_two_builds_are_identical_bytes_whatever_surrounds_them(pyz, tmp_path):
    other = tmp_path / "elsewhere" / "other.pyz"
    surroundings = os.environ | {
        "LC_ALL": "C",
        "TZ": "Asia/Tokyo",
        "PYTHONHASHSEED": "123",
        "PYTHONOPTIMIZE": "1",
        "TMPDIR": str(tmp_path),
    }
    build = run(sys.executable, PROJECT / "zipapp" / "build.py", other, cwd=tmp_path, env=surroundings, umask=0o077)
    assert build.returncode == 0, build.stderr
    assert other.read_bytes() == pyz.read_bytes()
    assert other.stat().st_mode == pyz.stat().st_mode


def test_it_is_small(pyz):
    assert pyz.stat().st_size < LARGEST


def test_it_holds_no_tests_no_stubs_and_no_paths_of_the_builder(pyz):
    with zipfile.ZipFile(pyz) as archive:
        names = archive.namelist()
        assert not [name for name in names if "_tests/" in name or name.endswith((".pyi", ".so"))]
        assert not [
            name
            for name in names
            if os.fsencode(PROJECT) in archive.read(name) or b"/trioker-build-" in archive.read(name)
        ]


def test_each_source_has_its_bytecode_and_all_entries_one_time_and_mode(pyz):
    with zipfile.ZipFile(pyz) as archive:
        entries = archive.infolist()
    names = {entry.filename for entry in entries}
    assert {name + "c" for name in names if name.endswith(".py")} == {name for name in names if name.endswith(".pyc")}
    assert {(entry.date_time, entry.external_attr) for entry in entries} == {((1980, 1, 1, 0, 0, 0), 0o100644 << 16)}
    assert [entry.filename for entry in entries] == sorted(names)


def test_its_metadata_tells_version_pythons_and_drivers(pyz):
    script = """
import json, sys
from importlib.metadata import distribution
found = distribution("trioker")
drivers = sorted(entry.name for entry in found.entry_points if entry.group == "trioker.storage")
print(json.dumps([found.version, found.metadata["Requires-Python"], drivers]))
"""
    done = run(sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(pyz)!r}){script}")
    assert json.loads(done.stdout) == [__version__, ">=3.11,<3.15", ["btrfs", "overlay", "vfs"]], done.stderr


@pytest.mark.parametrize("python", pythons.supported())
def test_it_runs_without_an_environment_from_a_read_only_directory(pyz, tmp_path, python):
    place = tmp_path / "some where"
    place.mkdir()
    copy = Path(shutil.copy(pyz, place / "renamed"))
    place.chmod(0o555)
    done = run(python, copy, "version", env={}, cwd="/")
    place.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"trioker: {__version__}\n")
    assert os.listdir(place) == ["renamed"]


@pytest.mark.parametrize("python", pythons.supported())
def test_every_module_can_be_imported_from_it(pyz, python):
    with zipfile.ZipFile(pyz) as archive:
        ours = [name for name in archive.namelist() if name.startswith("trioker") and name.endswith(".py")]
    modules = sorted(name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in ours)
    wanted = [name for name in modules if not name.startswith("trioker.testing.")]  # those need pytest or hypothesis
    script = f"import sys, importlib; sys.path.insert(0, {str(pyz)!r}); [importlib.import_module(name) for name in {wanted!r}]"
    done = run(python, "-I", "-S", "-W", "error", "-c", script)
    assert done.returncode == 0, done.stderr


def test_it_is_a_command_of_its_own(pyz):
    done = run(pyz, "--help", env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"})
    assert done.stdout.startswith("Usage: trioker.pyz COMMAND"), done.stderr


@pytest.mark.skipif(not pythons.too_old(), reason="no old Python here")
@pytest.mark.parametrize("python", pythons.too_old())
def test_an_old_python_gets_one_clear_line(pyz, python):
    done = run(python, pyz, "version")
    assert done.returncode == 1
    assert done.stderr.startswith("trioker needs Python 3.11 or newer")
    assert done.stderr.count("\n") == 1


def test_the_commit_is_in_it(pyz):
    head = run("git", "-c", "safe.directory=*", "rev-parse", "HEAD", cwd=PROJECT)
    if head.returncode:
        pytest.skip("not a git checkout")
    line = run(sys.executable, pyz, "version").stdout.splitlines()[1]
    assert line.split() in (["commit:", head.stdout.strip()], ["commit:", head.stdout.strip() + "-dirty"])
