"""Mount recipes and what is done with mounts: recipes by path, everything else by descriptor."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from trioker.linux import syscalls
from trioker.linux.syscalls import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT

__all__ = [
    "MOST_DATA",
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
    "filesystem",
    "make",
    "make_private",
    "map_ids",
    "set_readonly",
    "unsynced",
]

MOST_DATA = 4095
"""Bytes of options that mount(2) takes: one page with its terminating zero."""


class Mount(NamedTuple):
    """One mount to make in a container's own mount namespace: the arguments of mount(2) but the target.

    ``directory`` is the working directory the mount is made from, so that ``data`` may hold short relative names
    (the kernel takes one page of options); empty for none. A ``bind`` mount has ``fstype`` "none" and MS_BIND in ``flags``.
    An overlay's ``data`` may be longer than MOST_DATA where the kernel takes its layers one by one (``lowerdir+``, Linux 6.7);
    no name in it holds a comma or a colon then.
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
        if len(each.data) > MOST_DATA:
            _make_piecemeal(each, target)
        else:
            syscalls.mount(each.source, target, each.fstype, each.flags, each.data)


def _make_piecemeal(recipe: Mount, target: str) -> None:
    """mount(2) with one call for each option; half as fast again, so only for an overlay of very many layers."""
    attributes = recipe.flags  # MS_RDONLY, NOSUID, NODEV and NOEXEC are the numbers of MOUNT_ATTR_ too
    mount = _detached(recipe.fstype, attributes, _pieces(recipe.data))
    try:
        place = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            attach(mount, place)
        finally:
            os.close(place)
    finally:
        os.close(mount)


def _pieces(data: str) -> Iterator[tuple[str, str]]:
    for option in data.split(","):
        key, _, value = option.partition("=")
        if key == "lowerdir":
            yield from (("lowerdir+", layer) for layer in value.split(":"))
        else:
            yield key, value


def unsynced(recipes: Iterable[Mount]) -> tuple[Mount, ...]:
    """The same recipes with a writable overlay made ``volatile``: no fsync(2) in it writes to the disk, nor does unmounting it.

    For a tree that is synced as a whole later, by the filesystem below, or thrown away. It can be mounted writable only this once
    (Documentation/filesystems/overlayfs.rst, "Volatile mount"). What is no overlay, or has no room for the option, stays as it is.
    """
    return tuple(
        each._replace(data=f"{each.data},volatile")
        if each.fstype == "overlay" and "upperdir=" in each.data and len(each.data) + len(",volatile") <= MOST_DATA
        else each
        for each in recipes
    )


def detached(fstype: str, attributes: int, options: Mapping[str, str]) -> int:
    """A new filesystem, mounted nowhere yet: its descriptor is the only way to it. An option without a value is a flag."""
    return _detached(fstype, attributes, options.items())


def _detached(fstype: str, attributes: int, options: Iterable[tuple[str, str]]) -> int:
    context = syscalls.fsopen(fstype)
    try:
        for key, value in options:
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


def map_ids(mount: int, userns: int) -> None:
    """Show the owners of all files of a detached mount, and of all below it, as the user namespace behind the descriptor sees its own ids.

    What lies on disk stays as it is: a file of id 0 there belongs to the namespace's root, who makes files of id 0 (mount_setattr(2),
    "ID-mapped mounts"). Raises OSError, EINVAL where a filesystem cannot do it.
    """
    syscalls.mount_setattr(mount, syscalls.AT_RECURSIVE, syscalls.MOUNT_ATTR_IDMAP, userns)


def attach(mount: int, target: int) -> None:
    """Put a detached mount on an open directory or file; the descriptor ``mount`` stays open."""
    syscalls.move_mount(mount, target)


def filesystem(path: str | Path) -> str:
    """The type of the filesystem that ``path`` lies on (proc_pid_mountinfo(5)); "" where that is not told, as of a subvolume of btrfs."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/thread-self/mountinfo", encoding="utf-8", errors="replace") as table:
        rows = (line.split() for line in table)
        return next((row[row.index("-") + 1] for row in rows if row[2] == wanted), "")
