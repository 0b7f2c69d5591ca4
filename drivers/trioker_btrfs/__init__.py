"""The btrfs driver: one subvolume per layer, snapshots of one another (Documentation/filesystems/btrfs.rst, btrfs-subvolume(8))."""

from collections.abc import Mapping
from pathlib import Path

from trioker.storage.driver import Driver, Unsupported, parse_size
from trioker_btrfs.driver import Btrfs
from trioker_btrfs.probe import refusal

__all__ = ["open_driver"]


def open_driver(root: Path, options: Mapping[str, str]) -> Driver:
    """Open ``root`` after trying subvolumes there. The option ``size`` ("10G") is how much each container may add to its image.

    Raises Unsupported where ``root`` is not on btrfs, or cannot be limited as wanted; ValueError for an option it does not know or cannot read.
    """
    unknown = sorted(options.keys() - {"size"})
    if unknown:
        raise ValueError(f"unknown option {unknown[0]!r}: btrfs has only size")
    size = parse_size(options["size"]) if "size" in options else 0
    why = refusal(root, limited=bool(size))
    if why:
        raise Unsupported(why)
    return Btrfs(root, size)
