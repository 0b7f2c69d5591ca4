"""A live container as the daemon holds it: one connection to its monitor, a pidfd, a way into its stdin."""

import contextlib
import fcntl
import os
import struct
import termios
from collections.abc import Awaitable, Callable

import trio

from trioker.launcher import wire
from trioker.linux import pidfd
from trioker.model.errors import Impossible
from trioker.model.run import Attached, Exit, Output
from trioker.runtime.channel import Channel, Event


def exit_from(fields: dict[str, object]) -> Exit:
    """The end of a run, as the monitor's event and its exit file tell it."""
    return Exit(
        code=int(str(fields["code"])),
        finished_ns=int(str(fields["finished_ns"])),
        oom_killed=bool(fields.get("oom_killed")),
        error=str(fields.get("error") or ""),
    )


class MonitoredProcess:
    """Implements ``engine.ports.Process``. Made from the monitor's ``started`` event, whose descriptors it owns from then on.

    ``lost`` is asked when the monitor hangs up without word: it tells the run's end, or gives a new connection to a monitor that lives.
    """

    def __init__(
        self,
        channel: Channel,
        started: Event,
        lost: Callable[["MonitoredProcess"], Awaitable[Exit | Channel]],
        *,
        subscribed: bool = False,
    ) -> None:
        self.pid = int(started.fields["pid"])
        self.started_ns = int(started.fields["started_ns"])
        self._channel = channel
        self._lost = lost
        self._subscribed = subscribed
        self.pidfd = started.fds["pidfd"]
        self._stdin = started.fds.get("stdin", -1)
        self._tty = bool(started.fields["tty"])

    async def receive(self) -> Attached | Output | Exit:
        """The next thing that happens."""
        while True:
            match await self._channel.receive():
                case wire.Output(stream, position, data):
                    return Output(stream, data, position)
                case Event({"event": "exited"} as fields, _):
                    return exit_from(fields)
                case Event({"event": "attached"} as fields, _):
                    return Attached(int(fields["position"]))
                case Event():
                    continue
                case None:
                    found = await self._lost(self)
                    if isinstance(found, Exit):
                        return found
                    self._channel.close()
                    self._channel = found
                    if self._subscribed:
                        await self.subscribe()

    async def subscribe(self) -> None:
        """Ask for output."""
        self._subscribed = True
        await self._tell("attach")

    async def unsubscribe(self) -> None:
        """Ask for no more."""
        self._subscribed = False
        await self._tell("detach")

    async def _tell(self, operation: str) -> None:
        """Tell the monitor; one that is gone needs no telling: ``receive`` reports it."""
        with contextlib.suppress(ConnectionError, trio.ClosedResourceError):
            await self._channel.send({"op": operation})

    def signal(self, number: int) -> None:
        """Signal the container's init; a process that is gone is no error."""
        pidfd.send_signal(self.pidfd, number)

    def open_stdin(self) -> trio.abc.SendStream | None:
        """A stream of its own into stdin or the terminal, None where there is none (any more)."""
        return None if self._stdin < 0 else trio.lowlevel.FdStream(fcntl.fcntl(self._stdin, fcntl.F_DUPFD_CLOEXEC, 3))

    async def close_stdin(self) -> None:
        """Let the container see end of file. A terminal has none: it stays as it is."""
        if self._tty or self._stdin < 0:
            return
        os.close(self._stdin)
        self._stdin = -1
        await self._tell("close_stdin")

    def resize(self, rows: int, columns: int) -> None:
        """Set the terminal's size. Raises Impossible without a terminal."""
        if not self._tty:
            raise Impossible("Impossible to resize: the container has no terminal")
        fcntl.ioctl(self._stdin, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    async def wait_dead(self) -> None:
        """Until the container's init is gone, whoever reaps it."""
        await trio.lowlevel.wait_readable(self.pidfd)

    async def aclose(self) -> None:
        """Let go of the monitor and the descriptors; the container lives on."""
        self._channel.close()
        for fd in (self.pidfd, self._stdin):
            if fd >= 0:
                os.close(fd)
        self.pidfd = self._stdin = -1
