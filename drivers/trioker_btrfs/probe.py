"""Whether subvolumes can live in a directory, found out by making some; and what the driver's option says."""

import os
import tempfile
from pathlib import Path

from trioker.linux import btrfs, syscalls, trees
from trioker_btrfs import quotas
from trioker_btrfs.subvolumes import destroy, opened


def refusal(root: Path, *, limited: bool) -> str:
    """Why no layers can live in ``root``; empty if they can, or if the disk is too full to try: then, what is there must be removable.

    With ``limited`` it makes the filesystem count what its subvolumes allocate.
    """
    try:
        with opened(os.fspath(root)) as fd:
            if not btrfs.is_btrfs(fd):
                return f"{root} is not on a btrfs filesystem"
            return _try(root) or (quotas.enable(fd) if limited else "")
    except OSError as error:
        return f"cannot work in {root}: {error.strerror}"


def _try(root: Path) -> str:
    trial = tempfile.mkdtemp(prefix=trees.REMOVING, dir=root)  # a name that opening removes should we die here
    try:
        with opened(trial) as place:
            _use(place)
    except PermissionError:
        return "subvolumes are not permitted here (root with CAP_SYS_ADMIN is needed)"
    except OSError as error:
        if error.errno not in syscalls.DISK_FULL:
            raise
    finally:
        trees.remove_tree(trial)  # an empty subvolume goes like a directory
    return ""


def _use(place: int) -> None:
    btrfs.create_subvolume(place, "one")
    with opened("one", place) as source:
        btrfs.create_snapshot(source, place, "other")
    with opened("other", place) as snapshot:
        created = btrfs.subvolume_info(snapshot)
        btrfs.nested(place, created.id)
    destroy(place, [created.id])
