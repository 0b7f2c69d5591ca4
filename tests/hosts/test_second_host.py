"""The file on a Debian of its own, in qemu: control groups of version 2 alone, an older kernel, nothing of the developer's machine.

Each deed is a function of the modules in ``guest/``, which run there; what it asserts there fails here.
"""

import itertools
import random
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import base, btrfs_disk, disk_of, empty_disk, xfs_disk
from machine import DOORS, Disks, Machine, switched_on

pytestmark = pytest.mark.root

TESTS = Path(__file__).parent.parent
DEEDS = (
    "life.a_spare_monitors_death",
    "life.daemons_death",
    "network.bridge",
    "network.names",
    "network.published",
    "limits.memory",
    "limits.swap",
    "limits.processes",
    "limits.processor",
    "limits.devices",
    "trees.commit",
    "trees.death_in_a_commit",
    "trees.build",
    "users.remapped",
)
ON_XFS = ("begin", "a_hog", "a_build", "death", "end")
CUTS = 2
BEFORE_A_CUT, FEW = 12, 4
"""Images acknowledged, about."""


@pytest.fixture(scope="module")
def host(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One machine with one disk of data for all tests; in the end it goes down as a host does."""
    directory = tmp_path_factory.mktemp("second-host")
    others = (btrfs_disk(directory / "btrfs"), xfs_disk(directory / "xfs"))
    disks = Disks(base(), brought(pyz, directory), empty_disk(directory / "data"), others)
    with switched_on(disks, directory / "log") as machine:
        yield machine
        machine.switch_off()


def brought(pyz: Path, directory: Path) -> Path:
    """A disk with what the guest needs of us."""
    tree = directory / "brought"
    for each in ("harness", "hosts/guest"):
        shutil.copytree(TESTS / each, tree / Path(each).name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (pyz, TESTS.parent / "zipapp" / "demo.py"):
        shutil.copy(file, tree)
    return disk_of(tree, directory / "brought.disk")


def test_a_host_of_version_2_has_all_that_is_needed(host: Machine) -> None:
    found = host.do("host.check")
    assert "cgroups           version 2\n" in found
    assert "trioker can run here" in found
    lacks = [line for line in found.splitlines() if line.startswith(("warn", "missing"))]
    assert all("storage btrfs" in line for line in lacks), lacks


def test_the_main_job_works_and_leaves_nothing(host: Machine) -> None:
    assert "nothing is left" in host.do("host.demo")


@pytest.fixture(scope="module")
def engine(host: Machine) -> Iterator[Machine]:
    """With a daemon that has an image; when it stops nothing is left of the containers."""
    host.do("host.start")
    yield host
    host.do("host.stop")


@pytest.mark.parametrize("deed", DEEDS)
def test_it_holds_on_version_2(engine: Machine, deed: str) -> None:
    engine.do(deed)


def test_overlay_limits_what_a_container_writes_on_xfs(host: Machine) -> None:
    for deed in ON_XFS:
        host.do(f"xfs.{deed}")


def test_published_ports_are_open_to_the_world_also_while_the_daemon_is_dead(engine: Machine) -> None:
    container = engine.do("network.publish", *DOORS)
    for deed in ("host.kill", "host.start"):
        assert [engine.ask(door) for door in DOORS] == ["hello\n", ""]
        engine.do(deed)
    assert [engine.ask(door) for door in DOORS] == ["hello\n", ""]
    engine.do("network.unpublish", container)
    assert [engine.ask(door) for door in DOORS] == ["", ""]


def test_containers_have_ended_after_an_orderly_reboot_with_all_their_output(engine: Machine) -> None:
    left = engine.do("life.leave_running")
    engine.switch_off()
    engine.switch_on()
    engine.do("host.start")
    engine.do("life.found_ended", left, "all")


def test_power_cuts_lose_nothing_that_was_acknowledged(engine: Machine) -> None:
    moments, acknowledged = random.Random(4), []
    for cut in range(CUTS):
        left = engine.do("life.leave_running")
        acknowledged += images_until_a_cut(engine, 1000 * cut, moments)
        engine.switch_on()
        engine.do("host.start")
        engine.do("life.found_ended", left, "some")
        engine.do("power.check_images", acknowledged)
    engine.do("power.remove_images")


def test_power_cuts_lose_nothing_on_btrfs_and_harm_no_store_on_its_move(engine: Machine) -> None:
    moments = random.Random(5)
    start_on_btrfs(engine, "-s", "btrfs")
    images = images_until_a_cut(engine, 0, moments, FEW)
    engine.switch_on()
    start_on_btrfs(engine)
    engine.do("power.check_images", images)
    containers = engine.do("moves.make_containers")
    engine.do("moves.end_daemon")
    cut_at_the_end_of_a_move(engine, moments)
    engine.switch_on()
    start_on_btrfs(engine)
    engine.do("power.check_images", images)
    engine.do("moves.check_containers", containers)
    engine.do("moves.end_daemon")
    assert "overlay" in engine.do("moves.migrate", "overlay")
    engine.do("host.leave_btrfs")
    engine.do("host.start")


def start_on_btrfs(engine: Machine, *flags: str) -> None:
    engine.do("host.move_to_btrfs", *flags)
    engine.do("host.start")


def cut_at_the_end_of_a_move(engine: Machine, moments: random.Random) -> None:
    """Cut the power a moment after the last layer was moved to overlay: before, in or after the switch to it."""
    for line in engine.follow("moves.migrate", "overlay"):
        number, total, word = re.findall(r"(\d+)/(\d+) (\w+)", line)[0]
        if word == "Moved" and number == total:
            break
    time.sleep(moments.uniform(0, 0.5))
    engine.cut_power()


def images_until_a_cut(engine: Machine, first: int, moments: random.Random, about: int = BEFORE_A_CUT) -> list[str]:
    """Names of those that were acknowledged when the power went, at a moment that has nothing to do with what went on."""
    wanted = about + moments.randrange(4)
    images = engine.follow("power.make_images", first)
    acknowledged = list(itertools.islice(images, wanted))
    time.sleep(moments.uniform(0, 1.0))
    return acknowledged + engine.cut_power()
