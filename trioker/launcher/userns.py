"""Containers whose root is an ordinary user of the host: ``--userns-remap`` (user_namespaces(7)).

A container then has a user namespace of its own, which owns its network, IPC and UTS namespaces. Its mount namespace stays the host's, so
that nothing inside, whatever its capabilities there, can mount or unmount. Init makes all that as host root and enters the user namespace
last; nobody comes back from one.

The files on disk keep the container's own ids. It sees them through an *idmapped* copy of the daemon's root, which init puts over the
daemon's root in its own mount namespace: every recipe, volume and file below it is then mounted with mapped owners, by the same paths.
"""

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, NoReturn, Self

from trioker.launcher import process, rootfs
from trioker.launcher.failure import Failed, describe
from trioker.launcher.user import User
from trioker.linux import mounts, syscalls
from trioker.linux.namespaces import OWNED

_MADE = b"\0"
_NO_SETUID_FIXUP = 1 << 2  # linux/securebits.h


class Range(NamedTuple):
    """``size`` ids: those from ``inside`` on in the container are those from ``outside`` on of the host."""

    inside: int
    outside: int
    size: int


class Remap(NamedTuple):
    """What containers' ids are on the host."""

    uids: Sequence[Range]
    gids: Sequence[Range]
    directory: str
    """The daemon's root: all files that are a container's own are below."""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Decode what ``_asdict`` was sent as."""
        uids, gids = ([Range(*each) for each in value[key]] for key in ("uids", "gids"))
        return cls(uids, gids, str(value["directory"]))


def outside(ranges: Sequence[Range], inside: int) -> int | None:
    """The host's id for a container's; None where it has none."""
    for each in ranges:
        if 0 <= inside - each.inside < each.size:
            return each.outside + inside - each.inside
    return None


class Users(NamedTuple):
    """A container's user namespace, made but not entered."""

    remap: Remap
    fd: int = -1
    refusal: str = ""
    """Why it could not be made."""

    def check(self) -> None:
        """Raises Failed where it could not be made."""
        if self.refusal:
            raise Failed("namespaces", f"user namespace: {self.refusal}")

    @property
    def root(self) -> tuple[int, int]:
        """The host's uid and gid of the container's root. There is one: the first range begins with it."""
        return self.remap.uids[0].outside, self.remap.gids[0].outside


def make_namespaces(remap: Remap) -> Users:
    """Enter namespaces that a new user namespace owns.

    A process that makes a user namespace is in it and may mount nothing any more. So a child makes it, which has nothing else to do, and the
    others are fetched from there. Raises OSError where there is no child.
    """
    ours, theirs = socket.socketpair()
    maker, pidfd = syscalls.clone3(0)
    if not maker:
        ours.close()
        _be_their_maker(theirs)
    theirs.close()
    try:
        return _fetch_namespaces(maker, pidfd, remap, ours)
    except OSError as error:
        return Users(remap, refusal=describe(error))
    finally:
        ours.close()  # which ends the maker
        os.close(pidfd)
        os.waitpid(maker, 0)


def _be_their_maker(line: socket.socket) -> NoReturn:
    """Make them, say so or why not, and stay for as long as they are being fetched."""
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER | OWNED)
        line.send(_MADE)
    except OSError as error:
        line.send(describe(error).encode())
    line.recv(1)
    os._exit(0)


def _fetch_namespaces(maker: int, pidfd: int, remap: Remap, line: socket.socket) -> Users:
    told = line.recv(1024)
    if told != _MADE:
        raise OSError(told.decode() or "its maker was killed")
    users = Users(remap, os.open(f"/proc/{maker}/ns/user", os.O_RDONLY | os.O_CLOEXEC))
    _write_maps(maker, remap)
    syscalls.setns(pidfd, OWNED)
    return users


def _write_maps(pid: int, remap: Remap) -> None:
    """As the host's root: so the container may use setgroups(2), and the ranges may be any."""
    for name, ranges in (("uid_map", remap.uids), ("gid_map", remap.gids)):
        fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, "".join(f"{each.inside} {each.outside} {each.size}\n" for each in ranges).encode())  # one write(2)
        os.close(fd)


@contextmanager
def making_its_files(users: Users | None) -> Iterator[None]:
    """Whatever is made meanwhile belongs to the container's root; rights are the host root's still.

    For filesystems of the kernel's, pipes, and what is made through an idmapped mount: there the host's own root has no id, so that it could
    make nothing (EOVERFLOW), and overlayfs makes its files as the one who mounted it.
    """
    if users is None:
        yield
        return
    before = syscalls.prctl(syscalls.PR_GET_SECUREBITS, 0)
    syscalls.prctl(syscalls.PR_SET_SECUREBITS, before | _NO_SETUID_FIXUP)  # or setfsuid would take capabilities away
    uid, gid = users.root
    uid, gid = syscalls.setfsuid(uid), syscalls.setfsgid(gid)
    try:
        yield
    finally:
        syscalls.setfsuid(uid)
        syscalls.setfsgid(gid)
        syscalls.prctl(syscalls.PR_SET_SECUREBITS, before)


def make_filesystems(users: Users | None) -> rootfs.Filesystems:
    """The kernel's filesystems, the container's root's own. Raises OSError."""
    if users is None:
        return rootfs.make_filesystems()
    group = outside(users.remap.gids, rootfs.TTY_GROUP)
    with making_its_files(users):
        made = rootfs.make_filesystems(users.root[1] if group is None else group)
        for each in (made.pts, made.mqueue):  # whose roots the kernel gives to its own
            os.chown(f"/proc/self/fd/{each}", *users.root)
    return made


def owner(users: Users | None, user: User) -> int:
    """The host's uid of a container's user. Raises Failed for one that the container cannot have."""
    if users is None:
        return user.uid
    remap = users.remap
    for word, ranges, ids in (("user", remap.uids, (user.uid,)), ("group", remap.gids, (user.gid, *user.groups))):
        for each in ids:
            if outside(ranges, each) is None:
                raise Failed("user", f"no container can have the {word} id {each} here (--userns-remap)")
    return outside(remap.uids, user.uid) or 0


def map_files(users: Users | None) -> None:
    """From now on this mount namespace sees the daemon's root with mapped owners. Raises OSError."""
    if users is None:
        return
    directory = users.remap.directory
    target = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mapped = mounts.copy(target, "", recursive=True)
    try:
        mounts.map_ids(mapped, users.fd)
    except OSError as error:
        raise OSError(
            error.errno, f"its filesystem cannot be mounted with mapped ids ({error.strerror})", directory
        ) from None
    mounts.attach(mapped, target)
    os.close(mapped)
    os.close(target)


def enter(users: Users) -> None:
    """Become the container's root: every capability, but only inside. There is no way back."""
    syscalls.setns(users.fd, syscalls.CLONE_NEWUSER)
    _become_its_root()
    with suppress(OSError):  # as before: no quota left, and the one we have is empty too
        syscalls.keyctl_join_session_keyring()


def enter_user_namespace_of(pidfd: int) -> None:
    """Become root in a process's user namespace, where it has one that is not ours."""
    try:
        syscalls.setns(pidfd, syscalls.CLONE_NEWUSER)
    except OSError as error:
        if error.errno != errno.EINVAL:  # how the kernel says that we are in it
            raise
        return
    _become_its_root()


def _become_its_root() -> None:
    """Take on the ids of a user namespace just entered, in which the host's root is nobody."""
    os.setgroups(())
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    process.become_undumpable()  # what fs.suid_dumpable says is in force after a change of ids
