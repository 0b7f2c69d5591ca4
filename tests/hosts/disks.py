"""The second host's disks: a Debian 12 as it comes from the archive, what the tests bring along, and a disk for data.

The Debian is made once, in a minute, and kept in ``.cache/hosts`` under the hash of its recipe; it is only ever read.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from btrfs_disk import MIB, make_disk
from cpio import Member, archive

CACHE = Path(__file__).parent.parent.parent / ".cache" / "hosts"
MADE_WITHIN = 900  # seconds to fetch and install a hundred packages
TOOL_WITHIN = 120
"""Seconds for what works on a disk's image."""

SUITE = "bookworm"
PACKAGES = ("python3", "linux-image-cloud-amd64", "tiny-initramfs", "kmod", "busybox-static")
"""What a Debian has anyhow, but for the last, of which the containers' image is made. The kernel's package wants a program that makes an
initramfs; the third is the smallest there is, and what it makes is not used."""
OPTIONS = (
    "--variant=minbase",
    f"--include={','.join(PACKAGES)}",
    '--aptopt=Acquire::Languages "none"',
    '--aptopt=Acquire::Retries "3"',
    "--dpkgopt=force-unsafe-io",
    *(f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in ("doc", "man", "locale")),
)
ROOT_SIZE, DATA_SIZE = "1G", "2G"  # of files with holes
BTRFS_SIZE, XFS_SIZE = 2048 * MIB, 512 * MIB
DRIVERS = ("virtio_pci", "virtio_blk", "virtio_console")
"""What the kernel has not built in and needs to reach its disks and us; for all else it calls modprobe."""

BROUGHT = "/mnt"
"""Where the guest has what is brought along; with it goes the script that does all the rest of its boot."""
INIT = f"""#!/bin/busybox sh
set -e
busybox mount -t devtmpfs dev /dev
while read -r driver; do busybox insmod /$driver; done < /drivers
busybox mount -r -t ext4 /dev/vda /root
busybox mount -r -t ext4 /dev/vdb /root{BROUGHT}
busybox mount -o move /dev /root/dev
exec busybox switch_root /root /bin/sh {BROUGHT}/guest/boot.sh
"""


class Base(NamedTuple):
    """What a guest is booted from."""

    kernel: Path
    initramfs: Path
    root: Path


def base() -> Base:
    """The Debian, made now if the cache lacks it; two that ask at once get the same one."""
    directory = CACHE / _recipe()
    with _alone(CACHE):
        if not directory.exists():
            _make(directory)
    return Base(directory / "vmlinuz", directory / "initramfs", directory / "root.ext4")


def disk_of(tree: Path, image: Path) -> Path:
    """A disk with the files of ``tree``."""
    return _format(image, "256M", "-d", str(tree))


def empty_disk(image: Path) -> Path:
    """A disk with nothing on it."""
    return _format(image, DATA_SIZE)


def btrfs_disk(image: Path) -> Path:
    """One with btrfs, which the guest has no program to make."""
    make_disk(image, BTRFS_SIZE)
    return image


def xfs_disk(image: Path) -> Path:
    """One with xfs, the same."""
    with image.open("xb") as file:
        file.truncate(XFS_SIZE)
    _run(["mkfs.xfs", "-q", str(image)])
    return image


def faults(image: Path) -> str:
    """What e2fsck has to say against the filesystem on a disk that nobody has mounted; nothing is repaired."""
    done = subprocess.run(["e2fsck", "-fn", image], capture_output=True, text=True, timeout=TOOL_WITHIN, check=False)
    return f"{done.stdout}{done.stderr}" if done.returncode else ""


def _recipe() -> str:
    """All the base depends on but the archive's state."""
    recipe = (SUITE, OPTIONS, ROOT_SIZE, DRIVERS, INIT)
    return hashlib.sha256(repr(recipe).encode()).hexdigest()[:16]


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(directory: Path) -> None:
    """All in a directory aside that is renamed at the end: there is a whole base or none. Older ones go. Needs Debian's archive or a mirror."""
    for stale in CACHE.glob("*/"):
        shutil.rmtree(stale)
    with tempfile.TemporaryDirectory(dir=CACHE) as aside:
        tree, made = Path(aside, "tree"), Path(aside, "base")
        _bootstrap(tree)
        made.mkdir()
        (kernel,) = tree.glob("boot/vmlinuz-*")
        shutil.copy(kernel, made / "vmlinuz")
        (made / "initramfs").write_bytes(archive(_initramfs(tree)))
        _format(made / "root.ext4", ROOT_SIZE, "-O", "^has_journal", "-d", str(tree))
        made.rename(directory)


def _bootstrap(tree: Path) -> None:
    mirrors = _mirrors()
    try:
        _run(["mmdebstrap", *OPTIONS, *_proxies(), SUITE, str(tree), *mirrors], within=MADE_WITHIN)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        raise AssertionError(
            f"no Debian {SUITE} from {', '.join(mirrors) or 'deb.debian.org'}: is it reached from here?\n{error}"
        ) from None


def _mirrors() -> list[str]:
    """Where this host's apt gets the same Debian, as lines of a sources.list; none on another: then it is deb.debian.org."""
    wanted = ("Created-By: Packages", "Origin: Debian", "Component: main")
    said = _run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", *wanted])
    found = dict.fromkeys(tuple(line.split()) for line in said.splitlines())
    return [f"deb {uri} {release} main" for uri, release in found if release.partition("-")[0] == SUITE]


def _proxies() -> list[str]:
    """The proxies that this host's apt is told to use; those of the environment are used anyhow."""
    lines = _run(["apt-config", "dump"]).splitlines()
    return [f"--aptopt={line}" for line in lines if re.match(r'Acquire::\S*proxy\S* "[^"]', line, re.IGNORECASE)]


def _initramfs(tree: Path) -> list[Member]:
    (modules,) = tree.glob("usr/lib/modules/*")
    drivers = _with_needed(modules)
    files = [
        Member("bin/busybox", 0o755, (tree / "usr/bin/busybox").read_bytes()),
        Member("init", 0o755, INIT.encode()),
        Member("drivers", 0o644, "".join(f"{Path(each).name}\n" for each in drivers).encode()),
    ]
    directories = [Member(name, 0o755) for name in ("bin", "dev", "root")]
    return [*directories, *files, *(Member(Path(each).name, 0o644, (modules / each).read_bytes()) for each in drivers)]


def _with_needed(modules: Path) -> list[str]:
    """The files of DRIVERS and of what they need, each behind what it needs (modules.dep(5))."""
    lines = (line.partition(":") for line in (modules / "modules.dep").read_text().splitlines())
    needs = {Path(path).name.removesuffix(".ko"): [path, *needed.split()] for path, _, needed in lines}
    return list(dict.fromkeys(path for name in DRIVERS for path in reversed(needs[name])))


def _format(image: Path, size: str, *options: str) -> Path:
    _run(["mke2fs", "-q", "-t", "ext4", *options, str(image), size])
    return image


def _run(command: Sequence[str], within: float = TOOL_WITHIN) -> str:
    """What it prints. Raises AssertionError with all it said if it fails."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=within, check=False,
        env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    return done.stdout
