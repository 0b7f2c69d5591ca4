"""The small deeds on cgroup directories: read, write, signal what is inside, remove."""

import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable, Iterator

_FIRST_PAUSE = 0.0005  # seconds between tries: the kernel mostly needs a moment,
_LONGEST_PAUSE = 0.02  # a loaded host more of them
_BATCH = 256  # processes held by descriptor at once
_BLOCK = 65536  # bytes per read


def signal_members(directory: str) -> bool:
    """SIGKILL the processes of one cgroup; whether there were any.

    By descriptor, and only what is listed again after it was opened: a number alone may have gone to a stranger since it was read.
    """
    found = members(directory)[:_BATCH]
    held: dict[int, int] = {}
    try:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                held[pid] = os.pidfd_open(pid)
        for pid in held.keys() & set(members(directory)):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(held[pid], signal.SIGKILL)
    finally:
        for fd in held.values():
            os.close(fd)
    return bool(found)


def members(directory: str) -> list[int]:
    """The processes of one cgroup."""
    # 0 stands for a process of a pid namespace that we do not see.
    return [int(pid) for pid in read_text(f"{directory}/cgroup.procs").split() if pid != "0"]


def tree(directory: str) -> Iterator[str]:
    """A cgroup and those inside it, innermost first."""
    for path, _, _ in os.walk(directory, topdown=False):
        yield path


def remove_tree(directory: str, deadline: float) -> bool:
    """Remove one; whether it has gone. Those inside are only looked for when it will not go: that is hardly ever."""
    return remove(directory) or until(lambda: all(remove(each) for each in tree(directory)), deadline)


def remove(directory: str) -> bool:
    """Remove a cgroup that may have gone already; False where something is in it."""
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise
        return False
    return True


def until(done: Callable[[], bool], deadline: float) -> bool:
    """Try until it is done or the deadline (of time.monotonic) has passed; whether it was done. Tries at least once."""
    pause = _FIRST_PAUSE
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
    return True


def is_v2(directory: str) -> bool:
    """Whether it is in a version 2 tree."""
    return os.path.exists(f"{directory}/cgroup.controllers")


def read_text(path: str) -> str:
    """A file's text; empty where it is missing, its cgroup has gone while it was open, or it has none (``cgroup.procs``, threaded)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    try:
        return os.fsdecode(b"".join(iter(lambda: os.read(fd, _BLOCK), b"")))
    except OSError as error:
        if error.errno not in (errno.ENODEV, errno.EOPNOTSUPP):
            raise
        return ""
    finally:
        os.close(fd)


def write_text(path: str, text: str) -> None:
    """One write of the whole text, as the kernel's files want it. The error says what could not be written where."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise OSError(error.errno, f"cannot write {text!r}: {error.strerror}", path) from None
    finally:
        os.close(fd)
