"""The contract of a storage driver, as checks that run over any driver. For outsiders too.

Each check is a named promise of ``trioker.storage.driver``. They need root and the real kernel: trees are mounted as a container sees them,
each check in a mount namespace of its own, on a directory of its own in the one that is given. From a shell, for a driver that is installed::

    python -m trioker.testing.driver_suite overlay --root /mnt/disk
    PYTHONPATH=trioker.pyz python3 -m trioker.testing.driver_suite mine --driver-dir DIR --root /mnt/disk

In a test suite, one test per promise (a check that cannot be made on a host raises unittest.SkipTest, which pytest understands)::

    @pytest.mark.parametrize("name", CHECKS)
    def test_contract(name, tmp_path):
        run(name, open_driver, tmp_path)

``check(open_driver, root)`` runs all of them and raises from the first that fails.
"""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from trioker.linux.private import in_private_mounts
from trioker.storage.driver import OpenDriver
from trioker.testing.driver_suite import changes, crashes, crowds, files, full_disk, lasting, trees
from trioker.testing.driver_suite.trial import NO_OPTIONS, Check, Trial

__all__ = ["CHECKS", "check", "run"]

CHECKS: Mapping[str, Check] = {
    check.__name__: check
    for topic in (trees, files, changes, lasting, crowds, crashes, full_disk)
    for check in topic.CHECKS
}
"""Every check by its name, which is the promise."""


def check(open_driver: OpenDriver, root: Path, options: Mapping[str, str] = NO_OPTIONS) -> None:
    """Run every check, each on a directory of its own in ``root``."""
    for name in CHECKS:
        run(name, open_driver, root, options)


def run(name: str, open_driver: OpenDriver, root: Path, options: Mapping[str, str] = NO_OPTIONS) -> None:
    """Run one check; what it made is removed if it passed.

    Raises AssertionError, or whatever the driver raised; unittest.SkipTest where this host cannot make the check.
    """
    place = Path(tempfile.mkdtemp(prefix=f"{name[:40]}-", dir=root))

    def work() -> None:
        trial = Trial(open_driver, place, options)
        CHECKS[name](trial)
        trial.remove_all()

    in_private_mounts(work)
    shutil.rmtree(place)
