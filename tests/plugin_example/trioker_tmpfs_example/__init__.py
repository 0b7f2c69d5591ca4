"""An example of a storage driver: layers in memory, for an engine that is thrown away (CI jobs, demonstrations).

It insists on a root that lies on a tmpfs, ``trioker.pyz -d -s tmpfs -g /dev/shm/trioker``: then records and layers are lost together, at the
next boot, and never one without the other. Until then they outlive every daemon.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from trioker.linux.private import in_private_mounts
from trioker.storage.driver import Driver, Unsupported
from trioker_tmpfs_example.driver import Tmpfs, try_overlay

__all__ = ["open_driver"]


def open_driver(root: Path, options: Mapping[str, str]) -> Driver:
    """The entry point. Raises Unsupported where it cannot work, ValueError for an option: it has none."""
    if options:
        raise ValueError(f"unknown option {min(options)!r}: tmpfs has none")
    found = filesystem(root)
    if found != "tmpfs":
        raise Unsupported(
            f"{root} is on {found}, and these layers live in memory: give -g a directory on a tmpfs, such as /dev/shm/trioker"
        )
    driver = Tmpfs(root)
    try:
        in_private_mounts(lambda: try_overlay(root))
    except OSError as error:
        raise Unsupported(f"no overlay can be mounted on the tmpfs of {root}: {error.strerror}") from error
    return driver


def filesystem(path: Path) -> str:
    """The type of the filesystem that ``path`` lies on (proc_pid_mountinfo(5)); of several mounted over one another the last counts."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/thread-self/mountinfo", encoding="utf-8", errors="replace") as table:
        rows = [line.split() for line in table]
    return next(
        (row[row.index("-") + 1] for row in reversed(rows) if row[2] == wanted), "a filesystem mounted elsewhere"
    )
