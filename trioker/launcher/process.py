"""What every process of the launcher does to itself first."""

import os
import signal
import sys
from collections.abc import Collection
from contextlib import suppress
from typing import NoReturn

from trioker.linux import mounts, syscalls

_PROTECTED = "TRIOKER_PROTECTED"  # in the environment of a process that has started itself again
_LIBRARY_SIGNALS = (32, 33)  # glibc's own; its posix_spawn, which make uses, leaves them ignored in what it starts
_OOM_MARGIN = 500  # as between dockerd and its containers: half of the host's memory
_OOM_HIGHEST = 1000
_HIGHEST_FD = 2**32 - 1


def protect_interpreter() -> None:
    """See to it that this process, and all forked from it, run an executable that nobody can change through them.

    A container may execute /proc/self/exe with a loader of its own, and then holds the host's interpreter open (CVE-2019-5736). So we
    start ourselves again from a read-only mount that is nowhere attached: what is opened through it cannot be written, nor its mode or
    attributes changed. Raises RuntimeError where that did not help.
    """
    if os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY:
        return
    if _PROTECTED in os.environ:
        raise RuntimeError("the interpreter could not be put on a read-only mount")
    interpreter = mounts.copy(syscalls.AT_FDCWD, "/proc/self/exe")
    mounts.set_readonly(interpreter)
    os.execve(interpreter, sys.orig_argv, {_PROTECTED: "1"})  # noqa: S606  no shell is wanted


def reset_signals() -> None:
    """Let every signal do what it does by default, and block none: both are inherited over fork and (ignoring, blocking) over exec."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    for kept in _LIBRARY_SIGNALS:
        syscalls.rt_sigaction_default(kept)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # a peer that is gone and a full file are errors to us, not a death
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def allow_deadlines() -> None:
    """Let ``signal.alarm`` raise TimeoutError, also in a namespace's first process, which the kernel spares what is not handled."""

    def expired(_number: int, _frame: object) -> None:
        raise TimeoutError("the command was not running in time")

    signal.signal(signal.SIGALRM, expired)


def reap_nobody() -> None:
    """Have the kernel reap our children, those too that have ended already: nobody asks how."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def reap_all() -> None:
    """Wait for every child: not every host's process 1 reaps what is left to it."""
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def close_all_but(fds: Collection[int]) -> None:
    """Close every descriptor but 0, 1, 2 and these."""
    first = 3
    for fd in sorted(each for each in fds if each > 2):
        if fd > first:
            syscalls.close_range(first, fd - 1)
        first = fd + 1
    syscalls.close_range(first, _HIGHEST_FD)


def end_before_the_daemon() -> None:
    """Have the kernel end this process, and all it starts, before the daemon, launcher and monitors where the host runs out of memory.

    To be called once: it goes up from the score inherited of them (proc_pid_oom_score_adj(5)), as all may go up, but to the usual one at least.
    """
    fd = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
    score = int(os.read(fd, 16)) + _OOM_MARGIN
    os.write(fd, b"%d" % min(max(score, 0), _OOM_HIGHEST))
    os.close(fd)


def set_name(name: str) -> None:
    """What ps shows (at most 15 bytes). Through the host's /proc."""
    fd = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
    os.write(fd, name.encode())
    os.close(fd)


def become_undumpable() -> None:
    """Let nobody of a container's user read or trace us, nor reach our interpreter through /proc/<pid>/exe (CVE-2016-9962, CVE-2019-5736)."""
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)


def end_badly() -> NoReturn:
    """Print the exception that is being handled, and end. Not by the traceback module: it is large, and would be in every monitor."""
    try:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    finally:
        os._exit(1)
