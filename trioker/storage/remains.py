"""What a driver has left: a directory, as files, whoever made them."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from trioker.launcher.failure import describe
from trioker.linux.trees import remove_tree
from trioker.model.errors import TriokerError

_ESCAPED = re.compile(r"\\([0-7]{3})")


def remove_directory(home: Path) -> None:
    """Remove a driver's directory with all that is still in it. A filesystem that is mounted on it is emptied and stays.

    An empty subvolume of btrfs is removed as a directory is (Linux 4.18). Raises TriokerError where something is mounted inside, or cannot be
    removed.
    """
    why = ""
    if inside := min(_mounts_inside(home), default=""):
        why = f"{inside} is mounted there"
    else:
        try:
            remove_tree(home)
        except OSError as error:
            why = "" if error.errno == errno.EBUSY and home.is_mount() else describe(error)
    if why:
        raise TriokerError(f"{home} could not be removed ({why}): remove it by hand, then call this again")


def _mounts_inside(home: Path) -> Iterator[str]:
    """Where something is mounted below it (proc_pid_mountinfo(5))."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            place = _ESCAPED.sub(lambda found: chr(int(found[1], 8)), line.split()[4])
            if place.startswith(f"{os.path.realpath(home)}/"):
                yield place
