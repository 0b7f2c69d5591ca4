import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from polling import wait_until

PROJECT = Path(__file__).parent.parent.parent
COMMANDS = (["version"], ["--help"], ["daemon", "--help"], ["drivers", "-g", "/nowhere"], ["check-host"])


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


def run_in_shell(streams, *arguments):
    """With its streams as the shell is told to have them."""
    command = ["sh", "-c", f'exec "$0" -m trioker "$@" {streams}', sys.executable, *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("arguments", COMMANDS)
@pytest.mark.parametrize("streams", [">&-", "<&- >&- 2>&-", "2>&-"])
def test_no_command_needs_its_streams(arguments, streams):
    assert run_in_shell(streams, *arguments).returncode == run(*arguments).returncode


@pytest.mark.parametrize("arguments", COMMANDS)
def test_where_nobody_reads_any_more_there_is_nothing_to_say(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "trioker", *arguments]
    with os.fdopen(writing) as nobody:
        done = subprocess.run(command, cwd=PROJECT, stdout=nobody, stderr=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("arguments", COMMANDS)
def test_what_cannot_be_written_is_one_line_and_a_failure(arguments):
    done = run_in_shell(">/dev/full", *arguments)
    assert done.returncode == 1
    assert done.stderr == "trioker: standard output: No space left on device\n"


def test_an_error_that_cannot_be_told_is_told_by_the_status():
    assert run_in_shell("2>/dev/full", "frobnicate").returncode == 2
    assert run_in_shell("2>&-", "df", "--frobnicate").returncode == 2


def test_a_file_does_not_get_the_number_of_a_stream_that_was_closed():
    code = """
import os, sys
from trioker.__main__ import main
sys.argv = ["", "version"]
main()
sys.stderr.write(os.readlink("/proc/self/fd/0") + os.readlink("/proc/self/fd/1"))
"""
    command = ["sh", "-c", 'exec "$0" -c "$1" <&- >&-', sys.executable, code]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == "/dev/null" * 2


@pytest.fixture
def slow(tmp_path):
    """Have whoever imports argparse say so, and wait; how to start a command."""
    sign = tmp_path / "sign"
    (tmp_path / "argparse.py").write_text(f"import time\nopen({str(sign)!r}, 'w').close()\ntime.sleep(600)\n")

    def start(*arguments, at_interrupts=signal.SIG_DFL):
        process = subprocess.Popen(
            [sys.executable, "-m", "trioker", *arguments],
            cwd=PROJECT,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, at_interrupts),  # noqa: PLW1509
        )
        wait_until(sign.exists, "a command that begins")
        return process

    return start


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "arguments", [["df"], ["drivers"], ["check-host"], ["migrate", "--to", "vfs"], ["-d"]], ids=" ".join
)
def test_a_signal_while_it_begins_ends_it_without_a_word(slow, arguments, number):
    with slow(*arguments) as process:
        process.send_signal(number)
        assert process.communicate(timeout=60) == (None, b"")
    assert process.returncode == -number


def test_one_that_is_to_be_ignored_ends_nothing(slow):
    with slow("df", at_interrupts=signal.SIG_IGN) as process:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == -signal.SIGTERM
