"""What a helper gives up before it looks at a stranger's bytes, so that a mistake of ours has nothing to reach for."""

import ctypes
import os
import struct
import sys
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from trioker.launcher.lockdown import set_limits
from trioker.linux import capabilities, mounts, seccomp, syscalls

MEMORY = 2**30
"""Bytes a helper may use: an archive can ask for much (a million directories are remembered to the end)."""

_HEADER = struct.pack("=Ii", 0x20080522, 0)  # struct __user_cap_header_struct: version 3, this process
_SETS = struct.Struct("=6I")  # twice effective, permitted, inheritable: capabilities 0 to 31, then 32 to 63

_libc = ctypes.CDLL(None, use_errno=True)


def isolate(*, own_mounts: bool = False) -> None:
    """Leave the network and System V IPC; with ``own_mounts`` also the host's mount table: what is mounted from now on nobody else sees."""
    syscalls.unshare(syscalls.CLONE_NEWNET | syscalls.CLONE_NEWIPC | (syscalls.CLONE_NEWNS if own_mounts else 0))
    if own_mounts:
        mounts.make_private()


def confine(root: str, needed: Collection[str], *, reserve: Collection[str] = ()) -> None:
    """Make ``root`` this process's whole world and keep only the capabilities ``needed``; those in ``reserve`` count only while ``raised``.

    From here on nothing can be imported: what would be found is the stranger's (CVE-2019-14271 was such a library). Nor is a warning
    printed: the interpreter would look its source line up in the tree.
    """
    os.chroot(root)
    os.chdir("/")
    os.umask(0)
    set_limits({"core": (0, 0), "data": (MEMORY, MEMORY)})
    capabilities.set_capabilities({*needed, *reserve})
    _set_effective(needed)
    seccomp.set_no_new_privs()
    warnings.simplefilter("ignore")
    sys.meta_path.clear()


@contextmanager
def raised(needed: Collection[str], reserve: Collection[str]) -> Iterator[None]:
    """Let the reserve count beside what is needed anyway. Raises OSError where it was never ours."""
    _set_effective({*needed, *reserve})
    try:
        yield
    finally:
        _set_effective(needed)


def _set_effective(names: Collection[str]) -> None:
    """Choose which of the permitted capabilities count; those we do not have are left out."""
    sets = ctypes.create_string_buffer(_SETS.size)
    if _libc.capget(_HEADER, sets) < 0:
        raise syscalls.oserror("capget")
    _, low, low_inheritable, _, high, high_inheritable = _SETS.unpack(sets.raw)
    wanted = sum(1 << capabilities.NUMBERS[name] for name in names) & (low | high << 32)
    halves = (wanted & 0xFFFFFFFF, low, low_inheritable, wanted >> 32, high, high_inheritable)
    if _libc.capset(_HEADER, _SETS.pack(*halves)) < 0:
        raise syscalls.oserror("capset")
