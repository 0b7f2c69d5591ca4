"""What a container sees as its files: made in its own mount namespace, every target reached by descriptor inside the root.

The image is hostile: any of its directories may be a symlink. Nothing here joins a path and mounts on it (CVE-2019-19921, CVE-2021-30465,
CVE-2025-31133). The kernel's filesystems go on real directories only; volumes are resolved by openat2(2) with the root as ``/``.
"""

import os
import posixpath
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from trioker.launcher.spec import Bind
from trioker.linux import mounts, syscalls
from trioker.linux.syscalls import MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY

_STRICT = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
_IN_ROOT = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
_NO_LINKS = _IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS
_TRIES = 64  # openat2 gives up when a rename anywhere in the system races with a "..": a busy host makes that likely, never endless

_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "core": "/proc/kcore",
    "ptmx": "pts/ptmx",
}
TTY_GROUP = 5  # the group ``tty`` of every distribution; lets its members write(1) to a terminal


class Filesystems(NamedTuple):
    """The kernel's filesystems of a container as detached mounts, by descriptor."""

    proc: int
    sys: int
    dev: int
    pts: int
    shm: int
    mqueue: int


def make_filesystems(tty_group: int = TTY_GROUP) -> Filesystems:
    """Make them; belongs in the container's own pid, net and ipc namespaces. Wants umask 0. Terminals get the group ``tty_group``."""
    return Filesystems(
        proc=mounts.detached("proc", _STRICT, {}),
        sys=mounts.detached("sysfs", _STRICT | MOUNT_ATTR_RDONLY, {}),
        dev=_make_dev(),
        pts=mounts.detached(
            "devpts",
            MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
            {"newinstance": "", "ptmxmode": "0666", "mode": "0620", "gid": str(tty_group)},
        ),
        shm=mounts.detached("tmpfs", _STRICT, {"source": "shm", "mode": "1777", "size": "64m"}),
        mqueue=mounts.detached("mqueue", _STRICT, {}),
    )


def _make_dev() -> int:
    dev = mounts.detached("tmpfs", MOUNT_ATTR_NOSUID, {"source": "tmpfs", "mode": "755", "size": "64m"})
    for name, numbers in _DEVICES.items():
        os.mknod(name, stat.S_IFCHR | 0o666, os.makedev(*numbers), dir_fd=dev)
    for name, target in _LINKS.items():
        os.symlink(target, name, dir_fd=dev)
    for name in ("pts", "shm", "mqueue"):
        os.mkdir(name, 0o755, dir_fd=dev)
    return dev


def make_root(recipes: Sequence[mounts.Mount], mount_point: str) -> int:
    """Make the root's mounts and return a descriptor of it. Raises OSError; ValueError for none, which would leave the host's own tree."""
    if not recipes:
        raise ValueError("there is nothing to mount as the root")
    mounts.make(recipes, mount_point)
    return os.open(mount_point, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def attach_filesystems(root: int, made: Filesystems) -> None:
    """Put them on /proc, /sys and /dev of the root, which must be real directories or missing."""
    for name, mount in (("proc", made.proc), ("sys", made.sys), ("dev", made.dev)):
        _attach(mount, _real_directory(root, name))
    for name, mount in (("pts", made.pts), ("shm", made.shm), ("mqueue", made.mqueue)):
        _attach(mount, _real_directory(made.dev, name))


def _attach(mount: int, target: int) -> None:
    try:
        mounts.attach(mount, target)
    finally:
        os.close(target)


def _real_directory(parent: int, name: str) -> int:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=parent)
    except FileNotFoundError:
        os.mkdir(name, 0o755, dir_fd=parent)
        return os.open(name, flags, dir_fd=parent)
    except NotADirectoryError:
        raise NotADirectoryError(20, "the image has something else than a directory there", f"/{name}") from None


def attach_bind(root: int, made: Filesystems, bind: Bind) -> None:
    """Show a host file or directory inside the root. Raises OSError, ValueError for a place where nothing may be mounted."""
    source = mounts.copy(syscalls.AT_FDCWD, bind.source, recursive=True)
    directory = stat.S_ISDIR(os.stat(source).st_mode)
    try:
        target = reach(root, bind.path, directory=directory)
    except NotADirectoryError:
        raise ValueError(f"volume {bind.path}: the image has a file where a directory is wanted") from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"volume {bind.path}") from None
    try:
        if stat.S_ISDIR(os.stat(target).st_mode) != directory:
            raise ValueError(f"volume {bind.path}: the image has {'a file' if directory else 'a directory'} there")
        _refuse_kernel_places(root, made, target, bind.path)
        if bind.readonly:
            mounts.set_readonly(source)
        mounts.attach(source, target)
    finally:
        os.close(source)
        os.close(target)


def _refuse_kernel_places(root: int, made: Filesystems, target: int, path: str) -> None:
    """A volume over / or inside /proc or /sys could hide the root or stand in for the kernel (CVE-2019-16884)."""
    found = os.stat(target)
    if os.path.samestat(found, os.stat(root)):
        raise ValueError(f"{path}: a volume cannot be the root itself")
    if found.st_dev in (os.stat(made.proc).st_dev, os.stat(made.sys).st_dev):
        raise ValueError(f"{path}: a volume cannot be inside /proc or /sys")
    if os.path.samestat(found, os.stat(made.dev)) or found.st_dev == os.stat(made.pts).st_dev:
        raise ValueError(f"{path}: a volume cannot hide the devices")


def reach(root: int, path: str, *, directory: bool) -> int:
    """An O_PATH descriptor of ``path`` as a process in the root would find it; what is missing is made, its end as told.

    Raises OSError; FileExistsError for a symlink that leads nowhere.
    """
    names = [each for each in posixpath.normpath(f"/{path}").split("/") if each]
    fd = os.dup(root)
    for depth, name in enumerate(names, 1):
        parent, is_end = fd, depth == len(names)
        try:
            fd = _resolve_or_make(root, parent, "/".join(names[:depth]), name, directory=directory or not is_end)
        finally:
            os.close(parent)
    return fd


def _resolve_or_make(root: int, parent: int, path: str, name: str, *, directory: bool) -> int:
    try:
        return resolve(root, path)
    except FileNotFoundError:
        if directory:
            os.mkdir(name, 0o755, dir_fd=parent)
        else:
            os.mknod(name, stat.S_IFREG | 0o644, dir_fd=parent)
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


def resolve(root: int, path: str, how: int = _IN_ROOT) -> int:
    """An O_PATH descriptor of an existing path, resolved as if ``root`` were ``/``. Raises OSError."""
    for _ in range(_TRIES - 1):
        try:
            return syscalls.openat2(root, path, os.O_PATH, how)
        except BlockingIOError:
            continue
    return syscalls.openat2(root, path, os.O_PATH, how)


def enter(root: int) -> None:
    """Make the root this process's root and working directory, and let go of the host's files."""
    os.fchdir(root)
    syscalls.pivot_root(".", ".")  # the old root is now on top of the new one, in the same place: pivot_root(2), NOTES
    syscalls.umount2(".", syscalls.MNT_DETACH)
    os.chdir("/")


def mask(root: int, made: Filesystems, paths: Iterable[str]) -> None:
    """Hide files behind our own /dev/null (never the image's) and directories behind an empty one; missing paths are fine."""
    null = os.open("null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=made.dev)
    if os.stat(null).st_rdev != os.makedev(1, 3):
        raise ValueError("/dev/null is not the null device")
    empty = -1
    for target in _existing(root, paths):
        if not stat.S_ISDIR(os.stat(target).st_mode):
            mount = mounts.copy(null, "")
        elif empty < 0:
            mount = empty = mounts.detached("tmpfs", _STRICT | MOUNT_ATTR_RDONLY, {"mode": "555", "size": "4k"})
        else:
            mount = mounts.copy(empty, "")
        _attach(mount, target)


def make_readonly(root: int, paths: Iterable[str]) -> None:
    """Make these and all below them read-only; missing paths are fine."""
    for target in _existing(root, paths):
        mount = mounts.copy(target, "", recursive=True)
        mounts.set_readonly(mount)
        _attach(mount, target)


def _existing(root: int, paths: Iterable[str]) -> Iterator[int]:
    for path in paths:
        try:
            yield resolve(root, path.lstrip("/"), _NO_LINKS)
        except (FileNotFoundError, NotADirectoryError):
            continue
