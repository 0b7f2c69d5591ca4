"""The same doings are told in the same words by every driver."""

import os
import shutil
from pathlib import Path

import pytest
from btrfs_disk import btrfs_disk
from polling import wait_until

import trioker_btrfs
import trioker_overlay
import trioker_vfs
from trioker.linux.private import in_private_mounts
from trioker.storage.driver import Change
from trioker.testing.driver_suite.mutation import Mutator
from trioker.testing.driver_suite.trial import BASE, MIDDLE, TOP, Trial

pytestmark = pytest.mark.root

SEEDS = range(100, 108)
STEPS = 80
LAYERS = ((MIDDLE, BASE), (TOP, MIDDLE))


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A directory for each driver."""
    place = tmp_path_factory.mktemp("alike")
    with btrfs_disk(place) as disk:
        yield {trioker_overlay: place / "overlay", trioker_vfs: place / "vfs", trioker_btrfs: disk / "btrfs"}


@pytest.mark.parametrize("seed", SEEDS)
def test_random_doings_are_told_alike_by_all_drivers(seed, places):
    told = {}
    for driver, place in places.items():
        place.mkdir()
        told[driver.__name__] = in_private_mounts(lambda driver=driver, place=place: tell(driver, place, seed))
        shutil.rmtree(place)
    first, *others = told.values()
    assert all(layer for layer in first)
    assert others == [first] * len(others), told


def tell(driver, place: Path, seed: int) -> list[list[Change]]:
    """What a driver says of two layers. In those below, files have one name each: an overlay copies up one name at a time (overlayfs.rst)."""
    trial = Trial(driver.open_driver, place)
    mutate(trial.base(), seed, linking=False)
    for key, parent in LAYERS:
        let_clock_tick(place)
        trial.driver.create(key, parent)
        with trial.shown(key) as root:
            mutate(root, seed + len(SEEDS) * (key == TOP) + 1, linking=key == TOP)
    said = [trial.changes(key) for key, _ in LAYERS]
    trial.remove_all()
    return said


def mutate(root: Path, seed: int, *, linking: bool) -> None:
    Mutator(root, seed, linking=linking).run(STEPS)


def let_clock_tick(place: Path) -> None:
    """So that a directory in which something came and went has another date than the parent's."""
    probe = place / "probe"
    probe.touch()
    moment = probe.stat().st_mtime_ns

    def is_past() -> bool:
        os.utime(probe)
        return probe.stat().st_mtime_ns > moment

    wait_until(is_past, "the next tick of the filesystem's clock")
    probe.unlink()
