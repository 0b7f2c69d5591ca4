"""Processes held by descriptor: a pid may be reused, a pidfd never means another process."""

import os
import select
import signal


def send_signal(pidfd: int, number: int) -> None:
    """Signal the process; one that is gone is no error."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        pass


def wait(pidfd: int, timeout: float) -> bool:
    """Whether the process has ended within ``timeout`` seconds. It is not reaped."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


def process_start_time(pid: int) -> int:
    """When the process began, in clock ticks since boot: with the pid it names one process of this boot (field 22, proc_pid_stat(5))."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19])


def exit_code(status: int) -> int:
    """A wait status as a shell tells it: the program's own code, or 128 + n where signal n ended it."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
