"""The contract suite itself: it finds every kind of broken driver, and says so."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from broken_drivers import FAULTS, Weightless

from trioker.linux.trees import remove_tree
from trioker.testing.driver_suite import CHECKS, check, run
from trioker.testing.driver_suite.processes import die_at_call, explain, in_child

pytestmark = pytest.mark.root

PROJECT = Path(__file__).parents[2]


def opener(driver):
    return lambda root, _options: driver(root)


def suite(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(str(PROJECT / each) for each in (".", "drivers", "tests/harness"))
    return subprocess.run(
        [sys.executable, "-m", "trioker.testing.driver_suite", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_for_every_check_there_is_a_driver_it_must_fail():
    assert list(FAULTS) == list(CHECKS)


@pytest.mark.parametrize("name", FAULTS)
def test_the_check_fails_a_driver_with_that_fault(name, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    with pytest.raises(
        (AssertionError, OSError, RuntimeError, NotImplementedError, ExceptionGroup, Exception)
    ) as caught:
        run(name, opener(FAULTS[name]), place)
    assert explain(caught.value)
    remove_tree(place)  # a failed check leaves what it made, and pytest cannot remove what is deep


def test_all_of_them_fail_it_too(tmp_path):
    with pytest.raises(AssertionError):
        check(opener(Weightless), tmp_path)


def test_a_driver_that_hangs_is_killed_and_named():
    with pytest.raises(AssertionError, match=r"it hangs: killed after 0\.2 seconds"):
        in_child(lambda _tell: time.sleep(600), seconds=0.2)


def test_a_child_s_failure_is_told_in_one_line_with_its_place():
    def work(_tell):
        raise ValueError("two\nlines")

    outcome = in_child(work)
    assert outcome.status == 1
    assert outcome.said.startswith("ValueError: two lines (test_driver_suite.py:")


def test_a_child_dies_before_the_chosen_call_and_runs_to_its_end_when_there_are_fewer(tmp_path):
    def work(number):
        def make(tell):
            die_at_call(number, tell)
            for name in "abc":
                os.mkdir(tmp_path / f"{number}{name}")

        return make

    assert in_child(work(2)) == (-signal.SIGKILL, "os.mkdir")
    assert in_child(work(9)) == (0, "")
    assert sorted(os.listdir(tmp_path)) == ["2a", "9a", "9b", "9c"]


def test_the_command_prints_a_line_per_check_and_a_sum(tmp_path):
    done = suite("overlay2", "--root", str(tmp_path / "new"), "-k", "layers", "-k", "stack")
    lines = done.stdout.splitlines()
    assert [line.split(" (")[0] for line in lines] == [
        "layers_stack ... ok",
        "a_hundred_and_twenty_eight_layers_stack ... ok",
        "2 passed, 0 failed, 0 skipped",
    ]
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(tmp_path / "new") == []


def offer(place: Path, name: str, value: str) -> None:
    """A driver as a package that pip put there."""
    info = place / f"{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[trioker.storage]\n{name} = {value}\n")


def test_the_command_finds_a_stranger_s_driver_and_tells_which_promise_it_breaks(tmp_path):
    (tmp_path / "drivers").mkdir()
    (tmp_path / "drivers/lazy_driver.py").write_text(
        "import broken_drivers\n\n\ndef open_driver(root, options):\n    return broken_drivers.Lazy(root)\n"
    )
    offer(tmp_path / "drivers", "lazy", "lazy_driver:open_driver")
    done = suite("lazy", "--driver-dir", str(tmp_path / "drivers"), "--root", str(tmp_path), "-k", "create_killed")
    first, summary = done.stdout.splitlines()
    assert first.startswith("a_create_killed_anywhere_can_be_removed_and_repeated ... FAILED ")
    assert (summary, done.returncode) == ("0 passed, 1 failed, 0 skipped", 1)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("nosuch", "--root", "{}"), "no storage driver 'nosuch'; there are: "),
        (("vfs", "--root", "{}", "-k", "nosuch"), "no check has nosuch in its name; --list shows them"),
        (("vfs",), "which driver, and where? driver_suite NAME --root DIR"),
        (("vfs", "--root", "{}", "--storage-opt", "size"), "'size' is not KEY=VALUE"),
        (("vfs", "--root", "{}", "--storage-opt", "colour=red"), "unknown option 'colour': vfs has none"),
        (("btrfs", "--root", "/dev/shm"), "is not on a btrfs filesystem"),
    ],
)
def test_the_command_says_in_one_line_why_it_cannot_begin(arguments, why, tmp_path):
    done = suite(*(each.format(tmp_path) for each in arguments))
    assert done.returncode == 2
    assert why in done.stderr.splitlines()[-1]


def test_the_names_of_the_checks_can_be_listed():
    assert suite("--list").stdout.splitlines() == list(CHECKS)
