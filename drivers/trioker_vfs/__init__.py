"""The vfs driver: every layer a full copy. Slow and large, works on every filesystem, and is the yardstick for the others."""

from collections.abc import Mapping
from pathlib import Path

from trioker.storage.driver import Driver, Unsupported
from trioker_vfs.driver import Vfs

__all__ = ["open_driver"]


def open_driver(root: Path, options: Mapping[str, str]) -> Driver:
    """Open ``root``; there are no options. Raises Unsupported where ``root`` cannot be written, ValueError for any option."""
    if options:
        raise ValueError(f"unknown option {min(options)!r}: vfs has none")
    try:
        return Vfs(root)
    except OSError as error:
        raise Unsupported(f"cannot write in {root}: {error.strerror}") from error
