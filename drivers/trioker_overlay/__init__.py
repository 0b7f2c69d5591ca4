"""The overlay driver: one directory per layer, stacked by overlayfs (Documentation/filesystems/overlayfs.rst)."""

from collections.abc import Mapping
from pathlib import Path

from trioker.storage.driver import Driver, Unsupported
from trioker_overlay.driver import Overlay
from trioker_overlay.probe import long_chains_work, refusal

__all__ = ["open_driver"]


def open_driver(root: Path, options: Mapping[str, str]) -> Driver:
    """Open ``root`` after trying a real overlay there; it has no options so far.

    Raises Unsupported naming what the host or the filesystem under ``root`` cannot do, or for ``size``; ValueError for any other option.
    """
    if "size" in options:
        raise Unsupported(
            "size= needs project quotas, which overlay does not use yet; btrfs can limit its layers (-s btrfs)"
        )
    if options:
        raise ValueError(f"unknown option {min(options)!r}: overlay has none")
    why = refusal(root)
    if why:
        raise Unsupported(why)
    return Overlay(root, long_chains=long_chains_work())
