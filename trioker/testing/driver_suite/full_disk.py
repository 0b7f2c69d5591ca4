"""A disk without room, in bytes and in inodes: a small one made for it, in the check's own mount namespace."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from unittest import SkipTest

from trioker.linux import syscalls
from trioker.storage.driver import Driver, Lists, Unsupported
from trioker.testing.driver_suite.trial import BASE, MIDDLE, OTHER, TOP, Trial

_SMALLEST = 400 * 2**20
"""What every mkfs takes; xfs wants 300 MiB."""
_BLOCK = 4096
_FILLERS = 40
_MOST_FILES = 1000


def a_full_disk_fails_cleanly(trial: Trial) -> None:
    """What is made half fails with ENOSPC and can be removed, what is there stays whole, can be removed too, and the data opened."""
    with _small_disk(trial) as place:
        full = Trial(trial.open_driver, place / "driver", trial.options)
        full.base("file")
        full.driver.create(TOP, BASE)
        full.driver.create(MIDDLE, BASE)
        fillers = _fill_up(place)
        while fillers:
            if _is_made(full.driver, OTHER):
                break
            full.driver.remove(OTHER)
            _expect_listed(full.driver, OTHER, there=False)
            fillers.pop().unlink()
        assert fillers, "create() did not come to room again"
        while fillers and not _is_opened(full):
            fillers.pop().unlink()
        for key in (BASE, TOP, OTHER):
            full.expect_whole(key, "file")
        _fill_up(place)
        for key in (TOP, MIDDLE):
            full.driver.remove(key)
            _expect_listed(full.driver, key, there=False)
        full.remove_all()


def _is_made(driver: Driver, key: str) -> bool:
    try:
        driver.create(key, BASE)
    except OSError as error:
        if error.errno not in syscalls.DISK_FULL:
            raise
        return False
    return True


def _is_opened(trial: Trial) -> bool:
    """A daemon must come up on a full disk, or nothing could be removed; a driver that needs a little room may say that it has none."""
    trial.driver.close()
    try:
        trial.driver = trial.open()
    except (OSError, Unsupported):
        return False
    return True


def _expect_listed(driver: Driver, key: str, *, there: bool) -> None:
    if isinstance(driver, Lists):
        assert (key in set(driver.keys())) is there


def _fill_up(place: Path) -> list[Path]:
    """Leave no room, in bytes and, where they are few, in inodes. Returns small files whose removal makes room again, last first."""
    with suppress(OSError), open(place / "large", "ab") as file:
        found = os.statvfs(place)
        room = found.f_bavail * found.f_frsize - _FILLERS * _BLOCK
        os.posix_fallocate(file.fileno(), file.tell(), room)
    start = len(os.listdir(place))
    made = [place / f"small-{start + number}" for number in range(_MOST_FILES)]
    blocks = list(takewhile(lambda path: _is_written(path, bytes(_BLOCK)), made))
    return [*blocks, *takewhile(lambda path: _is_written(path, b""), made[len(blocks) :])]


def _is_written(path: Path, content: bytes) -> bool:
    try:
        path.write_bytes(content)
    except OSError:
        path.unlink(missing_ok=True)
        return False
    return True


@contextmanager
def _small_disk(trial: Trial) -> Iterator[Path]:
    """A tmpfs, or where the driver does not take one, a disk of the type ``trial.root`` lies on."""
    place = trial.root / "small-disk"
    place.mkdir()
    try:
        if not _mount_tmpfs(trial, place):
            _mount_image(trial, place)
        yield place
    finally:
        with suppress(OSError):
            syscalls.umount2(str(place), syscalls.MNT_DETACH)
        shutil.rmtree(place)
        (trial.root / "disk").unlink(missing_ok=True)


def _mount_tmpfs(trial: Trial, place: Path) -> bool:
    syscalls.mount("tmpfs", str(place), "tmpfs", 0, "size=2m,nr_inodes=200")
    (place / "driver").mkdir()
    try:
        trial.open_driver(place / "driver", trial.options).close()
    except Unsupported:
        syscalls.umount2(str(place), syscalls.MNT_DETACH)
        return False
    return True


def _mount_image(trial: Trial, place: Path) -> None:
    kind = _filesystem(trial.root)
    make = shutil.which(f"mkfs.{kind}")
    if make is None:
        raise SkipTest(f"there is no mkfs.{kind} to make a small disk with")
    image = trial.root / "disk"
    image.touch()
    os.truncate(image, _SMALLEST)
    subprocess.run([make, "-q", str(image)], check=True, capture_output=True, timeout=60)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True, capture_output=True, timeout=60)
    (place / "driver").mkdir()


def _filesystem(path: Path) -> str:
    shown = subprocess.run(
        ["stat", "-f", "-c", "%T", str(path)], check=True, capture_output=True, text=True, timeout=10
    )
    return {"ext2/ext3": "ext4"}.get(shown.stdout.strip(), shown.stdout.strip())


CHECKS = (a_full_disk_fails_cleanly,)
