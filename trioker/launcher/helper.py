"""A helper: one job on a tree that strangers filled, done by a confined process of its own that then ends."""

import fcntl
import gc
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from trioker.launcher import confine, process, wire
from trioker.launcher.accounts import find_owner
from trioker.launcher.below import Below
from trioker.launcher.compare import Known, compare
from trioker.launcher.decompress import open_blocks
from trioker.launcher.failure import describe
from trioker.launcher.intake import Intake
from trioker.launcher.meter import Meter
from trioker.launcher.mirror import mirror
from trioker.launcher.pack import pack, pack_sources
from trioker.launcher.picking import pick
from trioker.launcher.spec import CompareSpec, MirrorSpec, PackSpec, UnpackSpec, WriteSpec
from trioker.launcher.tar_header import BadArchive, NoRoom
from trioker.launcher.unpack import unpack
from trioker.launcher.user import UnknownUser
from trioker.launcher.userns import enter_user_namespace_of
from trioker.launcher.whiteouts import OverlayWhiteouts, RemovingWhiteouts
from trioker.launcher.write import Target, write
from trioker.launcher.writeback import WriteBack
from trioker.linux import mounts, syscalls
from trioker.linux.mounts import Mount

Job = Callable[[Mapping[str, Any], Mapping[str, int]], wire.Message]

_UNPACK = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP")
_TRUSTED = ("SYS_ADMIN",)  # what the kernel asks for to set trusted.overlay.opaque
_PACK = ("DAC_OVERRIDE",)  # not DAC_READ_SEARCH: it opens files of the whole filesystem by handle, whatever the root is
_PIPE = 2**20  # what an unprivileged user may ask for: a quarter less time than with the 64 KiB a pipe begins with


def run_helper(kind: str, spec: Mapping[str, Any], fds: Mapping[str, int]) -> NoReturn:
    """Do the job (a name in ``_JOBS``), tell the daemon on ``report``, end the process.

    Nothing is raised: a traceback would be printed with source lines looked up in the stranger's tree.
    """
    process.set_name(f"trioker-{kind}")
    gc.disable()  # a short life, and no cycles
    try:
        report = socket.socket(fileno=fds["report"])
        message = _outcome(_JOBS[kind], spec, fds)
        with suppress(OSError):  # a daemon that has gone wants no answer
            wire.send(report, message)
    finally:
        os._exit(0)


def _outcome(job: Job, spec: Mapping[str, Any], fds: Mapping[str, int]) -> wire.Message:
    full = False
    try:
        return {"event": "done", **job(spec, fds)}
    except NoRoom as error:
        text = str(error)
    except BadArchive as error:
        return {"event": "failed", "message": str(error)[: wire.MAX_TEXT], "archive": True}
    except MemoryError:
        text = f"this takes more than {confine.MEMORY >> 20} MiB of memory"
    except OSError as error:
        text, full = describe(error), error.errno in syscalls.DISK_FULL
    except BaseException as error:  # noqa: BLE001  a bug of ours; see run_helper
        text = f"{type(error).__name__}: {error}"
    return {"event": "failed", "message": text[: wire.MAX_TEXT], "full": full}


def _unpack(spec: Mapping[str, Any], fds: Mapping[str, int]) -> wire.Message:
    wanted, data = UnpackSpec(**spec), fds["data"]
    _widen(data)
    confine.isolate(own_mounts=bool(wanted.below))
    intake, disk = Intake(data, wanted.path), WriteBack(wanted.path)

    def read() -> bytes | memoryview:
        piece = intake.read()
        disk.add(len(piece))
        return piece

    below = _open_below(wanted) if wanted.below else None
    whiteouts: OverlayWhiteouts | RemovingWhiteouts
    if wanted.whiteouts == "overlay":
        confine.confine(wanted.path, _UNPACK, reserve=_TRUSTED)
        whiteouts = OverlayWhiteouts(_set_trusted)
    else:
        confine.confine(wanted.path, _UNPACK)
        whiteouts = RemovingWhiteouts()
    done = unpack(
        read, whiteouts, room=wanted.room, max_bytes=wanted.max_bytes, max_entries=wanted.max_entries, below=below
    )
    disk.finish()
    return {**done._asdict(), "diff": intake.diff}


def _open_below(wanted: UnpackSpec) -> Below:
    _make_tree(wanted.below, wanted.mount_point)
    return Below(os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))


def _set_trusted(base: bytes, name: str, value: bytes) -> None:
    with confine.raised(_UNPACK, _TRUSTED):
        os.setxattr(base, name, value, follow_symlinks=False)


def _pack(spec: Mapping[str, Any], fds: Mapping[str, int]) -> wire.Message:
    wanted = PackSpec(**spec)
    out = fds["data"]
    confine.isolate(own_mounts=True)
    if not ("container" in fds and _enter_root_of(fds["container"])):
        _make_tree(wanted.mounts, wanted.mount_point)
    confine.confine(".", _PACK)
    _widen(out)
    if wanted.sources:
        return pack_sources(wanted.sources, out)._asdict()
    if wanted.only is not None:
        return pack("/", out, pick(wanted.only, wanted.deleted))._asdict()
    return pack(f"/{wanted.directory}", out)._asdict()


def _write(spec: Mapping[str, Any], fds: Mapping[str, int]) -> wire.Message:
    wanted, data = WriteSpec(**spec), fds["data"]
    _widen(data)
    read = open_blocks(data)
    confine.isolate(own_mounts=True)
    _make_tree(wanted.mounts, wanted.mount_point)
    owner = _find_owner(wanted.owner) if wanted.owner else None
    confine.confine(".", _UNPACK)
    target = Target(os.fsencode(wanted.directory), os.fsencode(wanted.single), owner)
    return write(read, target, max_bytes=wanted.max_bytes, max_entries=wanted.max_entries)._asdict()


def _mirror(spec: Mapping[str, Any], fds: Mapping[str, int]) -> wire.Message:
    wanted = MirrorSpec(**spec)
    confine.isolate(own_mounts=True)
    _make_trees({"old": wanted.old, "new": wanted.new}, wanted.mount_point)
    confine.confine(wanted.mount_point, _UNPACK)
    mirror("/old", "/new", frozenset(wanted.touched), Meter(fds["data"]), thorough=wanted.thorough)
    return {}


def _compare(spec: Mapping[str, Any], fds: Mapping[str, int]) -> wire.Message:
    wanted = CompareSpec(**spec)
    confine.isolate(own_mounts=True)
    below = {"old-below": wanted.old_below, "new-below": wanted.new_below}
    _make_trees({"old": wanted.old, "new": wanted.new, **below}, wanted.mount_point)
    confine.confine(wanted.mount_point, _PACK)
    old_below, new_below = (f"/{name}" if recipes else "" for name, recipes in below.items())
    known = Known(wanted.since, frozenset(wanted.touched))
    return {"difference": compare(("/old", old_below), ("/new", new_below), known, Meter(fds["data"]))}


def _make_trees(trees: Mapping[str, Iterable[Sequence[Any]]], mount_point: str) -> None:
    """Make each tree's mounts on a directory of its name below the mount point, which stays the host's."""
    mounts.make([Mount("tmpfs", "tmpfs", mounts.MS_NODEV, "mode=700,size=64k")], mount_point)
    for name, recipes in trees.items():
        place = f"{mount_point}/{name}"
        os.mkdir(place)
        mounts.make((Mount(*each) for each in recipes), place)


def _make_tree(recipes: Iterable[Sequence[Any]], mount_point: str) -> None:
    """Make the mounts, and their root the working directory."""
    mounts.make((Mount(*each) for each in recipes), mount_point)
    os.chdir(mount_point)


def _find_owner(wanted: str) -> tuple[int, int]:
    try:
        return find_owner(wanted)
    except (UnknownUser, ValueError) as error:  # no such user, or no sound list of them
        raise BadArchive(str(error)) from None


def _enter_root_of(pidfd: int) -> bool:
    """Go to the root filesystem of a running container: its very mount, as overlayfs must not be mounted twice over one upper directory.

    Only that mount: a copy of it, without what is mounted inside. Nor can a device be opened there: the container may put one in the place of a
    file that is about to be read, and no rule for devices holds us back. Returns whether the container was still there.
    """
    try:
        syscalls.setns(pidfd, syscalls.CLONE_NEWNS)
    except ProcessLookupError:
        return False
    syscalls.unshare(syscalls.CLONE_NEWNS)
    mounts.make_private()
    root = mounts.copy(syscalls.AT_FDCWD, "/")
    mounts.set_readonly(root, devices=False)
    os.fchdir(root)
    enter_user_namespace_of(pidfd)  # whose ids, and none of the host's, are what is packed
    return True


def _widen(data: int) -> None:
    with suppress(OSError):  # a socket or a file, or the user's pages for pipes are used up
        fcntl.fcntl(data, fcntl.F_SETPIPE_SZ, _PIPE)


_JOBS = {"unpack": _unpack, "pack": _pack, "write": _write, "mirror": _mirror, "compare": _compare}
