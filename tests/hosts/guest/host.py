"""This host and the one daemon on it, in the places of a real host: data on a disk, the rest on a tmpfs."""

import contextlib
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from busybox import busybox_tar
from daemon import Daemon, remove_all, traces
from host_state import links, mount_table

BROUGHT = Path(__file__).parent.parent
PYZ = BROUGHT / "trioker.pyz"
HOME, EXEC_ROOT = Path("/var/lib/host"), Path("/run/trioker")
IMAGE = "base"
"""Made of this host's busybox."""
_WITHIN = 300  # seconds for a program that ends by itself
_TABLES = struct.pack("=IHHIIBBH", 20, 10 << 8 | 1, 0x301, 1, 0, 0, 0, 0)
"""NFT_MSG_GETTABLE for all tables (linux/netlink.h, linux/netfilter/nf_tables.h)."""
_NETFILTER, _NEW_TABLE = 12, 10 << 8

BTRFS_DISK, BTRFS = "/dev/vdd", Path("/var/lib/btrfs")

_daemons: list[Daemon] = []


def daemon() -> Daemon:
    """It may not run yet, or no more."""
    if not _daemons:
        HOME.mkdir(exist_ok=True)
        _daemons.append(Daemon(PYZ, HOME, "-b", "", "--cleanup", "--log-opt", "max-size=100m"))
        _daemons[0].exec_root = EXEC_ROOT
    return _daemons[0]


def move_to_btrfs(*flags: str, say: Any) -> None:
    """Until the next boot the daemon is one on a disk with btrfs, of which nothing is written of the kernel's own accord either."""
    BTRFS.mkdir(exist_ok=True)
    if not BTRFS.is_mount():
        subprocess.run(["mount", "-t", "btrfs", "-o", "commit=86400", BTRFS_DISK, BTRFS], check=True)
    _daemons[:] = [Daemon(PYZ, BTRFS, *flags)]
    _daemons[0].exec_root = Path("/run/on-btrfs")


def leave_btrfs(*, say: Any) -> None:
    """No daemon runs there any more; the next one is the first one's again."""
    _daemons.clear()
    subprocess.run(["umount", BTRFS], check=True)
    BTRFS.rmdir()


def check(*, say: Any) -> str:
    """What ``check-host`` tells; it must find all that is needed."""
    return program("check-host")


def demo(*, say: Any) -> str:
    """The demo: a container's whole life, and nothing left of it."""
    return _run(str(BROUGHT / "demo.py"), str(PYZ))


def start(*, say: Any) -> None:
    """Start the daemon. It has an image IMAGE afterwards."""
    daemon().start()
    if not any(row.get("Repository") == IMAGE for row in daemon().api.ok("GET", "/images/json")):
        daemon().api.import_image(busybox_tar(), IMAGE)


def kill(*, say: Any) -> None:
    """``kill -9`` of the daemon."""
    daemon().kill()


def stop(*, say: Any) -> None:
    """Remove the containers and stop the daemon: nothing is left of them."""
    ids = remove_all(daemon().api) | daemon().api.made
    assert daemon().stop() == 0, daemon().log_text()
    assert not (left := traces(daemon(), ids)), left
    assert not EXEC_ROOT.exists(), list(EXEC_ROOT.rglob("*"))
    assert (now := state()) == _AT_FIRST, {key: set(now[key]) ^ set(_AT_FIRST[key]) for key in now}


def program(*arguments: str) -> str:
    """What trioker's file prints."""
    return _run(str(PYZ), *arguments)


def _run(*command: str) -> str:
    environment = os.environ | {"TMPDIR": "/var/lib"}
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=_WITHIN, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def state() -> dict[str, list[str]]:
    """What a daemon must leave as it was."""
    groups = [directory for directory, _, _ in os.walk("/sys/fs/cgroup")]
    routes = Path("/proc/net/route").read_text().splitlines()
    return {
        "mounts": mount_table(), "links": sorted(links()), "groups": sorted(groups),
        "routes": routes, "tables": tables(), "settings": settings(),
    }  # fmt: skip


def tables() -> list[str]:
    """The kernel's nftables, as it describes them."""
    found = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER) as sock:
        sock.settimeout(_WITHIN)
        sock.send(_TABLES)
        rest = sock.recv(65536)
    while rest:
        length, kind = struct.unpack_from("=IH", rest)
        found += [repr(rest[16:length])] if kind == _NEW_TABLE else []
        rest = rest[length + 3 & ~3 :]
    return found


def settings() -> list[str]:
    """The kernel's of its network."""
    found = []
    for path in [Path("/proc/sys/net/ipv4/ip_forward"), *Path("/proc/sys/net").glob("ipv?/conf/*/*")]:
        with contextlib.suppress(OSError):  # stable_secret can be read only when it is set
            found.append(f"{path} {path.read_text().strip()}")
    return sorted(found)


_AT_FIRST = state()
