"""The file on a Debian of its own, in qemu: control groups of version 2 alone, an older kernel, nothing of the developer's machine.

Each deed is a function of the modules in ``guest/``, which run there; what it asserts there fails here.
"""

import itertools
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import base, disk_of, empty_disk
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
CUTS = 2
BEFORE_A_CUT = 12
"""Images acknowledged, about."""


@pytest.fixture(scope="module")
def host(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One machine with one disk of data for all tests; in the end it goes down as a host does."""
    directory = tmp_path_factory.mktemp("second-host")
    with switched_on(
        Disks(base(), brought(pyz, directory), empty_disk(directory / "data")), directory / "log"
    ) as machine:
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


def images_until_a_cut(engine: Machine, first: int, moments: random.Random) -> list[str]:
    """Names of those that were acknowledged when the power went, at a moment that has nothing to do with what went on."""
    wanted = BEFORE_A_CUT + moments.randrange(4)
    images = engine.follow("power.make_images", first)
    acknowledged = list(itertools.islice(images, wanted))
    time.sleep(moments.uniform(0, 1.0))
    return acknowledged + engine.cut_power()
