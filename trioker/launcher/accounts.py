"""Looking users up in a tree's own /etc/passwd and /etc/group, which may be anything: links to a descriptor of ours, pipes, endless."""

import os
import stat

from trioker.launcher import rootfs
from trioker.launcher.user import User, lookup
from trioker.linux import syscalls

_MAX_FILE = 2**20  # bytes; a real one of ten thousand users is smaller


def find_user(wanted: str) -> User:
    """The user, by the files of the tree that is the working directory. Raises UnknownUser, OSError, ValueError. Needs the host's /proc."""
    return lookup(wanted, _read("etc/passwd"), _read("etc/group"))


def find_owner(wanted: str) -> tuple[int, int]:
    """Uid and gid that files are given for ``wanted``, as COPY --chown does: a number alone stands for the group, too. Raises as ``find_user``."""
    user, colon, _ = wanted.partition(":")
    found = find_user(wanted if colon or not user.isdecimal() else f"{user}:{user}")
    return found.uid, found.gid


def _read(path: str) -> str:
    """The text of a file; a missing one is empty."""
    try:
        found = rootfs.resolve(syscalls.AT_FDCWD, path)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    try:
        if not stat.S_ISREG(os.stat(found).st_mode):
            raise ValueError(f"/{path} is not a regular file")
        with open(f"/proc/self/fd/{found}", "rb") as file:
            text = file.read(_MAX_FILE + 1)
    finally:
        os.close(found)
    if len(text) > _MAX_FILE:
        raise ValueError(f"/{path} is larger than {_MAX_FILE} bytes")
    return text.decode(errors="surrogateescape")
