"""Containers frozen while their files are read: nothing in them runs, nothing stays frozen, nothing is left."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from polling import wait_until

from trioker.linux import cgroups
from trioker.linux.cgroup_freezer import Freezer
from trioker.linux.cgroup_layout import Hierarchies

pytestmark = pytest.mark.root

PROJECT = str(Path(__file__).parents[2])
PARENT = f"trioker-freeze-{os.getpid()}"
PATH = f"{PARENT}/x"
BUSY = "i=0; while :; do i=$((i+1)); echo $i >> {0}; /bin/true; done"


def unified_only():
    """The host as if it had only its version 2 tree."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        mounts = [line.split()[4] for line in file if " - cgroup2 " in line]
    if not mounts:
        pytest.skip("this host has no version 2 tree")
    return Freezer(Hierarchies({}, mounts[0], frozenset(), swap_limit=False), "")


@pytest.fixture(params=["host", "unified"])
def freezer(request):
    found = Freezer.detect() if request.param == "host" else unified_only()
    if not found.mount and "devices" in found.hierarchies.v1:
        pytest.skip("this host has no freezer")
    yield found
    cgroups.remove_parent(found.hierarchies, PARENT)
    assert list(Path("/sys/fs/cgroup").glob(f"*/{PARENT}*")) == []


@pytest.fixture
def group(freezer):
    made = cgroups.create(freezer.hierarchies, PATH, cgroups.Limits(pids=60))
    yield made
    freezer.thaw(PATH)
    assert made.kill()
    made.remove()


@contextlib.contextmanager
def busy(group, file, count=3):
    """Processes in the group that fork and write all the time."""
    writers = []
    for _ in range(count):
        writers.append(subprocess.Popen(["sh", "-c", BUSY.format(file)], stderr=subprocess.DEVNULL))
        group.enter(writers[-1].pid)
    wait_until(lambda: file.exists() and file.stat().st_size > 100, "the writers")
    yield writers
    group.kill()
    for each in writers:
        each.wait(10)


def test_a_busy_group_stops_at_once_and_goes_on(freezer, group, tmp_path):
    file = tmp_path / "numbers"
    with busy(group, file):
        for _ in range(10):
            freezer.freeze(PATH)
            size = file.stat().st_size
            assert {file.stat().st_size for _ in range(1000)} == {size}
            freezer.thaw(PATH)
            wait_until(lambda size=size: file.stat().st_size > size, "a thawed writer")


def test_nothing_is_left_of_a_freeze(freezer, group, tmp_path):
    home = Path("/proc/self/cgroup").read_text()
    with busy(group, tmp_path / "numbers", 1) as (writer,):
        before = Path(f"/proc/{writer.pid}/cgroup").read_text()
        freezer.freeze(PATH)
        freezer.thaw(PATH)
        freezer.thaw(PATH)
        assert Path(f"/proc/{writer.pid}/cgroup").read_text() == before
        assert [line for line in home.splitlines() if "freezer" in line] == [
            line for line in before.splitlines() if "freezer" in line
        ]


def test_a_group_that_is_empty_or_gone_is_fine(freezer, group):
    freezer.freeze(PATH)
    freezer.thaw(PATH)
    freezer.freeze(f"{PATH}/../nothing")
    freezer.thaw(f"{PATH}/../nothing")


def test_what_is_killed_while_frozen_ends_when_it_is_thawed(freezer, group, tmp_path):
    with busy(group, tmp_path / "numbers", 1) as (writer,):
        freezer.freeze(PATH)
        writer.kill()
        freezer.thaw(PATH)
        assert writer.wait(10) == -signal.SIGKILL


def test_a_group_that_cannot_be_frozen_in_time_goes_on(freezer, group, tmp_path):
    if not freezer.mount:
        pytest.skip("version 2 may have frozen it before one can look")
    file = tmp_path / "numbers"
    with busy(group, file):
        with pytest.raises(TimeoutError, match="did not freeze"):
            freezer.freeze(PATH, timeout=-1)
        size = file.stat().st_size
        wait_until(lambda: file.stat().st_size > size, "a writer that goes on")


def test_version_2_is_told_to_go_on_where_a_group_did_not_freeze_in_time(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x/cgroup.events").write_text("populated 1\nfrozen 0\n")
    (tmp_path / "x/cgroup.freeze").touch()
    freezer = Freezer(Hierarchies({}, str(tmp_path), frozenset(), swap_limit=False), "")
    with pytest.raises(TimeoutError, match="did not freeze"):
        freezer.freeze("x", timeout=0.05)
    assert (tmp_path / "x/cgroup.freeze").read_text() == "0"


FREEZE = """
import sys
from trioker.linux.cgroup_freezer import Freezer
from trioker.linux.cgroup_layout import Hierarchies
v1, v2, mount, path = eval(sys.argv[1])
Freezer(Hierarchies(v1, v2, frozenset(), False), mount).freeze(path)
print("frozen", flush=True)
sys.stdin.read()
"""


def test_another_process_thaws_what_a_killed_one_has_frozen(freezer, group, tmp_path):
    file = tmp_path / "numbers"
    hierarchies = freezer.hierarchies
    with busy(group, file):
        order = repr((hierarchies.v1, hierarchies.v2, freezer.mount, PATH))
        command = [sys.executable, "-c", FREEZE, order]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PYTHONPATH": PROJECT}
        ) as other:
            assert other.stdout.readline() == b"frozen\n"
            other.kill()
        size = file.stat().st_size
        freezer.thaw(PATH)
        wait_until(lambda: file.stat().st_size > size, "a thawed writer")
