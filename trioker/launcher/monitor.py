"""A container's monitor: parent of its init, keeper of its output, witness of its end.

A monitor stays as long as its container, and each page of memory it touches is its own from its fork on. So until something happens it runs
next to no code: what it needs is made by the zygote before the fork, or by init, which gives it a *heritage* and a *greeting*
(``launch.py``); they are not even decoded while the container is silent.
"""

import _signal  # type: ignore[import-not-found]  # signal's own functions are wrapped in enums (see wire.py)
import os
import select
import signal
import socket
import time
from contextlib import suppress
from typing import NoReturn

from trioker.launcher import init, link, process, wire
from trioker.launcher.failure import describe
from trioker.launcher.init import Surroundings, Zygote
from trioker.launcher.launch import Heritage
from trioker.launcher.link import Link
from trioker.launcher.logfile import LogWriter
from trioker.launcher.records import Exit, clear, record_exit
from trioker.launcher.streams import Streams
from trioker.launcher.wire import Message, Packet
from trioker.linux import cgroups, pidfd

Received = tuple[bytes, wire.Ancillary, int, object]
"""What ``recvmsg`` returns."""

_MONITOR_FAILED = 137  # the container is killed
_DEAD_WITHIN = 10.0  # seconds for an init that failed to be gone; longer means that it hangs in the kernel
_HIGHEST_FD = 2**31 - 1


def main(zygote: Zygote, ours: wire.Socket, theirs: wire.Socket, release: int) -> NoReturn:
    """Be a monitor: make an init, and see what becomes of it to the end. ``ours`` and ``theirs`` are a pair for the two to talk.

    One function without helpers: each one called is one more page or two in every monitor.
    """
    try:
        os.setsid()
        process.set_name("trioker-monitor")
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        maker = os.fork()
        if maker == 0:
            ours.close()  # else init would never see it hang up
            init.main(Surroundings(zygote, release, theirs))
        fd = ours.fileno()
        os.dup2(0, 2)  # the daemon's standard error must not stay open in a process that outlives it
        os.closerange(3, fd)
        os.closerange(fd + 1, _HIGHEST_FD)
        told = []
        while (received := ours.recvmsg(*wire.ROOM))[0]:
            told.append(received)
        os.waitpid(maker, 0)
        if len(told) == 2:
            keep(*told)
        elif told:
            give_up(_packet(told[-1]))
        process.reap_all()  # an init without a word had no order, or one for a helper
        os._exit(0)
    except BaseException:  # noqa: BLE001  there is nobody above us, but for the loop of the zygote
        process.end_badly()


def _packet(received: Received) -> Packet:
    return Packet(received[0], wire.descriptors(received[1]))


def give_up(packet: Packet) -> None:
    """Undo a launch that has failed. What stays is why: in the log, as if the command had said it, and in the run directory."""
    message, fds = packet.decode()
    heritage = Heritage.from_message(message)
    failed = heritage.failed or {}
    if "pidfd" in fds:
        pidfd.wait(fds["pidfd"], _DEAD_WITHIN)
    with suppress(OSError):
        log = LogWriter(*heritage.log)
        log.append(2, f"{failed['message']}\n".encode(errors="surrogateescape"), time.time_ns())
        log.close()
    with suppress(OSError):
        os.chdir(heritage.run_dir)
        _record(
            Exit(failed["exit_code"], time.time_ns(), error=failed["message"]), cgroups.from_paths(heritage.cgroups)
        )
    _say_last(Link(wire.adopt(fds["report"])), failed)


def keep(inherited: Received, greeting: Received) -> None:
    """See a running container to its end, and tell it."""
    fds = wire.descriptors(inherited[1])
    report = wire.adopt(fds[0])
    try:
        report.sendmsg([greeting[0]], greeting[1], wire.DONTWAIT)  # a new socket has room
    except OSError:  # the daemon has gone; the next one will find us
        pass
    own = wire.descriptors(greeting[1])
    _wait_for_anything((own[0], *fds))
    follow(Packet(inherited[0], fds), Packet(greeting[0], own), report)


def _wait_for_anything(fds: tuple[int, ...]) -> None:
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    poll.poll()


def follow(inherited: Packet, greeting: Packet, report: wire.Socket) -> None:
    """See to a container from the first thing that happens."""
    message, fds = inherited.decode()
    heritage = Heritage.from_message(message)
    os.chdir(heritage.run_dir)
    daemon = Link(report)
    daemon.attached = heritage.attached
    end = _watch(Watch(heritage, fds, *greeting.decode(), daemon))
    group = cgroups.from_paths(heritage.cgroups)
    end = end._replace(oom_killed=group.oom_kills() > 0)
    _record(end, group)
    _say_last(daemon, {"event": "exited"} | end._asdict())


def _record(end: Exit, group: cgroups.Cgroup) -> None:
    """Write down the end, remove the rest."""
    with suppress(OSError):  # a full disk; the daemon is told all the same
        record_exit(end)
    with suppress(OSError):  # busy: then running.json stays, and says what is to be removed
        group.remove()
        clear()


def _say_last(daemon: Link, message: Message) -> None:
    daemon.send(message)
    daemon.drain()
    daemon.close()


def _watch(watch: "Watch") -> Exit:
    try:
        return watch.run()
    except Exception as error:  # noqa: BLE001  a container nobody watches must not go on
        watch.abandon()
        return Exit(_MONITOR_FAILED, time.time_ns(), error=f"its monitor failed: {describe(error)}")


class Watch:
    """The container's running time: output to log and daemon, the daemon's wishes, new daemons, and the end."""

    def __init__(
        self, heritage: Heritage, fds: dict[str, int], started: Message, own: dict[str, int], daemon: Link
    ) -> None:
        self._started = started
        self._own = own
        self._daemon = daemon
        self._listener = socket.socket(fileno=fds["listener"])
        self._log = LogWriter(*heritage.log)
        self._output = Streams(fds, self._log, daemon)

    def run(self) -> Exit:
        """Until init has ended and all its output is in the log."""
        end = None
        while end is None or self._output:
            ready = self._wait(running=end is None)
            self._attend_daemon(ready)
            if self._own["pidfd"] in ready:
                end = Exit(self._reap(), time.time_ns())
            if end is not None:
                self._output.finish()
                continue
            for fd in ready:
                self._output.pump(fd)
        return end

    def abandon(self) -> None:
        """End a container that cannot be watched any more."""
        pidfd.send_signal(self._own["pidfd"], signal.SIGKILL)
        with suppress(ChildProcessError):
            self._reap()

    def _reap(self) -> int:
        _, status = os.waitpid(self._started["pid"], 0)
        return pidfd.exit_code(status)

    def _wait(self, *, running: bool) -> dict[int, int]:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        if running:
            poll.register(self._own["pidfd"], select.POLLIN)
            self._output.register(poll)
        if self._daemon.fd >= 0:
            poll.register(self._daemon.fd, select.POLLIN | (select.POLLOUT if self._daemon.blocked else 0))
        patience = self._daemon.patience
        return dict(poll.poll(None if patience is None else patience * 1000 + 1))

    def _attend_daemon(self, ready: dict[int, int]) -> None:
        if self._daemon.fd in ready:
            self._obey(self._daemon.receive() or {})
        self._daemon.flush()
        if self._listener.fileno() in ready:
            sock = link.accept(self._listener)
            if sock is not None:
                self._daemon.replace(sock)
                self._daemon.send(self._started, self._own)

    def _obey(self, message: Message) -> None:
        match message.get("op"):
            case "attach":
                self._daemon.attached = True
                self._daemon.send({"event": "attached", "position": self._log.position})
            case "detach":
                self._daemon.attached = False
            case "close_stdin" if not self._started["tty"] and "stdin" in self._own:
                os.close(self._own.pop("stdin"))
