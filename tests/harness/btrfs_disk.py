"""A btrfs filesystem in a file, on a loop device that is freed with its mount. Needs root and mkfs.btrfs (btrfs-progs)."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 2**20


def make_disk(image: Path, size: int) -> None:
    """A file with an empty filesystem of ``size`` bytes in it; 128 MiB is about the least."""
    with image.open("xb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True, stdout=subprocess.DEVNULL)


@contextmanager
def mounted(image: Path, place: Path, *options: str) -> Iterator[Path]:
    """The filesystem, mounted on ``place``, which is made."""
    place.mkdir()
    subprocess.run(["mount", "-o", ",".join(("loop", *options)), image, place], check=True)
    try:
        yield place
    finally:
        busy = subprocess.run(["umount", place], check=False).returncode  # after a test that failed and left files open
        if busy:
            subprocess.run(["umount", "--lazy", place], check=True)
    assert not busy, f"something is open on {place}"


@contextmanager
def btrfs_disk(directory: Path, size: int = 1024 * MIB) -> Iterator[Path]:
    """A disk of its own in ``directory``, gone afterwards."""
    image = directory / "disk.img"
    make_disk(image, size)
    try:
        with mounted(image, directory / "disk") as place:
            yield place
    finally:
        image.unlink()
