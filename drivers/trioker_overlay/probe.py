"""Whether overlayfs works on a directory, found out by using it: kernels, filesystems and sandboxes fail in too many ways to be asked."""

import errno
import os
import stat
import tempfile
from pathlib import Path

from trioker.linux import mounts, projects, syscalls, trees
from trioker.linux.private import in_private_mounts
from trioker_overlay.driver import OPTIONS
from trioker_overlay.quotas import NO_QUOTAS, Projects, opened

_WHY = {
    errno.ENODEV: "this kernel has no overlay (modprobe overlay)",
    errno.EPERM: "mounting is not permitted here (root with CAP_SYS_ADMIN is needed)",
    errno.EACCES: "mounting is not permitted here (root with CAP_SYS_ADMIN is needed)",
}
_TRIAL = 2**21
"""Bytes of the limit that is tried."""
_WHY_NOT = dict.fromkeys(("ext4", "f2fs"), ", whose own do not bind a daemon with CAP_SYS_RESOURCE")
_XFS_COUNTS = "/proc/fs/xfs/xqm"
"""A file that is there when the kernel's xfs can count for anybody."""


def refusal(root: Path) -> str:
    """Why no overlay can live in ``root``; empty if one can, or if the disk is too full to try: then, what is there must be removable.

    Leaves nothing there, in the mount table least of all.
    """
    try:
        return _try_out(root)
    except OSError as error:
        return "" if error.errno in syscalls.DISK_FULL else f"cannot write in {root}: {error.strerror}"


def long_chains_work() -> bool:
    """Whether the kernel takes lower layers one by one (``lowerdir+``, Linux 6.7), and so more of them than mount(2) has room for."""
    context = syscalls.fsopen("overlay")
    try:
        syscalls.fsconfig(context, syscalls.FSCONFIG_SET_STRING, "lowerdir+", "/")
    except OSError:
        return False
    finally:
        os.close(context)
    return True


def limit_refusal(root: Path) -> str:
    """Why layers cannot be limited in ``root``, and what to do; empty if a limit holds there, or if the disk is too full to try.

    On no other filesystem than xfs: ext4 and f2fs count projects too, but hold nobody to a limit who has CAP_SYS_RESOURCE, and overlayfs
    writes with the rights of the daemon.
    """
    found = _filesystem(os.fspath(root))
    why = _limit_refused(root) if found == "xfs" else f"and {root} is on {found}{_WHY_NOT.get(found, '')}"
    return why and f"size= needs xfs with project quotas, {why}; btrfs can limit its layers too (-s btrfs)"


def _limit_refused(root: Path) -> str:
    try:
        return _try_limit(root)
    except OSError as error:
        if error.errno in syscalls.DISK_FULL:
            return ""
        return f"and that under {root} has none: {_why_none(error)}"


def _why_none(error: OSError) -> str:
    if error.errno not in NO_QUOTAS:
        return error.strerror or repr(error)
    if not os.path.exists(_XFS_COUNTS):
        return "the kernel is built without CONFIG_XFS_QUOTA"
    return "mount it anew with -o prjquota (the root filesystem: boot with rootflags=prjquota; Linux 5.14 or newer)"


def _try_limit(root: Path) -> str:
    with opened(os.fspath(root)) as fd:
        found = projects.membership(fd)
    if found.inherited:
        return f"and {root} is itself in project {found.project}, whose limit its containers would leave"
    trial = tempfile.mkdtemp(prefix=trees.REMOVING, dir=root)
    limits = Projects(trial, _TRIAL)
    try:
        limits.give(trial)
        limits.limit(trial)
        if _is_refused(f"{trial}/file"):
            return ""
        return f"and that under {root} counts without holding anybody to a limit (mounted with pqnoenforce)"
    finally:
        limits.release(trial)
        trees.remove_tree(trial)


def _is_refused(path: str) -> bool:
    """Whether a file that is larger than the limit cannot be written."""
    try:
        Path(path).write_bytes(bytes(2 * _TRIAL))
    except OSError as error:
        if error.errno not in syscalls.DISK_FULL:
            raise
        return True
    return False


def _try_out(root: Path) -> str:
    trial = tempfile.mkdtemp(prefix=trees.REMOVING, dir=root)  # a name that ``sweep`` removes should we die here
    try:
        _lay_out(trial)
        return _marks_refused(trial) or _mount_refused(trial) or ""
    finally:
        trees.remove_tree(trial)


def _lay_out(trial: str) -> None:
    """A layer over another."""
    for directory in ("lower/dir/hidden", "upper/dir", "work", "merged"):
        os.makedirs(f"{trial}/{directory}")
    Path(f"{trial}/lower/gone").touch()


def _marks_refused(trial: str) -> str:
    """The marks are what tar unpacking and overlayfs itself need of the filesystem."""
    try:
        os.mknod(f"{trial}/upper/gone", stat.S_IFCHR, os.makedev(0, 0))
    except OSError as error:
        _raise_if_full(error)
        return f"{_filesystem(trial)} takes no whiteouts (0/0 character devices): {error.strerror}"
    try:
        os.setxattr(f"{trial}/upper/dir", "trusted.overlay.opaque", b"y")
    except OSError as error:
        _raise_if_full(error)
        return f"{_filesystem(trial)} takes no trusted.* attributes: {error.strerror}"
    return ""


def _mount_refused(trial: str) -> str:
    try:
        return in_private_mounts(lambda: _try(trial))
    except OSError as error:
        _raise_if_full(error)
        why = _WHY.get(error.errno or 0, f"the kernel refuses it there: {error.strerror}")
        return f"overlay on {_filesystem(trial)}: {why}"


def _try(trial: str) -> str:
    os.chdir(trial)
    syscalls.mount("overlay", "merged", "overlay", 0, f"lowerdir=lower,upperdir=upper,workdir=work,{OPTIONS}")
    try:
        Path("merged/new").touch()
        os.rename("merged/new", "merged/renamed")
        seen = sorted(os.listdir("merged")) + os.listdir("merged/dir")
    finally:
        syscalls.umount2("merged", syscalls.MNT_DETACH)
    if seen != ["dir", "renamed"]:  # without d_type in its directories a filesystem shows the whiteouts as files
        return f"overlay on {_filesystem(trial)} shows what it should hide (does the filesystem tell d_type?)"
    return ""


def _raise_if_full(error: OSError) -> None:
    if error.errno in syscalls.DISK_FULL:
        raise error


def _filesystem(path: str) -> str:
    """What ``path`` lies on, for a message."""
    return mounts.filesystem(path) or "this filesystem"
