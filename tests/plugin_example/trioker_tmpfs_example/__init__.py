"""An example of a storage driver: layers in memory, for an engine that is thrown away (CI jobs, demonstrations).

It insists on a root that lies on a tmpfs, ``trioker.pyz -d -s tmpfs -g /dev/shm/trioker``: then records and layers are lost together, at the
next boot, and never one without the other. Until then they outlive every daemon.
"""

from collections.abc import Mapping
from pathlib import Path

from trioker.linux.mounts import filesystem
from trioker.linux.private import in_private_mounts
from trioker.storage.driver import Driver, Unsupported
from trioker_tmpfs_example.driver import Tmpfs, try_overlay

__all__ = ["open_driver"]


def open_driver(root: Path, options: Mapping[str, str]) -> Driver:
    """The entry point. Raises Unsupported where it cannot work, ValueError for an option: it has none."""
    if options:
        raise ValueError(f"unknown option {min(options)!r}: tmpfs has none")
    found = filesystem(root) or "a filesystem mounted elsewhere"
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
