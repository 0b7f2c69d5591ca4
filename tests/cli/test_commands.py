import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent.parent


def run(*arguments):
    command = [sys.executable, "-m", "trioker", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=30, check=False)


def test_without_arguments_help_is_shown():
    done = run()
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: trioker COMMAND")


@pytest.mark.parametrize("flag", ["-h", "--help", "help"])
def test_help_is_shown_when_asked_for(flag):
    assert run(flag).stdout == run().stdout


@pytest.mark.parametrize("arguments", [["-d", "--help"], ["daemon", "--help"]])
def test_the_daemons_help_lists_its_options(arguments):
    done = run(*arguments)
    assert done.returncode == 0
    assert "--storage-opt" in done.stdout


def test_an_unknown_command_is_named():
    done = run("frobnicate")
    assert done.returncode == 2
    assert "'frobnicate' is not a command" in done.stderr


@pytest.mark.parametrize("arguments", [["version", "x"], ["drivers", "x"], ["check-host", "--x"], ["df", "x"], ["-D"]])
def test_arguments_that_a_command_does_not_take_are_refused(arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr


def test_a_command_that_ends_by_itself_needs_no_standard_output():
    code = "import sys; sys.stdout = None; from trioker.__main__ import _leave; _leave(3)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (3, b"")


def test_version_says_which_python_runs():
    assert f"Python:  {sys.version.split()[0]} ({sys.executable})" in run("version").stdout.splitlines()


def test_version_imports_neither_argparse_nor_trio():
    script = """
import sys
sys.path.insert(0, ".")
sys.argv[1:] = ["version"]
from trioker.__main__ import main
main()
print(sorted({"argparse", "trio", "attr", "pathlib"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_drivers_lists_ours(tmp_path):
    names = [line.split()[0] for line in run("drivers", "-g", str(tmp_path)).stdout.splitlines()]
    assert names == ["NAME", "btrfs", "overlay", "vfs"]
