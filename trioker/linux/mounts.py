"""Mount recipes and what is done with mounts: recipes by path, everything else by descriptor."""

import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from trioker.linux import syscalls
from trioker.linux.syscalls import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT

__all__ = [
    "MS_BIND",
    "MS_NODEV",
    "MS_NOEXEC",
    "MS_NOSUID",
    "MS_PRIVATE",
    "MS_RDONLY",
    "MS_REC",
    "MS_REMOUNT",
    "Mount",
    "attach",
    "copy",
    "detached",
    "make",
    "make_private",
    "set_readonly",
    "unsynced",
]

_MOST_DATA = 4095  # bytes of options that mount(2) takes: one page with its terminating zero


class Mount(NamedTuple):
    """One mount to make in a container's own mount namespace: the arguments of mount(2) but the target.

    ``directory`` is the working directory the mount is made from, so that ``data`` may hold short relative names
    (the kernel takes one page of options); empty for none. A ``bind`` mount has ``fstype`` "none" and MS_BIND in ``flags``.
    """

    source: str
    fstype: str
    flags: int = 0
    data: str = ""
    directory: str = ""


def make_private() -> None:
    """Let no mount of this namespace travel to another one, or come from there."""
    syscalls.mount("none", "/", "", MS_REC | MS_PRIVATE, "")


def make(recipes: Iterable[Mount], target: str) -> None:
    """Make the mounts one over the other on the directory ``target``. Changes the working directory."""
    for each in recipes:
        if each.directory:
            os.chdir(each.directory)
        syscalls.mount(each.source, target, each.fstype, each.flags, each.data)


def unsynced(recipes: Iterable[Mount]) -> tuple[Mount, ...]:
    """The same recipes with a writable overlay made ``volatile``: no fsync(2) in it writes to the disk, nor does unmounting it.

    For a tree that is synced as a whole later, by the filesystem below, or thrown away. It can be mounted writable only this once
    (Documentation/filesystems/overlayfs.rst, "Volatile mount"). What is no overlay, or has no room for the option, stays as it is.
    """
    return tuple(
        each._replace(data=f"{each.data},volatile")
        if each.fstype == "overlay" and "upperdir=" in each.data and len(each.data) + len(",volatile") <= _MOST_DATA
        else each
        for each in recipes
    )


def detached(fstype: str, attributes: int, options: Mapping[str, str]) -> int:
    """A new filesystem, mounted nowhere yet: its descriptor is the only way to it. An option without a value is a flag."""
    context = syscalls.fsopen(fstype)
    try:
        for key, value in options.items():
            command = syscalls.FSCONFIG_SET_STRING if value else syscalls.FSCONFIG_SET_FLAG
            syscalls.fsconfig(context, command, key, value or None)
        syscalls.fsconfig(context, syscalls.FSCONFIG_CMD_CREATE, None, None)
        return syscalls.fsmount(context, attributes)
    finally:
        os.close(context)


def copy(directory: int, path: str, *, recursive: bool = False) -> int:
    """A detached bind mount of ``path`` below ``directory`` (AT_FDCWD: of the path itself; an empty path: of the descriptor)."""
    flags = syscalls.OPEN_TREE_CLONE | (0 if path else syscalls.AT_EMPTY_PATH)
    return syscalls.open_tree(directory, path, flags | (syscalls.AT_RECURSIVE if recursive else 0))


def set_readonly(mount: int, *, devices: bool = True) -> None:
    """Make an open mount and all below it read-only; without ``devices`` none can be opened there either."""
    attributes = syscalls.MOUNT_ATTR_RDONLY | (0 if devices else syscalls.MOUNT_ATTR_NODEV)
    syscalls.mount_setattr(mount, syscalls.AT_RECURSIVE, attributes)


def attach(mount: int, target: int) -> None:
    """Put a detached mount on an open directory or file; the descriptor ``mount`` stays open."""
    syscalls.move_mount(mount, target)
