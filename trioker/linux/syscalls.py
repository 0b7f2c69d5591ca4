"""The system calls Python has no function for, one function per call under the kernel's name; every failure is an OSError.

Needs Linux 5.12 (mount_setattr), on x86-64 or arm64. Calls the C library has are called through it; the others go by number through
``syscall``: those from 424 on have one number on all architectures (asm-generic/unistd.h), the older ones are in ``_NUMBERS``.
"""

# ruff: noqa: D402 - "mount(2)" names the manual page, not the signature

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

# linux/sched.h
CLONE_FS = 0x00000200
CLONE_PIDFD = 0x00001000
CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_INTO_CGROUP = 0x200000000

# linux/mount.h
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2
OPEN_TREE_CLONE = 0x1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40
FSOPEN_CLOEXEC = 0x1
FSMOUNT_CLOEXEC = 0x1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_IDMAP = 0x100000

# linux/fcntl.h, linux/openat2.h
AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_IN_ROOT = 0x10

# linux/close_range.h, linux/prctl.h, linux/keyctl.h
CLOSE_RANGE_CLOEXEC = 0x4
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_GET_SECUREBITS = 27
PR_SET_SECUREBITS = 28
KEYCTL_JOIN_SESSION_KEYRING = 1

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""What a call says that finds no room, on the filesystem or in what its user, group or project may take of it (write(2))."""

_SIGCHLD = 17
_NUMBERS = {
    "x86_64": {"pivot_root": 155, "keyctl": 250, "rt_sigaction": 13},
    "aarch64": {"pivot_root": 41, "keyctl": 219, "rt_sigaction": 134},
}.get(os.uname().machine, {})
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_CLONE3, _CLOSE_RANGE, _OPENAT2, _MOUNT_SETATTR, _QUOTACTL_FD = 435, 436, 437, 442, 443

_OPEN_HOW = struct.Struct("=QQQ")  # struct open_how: flags, mode, resolve
_MOUNT_ATTR = struct.Struct("=QQQQ")  # struct mount_attr: attr_set, attr_clr, propagation, userns_fd
_CLONE_ARGS = struct.Struct("=11Q")  # struct clone_args up to cgroup

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
# clone3 returns twice: it is called with the interpreter's lock held (PyDLL), so that the child need not take it again.
_locked_syscall = ctypes.PyDLL(None, use_errno=True).syscall
_locked_syscall.restype = ctypes.c_long


def oserror(call: str, path: str = "") -> OSError:
    """The error of the C call just made, as the fitting subclass of OSError."""
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}", path or None)


def _checked(result: int, call: str, path: str = "") -> int:
    if result < 0:
        raise oserror(call, path)
    return result


def _syscall(number: int, *arguments: object) -> int:
    # Integers go as c_long: ctypes' own choice, int, leaves the upper half of the register undefined.
    return int(_libc.syscall(number, *(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)))


def unshare(flags: int) -> None:
    """Give the calling thread namespaces of its own: unshare(2)."""
    _checked(_libc.unshare(flags), "unshare")


def setns(fd: int, flags: int) -> None:
    """Enter the namespace (or, with a pidfd, the namespaces ``flags`` names) behind ``fd``: setns(2)."""
    _checked(_libc.setns(fd, flags), "setns")


def clone3(flags: int, cgroup: int = -1) -> tuple[int, int]:
    """Fork with ``flags``; returns the child's pid and pidfd, and (0, -1) in the child: clone3(2).

    ``cgroup`` is a descriptor of the version 2 cgroup the child is born in. Only for a process of one thread: the C library and the
    interpreter are not told that they run in a child, which matters only to their locks.
    """
    pidfd = ctypes.c_int(-1)
    if cgroup >= 0:
        flags |= CLONE_INTO_CGROUP
    address = ctypes.addressof(pidfd)
    exit_signal = 0 if flags & CLONE_PARENT else _SIGCHLD  # a sibling's is its parent's: what we were made with
    arguments = _CLONE_ARGS.pack(flags | CLONE_PIDFD, address, 0, 0, exit_signal, 0, 0, 0, 0, 0, max(cgroup, 0))
    pid = _locked_syscall(ctypes.c_long(_CLONE3), arguments, ctypes.c_long(_CLONE_ARGS.size))
    return _checked(pid, "clone3"), pidfd.value if pid else -1


def mount(source: str, target: str, fstype: str, flags: int, data: str) -> None:
    """mount(2)."""
    encoded = [os.fsencode(each) for each in (source, target, fstype)]
    _checked(_libc.mount(*encoded, ctypes.c_ulong(flags), os.fsencode(data) or None), "mount", target)


def umount2(target: str, flags: int) -> None:
    """umount2(2)."""
    _checked(_libc.umount2(os.fsencode(target), flags), "umount2", target)


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    _checked(_syscall(_NUMBERS["pivot_root"], os.fsencode(new), os.fsencode(old)), "pivot_root", new)


def open_tree(directory: int, path: str, flags: int) -> int:
    """A descriptor of a mount, with OPEN_TREE_CLONE of a detached copy: open_tree(2)."""
    return _checked(_syscall(_OPEN_TREE, directory, os.fsencode(path), flags | OPEN_TREE_CLOEXEC), "open_tree", path)


def move_mount(mount: int, target: int) -> None:
    """Attach a detached mount at an open directory or file: move_mount(2) with empty paths on both sides."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    _checked(_syscall(_MOVE_MOUNT, mount, b"", target, b"", flags), "move_mount")


def fsopen(fstype: str) -> int:
    """Begin to configure a new filesystem instance: fsopen(2)."""
    return _checked(_syscall(_FSOPEN, os.fsencode(fstype), FSOPEN_CLOEXEC), "fsopen", fstype)


def fsconfig(fd: int, command: int, key: str | None, value: str | None) -> None:
    """One step of the configuration: fsconfig(2)."""
    encoded = [None if each is None else os.fsencode(each) for each in (key, value)]
    _checked(_syscall(_FSCONFIG, fd, command, *encoded, 0), "fsconfig", key or "")


def fsmount(fd: int, attributes: int) -> int:
    """A detached mount of the configured filesystem, with MOUNT_ATTR_ attributes: fsmount(2)."""
    return _checked(_syscall(_FSMOUNT, fd, FSMOUNT_CLOEXEC, attributes), "fsmount")


def mount_setattr(fd: int, flags: int, attributes: int, userns: int = 0) -> None:
    """Set MOUNT_ATTR_ attributes of an open mount, with AT_RECURSIVE of all below it: mount_setattr(2). ``userns`` is for MOUNT_ATTR_IDMAP."""
    wanted = _MOUNT_ATTR.pack(attributes, 0, 0, userns)
    _checked(_syscall(_MOUNT_SETATTR, fd, b"", flags | AT_EMPTY_PATH, wanted, len(wanted)), "mount_setattr")


def openat2(directory: int, path: str, flags: int, resolve: int) -> int:
    """Open with the RESOLVE_ rules, close-on-exec: openat2(2). Raises BlockingIOError where a rename elsewhere raced with ``..``."""
    how = _OPEN_HOW.pack(flags | os.O_CLOEXEC, 0, resolve)
    return _checked(_syscall(_OPENAT2, directory, os.fsencode(path), how, len(how)), "openat2", path)


def quotactl_fd(fd: int, command: int, number: int, record: bytearray) -> None:
    """Ask or say something of a user's, group's or project's quota on the filesystem of an open file (Linux 5.14): quotactl(2)."""
    buffer = (ctypes.c_char * len(record)).from_buffer(record)
    _checked(_syscall(_QUOTACTL_FD, fd, command, number, buffer), "quotactl_fd")


def close_range(first: int, last: int, flags: int = 0) -> None:
    """Close (or mark with CLOSE_RANGE_CLOEXEC) all descriptors from ``first`` to ``last``: close_range(2)."""
    _checked(_syscall(_CLOSE_RANGE, first, last, flags), "close_range")


def prctl(option: int, argument: int | bytes) -> int:
    """prctl(2) with one argument; the others are zero, as most options demand. Returns what the kernel does, which for most is 0."""
    zero = ctypes.c_ulong(0)
    value = argument if isinstance(argument, bytes) else ctypes.c_ulong(argument)
    return _checked(_libc.prctl(option, value, zero, zero, zero), "prctl")


def setfsuid(uid: int) -> int:
    """Be this user to filesystems alone; returns the one before, also where nothing was changed, which is how it fails: setfsuid(2)."""
    return int(_libc.setfsuid(uid))


def setfsgid(gid: int) -> int:
    """Be this group to filesystems alone, as ``setfsuid``: setfsgid(2)."""
    return int(_libc.setfsgid(gid))


def rt_sigaction_default(number: int) -> None:
    """Let a signal do what it does by default, also one that the C library keeps for itself and refuses: rt_sigaction(2)."""
    default = bytes(32)  # struct sigaction of the kernel: SIG_DFL, no flags, no restorer, an empty mask
    _checked(_syscall(_NUMBERS["rt_sigaction"], number, default, None, 8), "rt_sigaction")


def keyctl_join_session_keyring() -> None:
    """Begin an empty, anonymous session keyring: keyctl(2)."""
    _checked(_syscall(_NUMBERS["keyctl"], KEYCTL_JOIN_SESSION_KEYRING, None), "keyctl")


def execve(path: str, argv: Sequence[str], env: Sequence[str]) -> None:
    """execve(2) with the environment exactly as given: order, duplicates and entries without ``=``, which a dict would lose."""
    arrays = [(ctypes.c_char_p * (len(each) + 1))(*(os.fsencode(one) for one in each), None) for each in (argv, env)]
    _checked(_libc.execve(os.fsencode(path), *arrays), "execve", path)
