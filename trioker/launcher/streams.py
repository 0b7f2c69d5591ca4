"""A container's output on its way from pipe or terminal into the log and to the daemon."""

import errno
import os
import select
import time
from contextlib import suppress

from trioker.launcher.link import Link
from trioker.launcher.logfile import LogWriter
from trioker.launcher.wire import PIECE

_LAST_PIECES = 64
"""Most pieces read from a stream after the container's end, 4 MiB: more than any pipe or terminal holds. Without an end a stranger who was
given the other side could write for ever."""

_NUMBERS = {"stdout": 1, "stderr": 2, "terminal": 1}


class Streams:
    """The open output streams; each piece goes first into the log, then to the daemon, so both have one order."""

    def __init__(self, ends: dict[str, int], log: LogWriter, link: Link) -> None:
        self._open = {fd: _NUMBERS[name] for name, fd in ends.items() if name in _NUMBERS}
        self._log = log
        self._link = link
        for fd in self._open:
            os.set_blocking(fd, False)

    def __bool__(self) -> bool:
        return bool(self._open)

    def register(self, poll: select.poll) -> None:
        """Wait for output, unless the daemon has yet to take the last one."""
        if not self._link.blocked:
            for fd in self._open:
                poll.register(fd, select.POLLIN)

    def pump(self, fd: int) -> None:
        """Read a piece that poll has announced; other descriptors are none of ours."""
        if fd in self._open and not self._link.blocked:
            self._take(fd)

    def finish(self) -> None:
        """Read what the ended container left, as far as the daemon takes it; call again when it does."""
        for fd in list(self._open):
            for _ in range(_LAST_PIECES):
                if self._link.blocked:
                    return
                if not self._take(fd):
                    break
            self._close(fd)

    def _take(self, fd: int) -> bool:
        """Whether there was something."""
        try:
            data = os.read(fd, PIECE)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:  # how a terminal says that nobody has it open any more
                raise
            data = b""
        if not data:
            self._close(fd)
            return False
        self._pass_on(self._open[fd], data)
        return True

    def _pass_on(self, stream: int, data: bytes) -> None:
        with suppress(OSError):  # a full disk costs the record, never the container
            self._log.append(stream, data, time.time_ns())
        self._link.send_output(stream, self._log.position, data)

    def _close(self, fd: int) -> None:
        if self._open.pop(fd, None) is not None:
            os.close(fd)
