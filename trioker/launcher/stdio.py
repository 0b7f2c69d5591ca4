"""A container's standard streams, as its init opens them: pipes, or a terminal of its own devpts."""

import fcntl
import os
import struct
import termios
from typing import NamedTuple

from trioker.launcher.rootfs import Filesystems
from trioker.linux import mounts

_TIOCSPTLCK, _TIOCGPTPEER = 0x40045431, 0x5441  # asm-generic/ioctls.h; the termios module has no names for them
_PIPE_SIZE = 2**18  # four full reads of the monitor: a container's burst goes on while the monitor writes the log


class Stdio(NamedTuple):
    """The container's ends, and the monitor's by name (``stdin``, ``stdout``, ``stderr`` or ``terminal``)."""

    own: tuple[int, int, int]
    monitors: dict[str, int]


def open_stdio(made: Filesystems, *, tty: bool, open_stdin: bool, output: int | None = None) -> Stdio:
    """Open them; belongs after the filesystems were attached. Raises OSError.

    With ``output`` both output streams are that descriptor, which is none of the monitor's business.
    """
    if output is not None:
        return Stdio((_open_null(made), output, output), {})
    return _open_terminal(made) if tty else _open_pipes(made, open_stdin=open_stdin)


def _open_null(made: Filesystems) -> int:
    return os.open("null", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=made.dev)


def _open_pipes(made: Filesystems, *, open_stdin: bool) -> Stdio:
    monitors = {}
    if open_stdin:
        stdin, monitors["stdin"] = os.pipe2(os.O_CLOEXEC)
    else:
        stdin = _open_null(made)
    monitors["stdout"], stdout = os.pipe2(os.O_CLOEXEC)
    monitors["stderr"], stderr = os.pipe2(os.O_CLOEXEC)
    fcntl.fcntl(stdout, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    return Stdio((stdin, stdout, stderr), monitors)


def _open_terminal(made: Filesystems) -> Stdio:
    """A terminal, without a path: what /dev/pts/0 names could be anything by the time it is opened (CVE-2025-52565)."""
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    master = os.open("ptmx", flags | os.O_NOFOLLOW, dir_fd=made.pts)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    slave = fcntl.ioctl(master, _TIOCGPTPEER, flags)
    _make_console(made, slave)
    return Stdio((slave, slave, slave), {"terminal": master})


def _make_console(made: Filesystems, slave: int) -> None:
    target = os.open("console", os.O_CREAT | os.O_EXCL | os.O_RDONLY | os.O_CLOEXEC, 0o620, dir_fd=made.dev)
    mount = mounts.copy(slave, "")
    mounts.attach(mount, target)
    os.close(mount)
    os.close(target)


def install(stdio: Stdio, uid: int, *, tty: bool) -> None:
    """Make them descriptors 0, 1 and 2; take the terminal as the controlling one.

    They become the user's own, so that /dev/stdout can be opened again; ``uid`` is what the host knows the user by.
    """
    for fd in set(stdio.own[0 if "stdin" in stdio.monitors else 1 :]):  # /dev/null stays root's
        os.fchown(fd, uid, -1)
    for number, fd in enumerate(stdio.own):
        os.dup2(fd, number)
    if tty:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
