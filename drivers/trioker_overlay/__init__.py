"""The overlay driver: one directory per layer, stacked by overlayfs (Documentation/filesystems/overlayfs.rst)."""

from collections.abc import Mapping
from pathlib import Path

from trioker.storage.driver import Driver, Unsupported, parse_size
from trioker_overlay.driver import Overlay
from trioker_overlay.probe import limit_refusal, long_chains_work, refusal

__all__ = ["open_driver"]


def open_driver(root: Path, options: Mapping[str, str]) -> Driver:
    """Open ``root`` after trying a real overlay there. The option ``size`` ("10G") is how much each container may add to its image.

    Raises Unsupported naming what the host or the filesystem under ``root`` cannot do; ValueError for an option it does not know or cannot read.
    """
    unknown = sorted(options.keys() - {"size"})
    if unknown:
        raise ValueError(f"unknown option {unknown[0]!r}: overlay has only size")
    size = parse_size(options["size"]) if "size" in options else 0
    why = (limit_refusal(root) if size else "") or refusal(root)
    if why:
        raise Unsupported(why)
    return Overlay(root, long_chains=long_chains_work(), size=size)
