"""Whose code it is: root runs what lies in a folder of drivers, so nobody else may write there."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path


def distrust(folder: Path) -> str:
    """Why code in ``folder`` must not be run, or cannot; "" where it may.

    The folder, what lies directly in it, and every directory on the way to it belong to root or to us, and nobody else may write them; a
    sticky directory on the way, such as /tmp, is fine: who owns an entry of it keeps it.
    """
    place = os.path.realpath(folder)
    try:
        writable = [path for path in (place, *_entries(place)) if _is_others(path)]
        writable += [str(path) for path in Path(place).parents if _is_others(path, sticky_is_fine=True)]
    except OSError as error:
        return f"{folder} cannot be read: {error.strerror}"
    return f"others than root may write {writable[0]}, and root would run it" if writable else ""


def _entries(place: str) -> Iterator[str]:
    with os.scandir(place) as found:
        yield from (entry.path for entry in found)


def _is_others(path: str | Path, *, sticky_is_fine: bool = False) -> bool:
    found = os.stat(path, follow_symlinks=False)
    if stat.S_ISLNK(found.st_mode):  # what it names is what counts
        found = os.stat(path)
    if sticky_is_fine and found.st_mode & stat.S_ISVTX:
        return found.st_uid not in (0, os.geteuid())
    return found.st_uid not in (0, os.geteuid()) or bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
