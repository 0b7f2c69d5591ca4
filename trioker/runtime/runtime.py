"""The runtime: launches containers and helpers through the zygote, finds containers again, cleans up after them."""

import contextlib
import functools
import json
import logging
import os
import shutil
import signal
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Container, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import trio

from trioker.launcher.failure import describe
from trioker.launcher.spec import CompareSpec, MirrorSpec, PackSpec, UnpackSpec, WriteSpec
from trioker.launcher.wire import Output
from trioker.linux import cgroups, pidfd
from trioker.linux.cgroup_freezer import Freezer
from trioker.linux.mounts import Mount
from trioker.model.errors import InvalidParameter, LaunchFailed, NoRoom, TriokerError
from trioker.model.ids import short_id
from trioker.model.layer import Unpacked
from trioker.model.run import Exit, Run
from trioker.runtime.channel import Channel, Event
from trioker.runtime.process import MonitoredProcess, exit_from
from trioker.runtime.spec import Place, launch_spec
from trioker.runtime.zygote import Zygote

log = logging.getLogger("trioker.runtime")

Send = Callable[[bytes], Awaitable[None]]

LAUNCH_WITHIN = 60.0  # seconds; a start takes milliseconds, a minute means a stuck filesystem
HELPER_ENDS_WITHIN = (
    600.0  # seconds from the last byte of a layer to the helper's word: it may be syncing to a slow disk
)
_ZYGOTE_BACK_WITHIN = 5.0  # seconds
_NOTICED_WITHIN = 0.2  # seconds for the supervisor to see that its zygote has died
TOO_LITTLE_MEMORY = "the memory limit is too small to start the container: the kernel killed it"
_HELPER_GONE_WITHIN = 5.0  # seconds for a helper to see that its pipe is closed
_KILLED_WITHIN = 10.0  # seconds for a killed process to be gone; longer means it hangs in the kernel
MONITOR_KILLED = "the container's monitor was killed, and the container with it"
KILLED = 128 + signal.SIGKILL
_LIMIT_BYTES = 2**40  # of one unpacked layer: a bomb ends here, no honest layer comes near
_LIMIT_ENTRIES = 10_000_000
_RESERVED_PART = 100  # of a disk stays free, for logs and the database, or
_RESERVE_BYTES = 2**29  # of a large one


class Runtime:
    """Implements ``engine.ports.Runtime`` and ``images.ports.Unpacker``."""

    def __init__(self, zygote: Zygote, place: Place) -> None:
        self._zygote = zygote
        self._place = place
        self._freezer = Freezer.detect()

    def _run_dir(self, container_id: str) -> str:
        return f"{self._place.run_root}/{container_id}"

    def _cgroup(self, container_id: str) -> str:
        return f"{self._place.cgroup_parent}/{container_id}"

    async def launch(self, run: Run, mounts: Sequence[Mount], output: int | None = None) -> MonitoredProcess:
        """Start; returns when the command has been executed. Raises LaunchFailed.

        ``output`` is a pipe that gets all output, past log and monitor: who reads it slowly holds the command back, and nothing is ever cut off.
        """
        os.mkdir(self._run_dir(run.id), 0o700)
        spec = launch_spec(run, mounts, self._place)
        with trio.move_on_after(LAUNCH_WITHIN):
            while True:
                generation = await self._zygote.wait_up()
                event, channel = await self._launch_once(spec, {} if output is None else {"output": output})
                if event is not None or not await self._order_was_lost(generation, run.id):
                    break
                channel.close()
            match event:
                case Event({"event": "started"}, _):
                    for warning in event.fields["warnings"]:
                        log.warning("container %s: %s", short_id(run.id), warning)
                    return self._process(channel, event, run.id, subscribed=run.attached)
                case Event({"event": "failed"} as fields, _):
                    channel.close()
                    await self.forget(run.id)
                    raise LaunchFailed(fields["stage"], fields["message"], int(fields["exit_code"]))
            channel.close()
            raise await self._cut_short(run.id)
        await self.forget(run.id)
        raise LaunchFailed("launcher", f"the container did not start within {LAUNCH_WITHIN:.0f} seconds")

    async def _launch_once(self, spec: Mapping[str, Any], fds: Mapping[str, int]) -> tuple[Event | None, Channel]:
        channel, theirs = Channel.pair()
        try:
            with theirs:
                await self._zygote.order("launch", spec, {"report": theirs.fileno(), **fds})
            while True:
                match await channel.receive():
                    case Output():
                        pass  # the message of a failure, on its way to whoever is attached
                    case event:
                        return event, channel
        except OSError:
            return None, channel
        except BaseException:
            channel.close()
            raise

    async def _order_was_lost(self, generation: int, container_id: str) -> bool:
        """Whether an unanswered order died with its zygote, before there was a monitor: then it may be given again."""
        await trio.sleep(_NOTICED_WITHIN)
        if self._zygote.is_up and self._zygote.generation == generation:
            return False
        with trio.move_on_after(_ZYGOTE_BACK_WITHIN):
            await self._zygote.wait_up()
        return self._zygote.generation != generation and not os.listdir(self._run_dir(container_id))

    async def _cut_short(self, container_id: str) -> LaunchFailed:
        """Why a launch ended without a word: its init was killed. Most often by the kernel, for a limit that even the start is too large for."""
        reached_limit = await trio.to_thread.run_sync(_end_unborn, self._cgroup(container_id))
        await self.forget(container_id)
        if reached_limit:
            return LaunchFailed("limits", TOO_LITTLE_MEMORY, KILLED, oom_killed=True)
        return LaunchFailed("launcher", "the container's init or monitor was killed while starting it")

    def _process(
        self, channel: Channel, started: Event, container_id: str, *, subscribed: bool = False
    ) -> MonitoredProcess:
        return MonitoredProcess(channel, started, functools.partial(self._lost, container_id), subscribed=subscribed)

    async def _lost(self, container_id: str, process: MonitoredProcess) -> Exit | Channel:
        """What is behind a monitor's hang-up: it cut us off because we were stopped, the run has ended, or the monitor was killed.

        In the last case what is left of the container is ended here.
        """
        connected = await self._connect(container_id)
        if connected is not None:
            channel, started = connected
            for fd in started.fds.values():
                os.close(fd)  # the process has them
            return channel
        ended = self._exit_record(container_id)
        if ended is not None:
            return ended
        process.signal(signal.SIGKILL)
        with trio.move_on_after(_KILLED_WITHIN):
            await process.wait_dead()
        return Exit(KILLED, time.time_ns(), error=MONITOR_KILLED)

    async def reconnect(self, container_id: str) -> MonitoredProcess | Exit | None:
        """A container of an earlier daemon: alive, ended with a record, or None where nothing is known (all is cleaned up)."""
        await self.thaw(container_id)  # the earlier daemon may have been killed during a commit
        connected = await self._connect(container_id)
        if connected is not None:
            return self._process(*connected, container_id)
        ended = self._exit_record(container_id)
        if ended is None and _read_json(f"{self._run_dir(container_id)}/running.json") is not None:
            # It ran, and there is neither a monitor nor a record of the end: ``forget`` ends what is left of it.
            ended = Exit(KILLED, time.time_ns(), error=MONITOR_KILLED)
        return ended

    async def _connect(self, container_id: str) -> tuple[Channel, Event] | None:
        """A new connection to a container's monitor and what it says first; None where nobody listens."""
        with trio.move_on_after(LAUNCH_WITHIN), contextlib.suppress(OSError):
            channel = await Channel.connect(self._run_dir(container_id), "monitor.sock")
            event = await channel.receive()
            if isinstance(event, Event) and event.fields["event"] == "started":
                return channel, event
            channel.close()
        return None

    def _exit_record(self, container_id: str) -> Exit | None:
        record = _read_json(f"{self._run_dir(container_id)}/exit.json")
        return exit_from(record) if record else None

    async def sweep(self, keep: Container[str]) -> None:
        """``forget`` every run but those of ``keep``."""
        for container_id in os.listdir(self._place.run_root):
            if container_id not in keep:
                await self.forget(container_id)

    async def forget(self, container_id: str) -> None:
        """Remove what a finished or failed run left: processes, run directory, control groups. Idempotent."""
        run_dir = self._run_dir(container_id)
        running = _read_json(f"{run_dir}/running.json")
        if running is not None:  # left by a monitor that was killed, or could not remove the control groups
            await self.thaw(container_id)
            await trio.to_thread.run_sync(_end_run, running)
        shutil.rmtree(run_dir, ignore_errors=True)
        with trio.move_on_after(_KILLED_WITHIN):  # a monitor that lives may be writing down the end meanwhile
            while os.path.exists(run_dir):
                await trio.sleep(_NOTICED_WITHIN)
                shutil.rmtree(run_dir, ignore_errors=True)

    @contextlib.asynccontextmanager
    async def frozen(self, container_id: str) -> AsyncIterator[None]:
        """Nothing in the container runs, until ``thaw``. Where that cannot be, it is told in the log and the container goes on."""
        try:
            await trio.to_thread.run_sync(self._freezer.freeze, self._cgroup(container_id))
        except OSError as error:
            log.warning("container %s goes on while its files are read: %s", short_id(container_id), describe(error))
        try:
            yield
        finally:
            await self.thaw(container_id)

    async def thaw(self, container_id: str) -> None:
        """Let a container go on, whoever froze it; one that was not frozen, or has gone, is fine."""
        with trio.CancelScope(shield=True):
            try:
                await trio.to_thread.run_sync(self._freezer.thaw, self._cgroup(container_id))
            except OSError as error:
                log.warning("container %s could not be thawed: %s", short_id(container_id), describe(error))

    async def pack(
        self,
        mounts: Sequence[Mount],
        send: Send,
        running: MonitoredProcess | None = None,
        *,
        only: Sequence[str] | None = None,
        deleted: Sequence[str] = (),
        sources: Sequence[str] = (),
        directory: str = "",
    ) -> None:
        """Send the tree that ``mounts`` show, or the root of a running container, as an uncompressed tar, made by a confined helper.

        All of it, or what ``launcher.spec.PackSpec`` tells. Raises InvalidParameter naming a source without a match, or what cannot be read.
        """
        spec = PackSpec(
            list(mounts),
            self._place.mount_point,
            only=None if only is None else list(only),
            deleted=list(deleted),
            sources=list(sources),
            directory=directory,
        )
        reader, writer = os.pipe2(os.O_CLOEXEC)
        data = trio.lowlevel.FdStream(reader)
        container = {"container": running.pidfd} if running else {}
        async with data, self._helper("pack", spec._asdict(), writer, container) as channel:
            async with data:
                async for piece in data:
                    await send(bytes(piece))
            await _helper_result(channel)

    async def write(
        self,
        mounts: Sequence[Mount],
        chunks: AsyncIterable[bytes],
        *,
        directory: str,
        single: str = "",
        owner: str = "",
    ) -> Unpacked:
        """Write a tar into the tree that ``mounts`` show, as it arrives (``launcher.spec.WriteSpec``); it may be compressed.

        Raises InvalidParameter naming the entry, directory or owner that is at fault. What was written stays for the caller to remove.
        """
        place = self._place.mount_point
        spec = WriteSpec(list(mounts), place, directory, single, owner, _LIMIT_BYTES, _LIMIT_ENTRIES)
        return await self._fill("write", spec._asdict(), chunks)

    async def unpack(
        self, path: Path, whiteouts: str, chunks: AsyncIterable[bytes], *, below: Sequence[Mount] = ()
    ) -> Unpacked:
        """Unpack a layer's tar as it arrives (``images.ports.Unpacker``).

        ``below`` are the mounts that show its parent's tree: what hard links may point to where the whiteouts are ``overlay``.
        """
        room, entries = _room(path)
        seen = list(below) if whiteouts == "overlay" else []
        limits = room, _LIMIT_BYTES, min(entries, _LIMIT_ENTRIES)
        spec = UnpackSpec(str(path), whiteouts, *limits, seen, self._place.mount_point)
        return await self._fill("unpack", spec._asdict(), chunks)

    async def mirror(
        self,
        old: Sequence[Mount],
        new: Sequence[Mount],
        touched: Sequence[str],
        tell: Callable[[int], None],
        *,
        thorough: bool,
    ) -> None:
        """Make the tree that ``new`` shows equal to that of ``old`` (``launcher.mirror``); ``tell`` hears how many bytes were read so far.

        Raises TriokerError naming what could not be made, NoRoom on a full disk. What was made stays for the caller to remove.
        """
        spec = MirrorSpec(list(old), list(new), self._place.mount_point, list(touched), thorough)
        await self._measured("mirror", spec._asdict(), tell)

    async def compare(
        self,
        old: Sequence[Sequence[Mount]],
        new: Sequence[Sequence[Mount]],
        touched: Sequence[str],
        tell: Callable[[int], None],
        *,
        since: int,
    ) -> str:
        """Compare two trees, each with the one below it (no mounts for none), by what is known of those (``launcher.compare.Known``).

        Returns the path of the first entry that is not equal, "" where all are. ``tell`` as for ``mirror``. Raises TriokerError naming what
        cannot be read.
        """
        (old_tree, old_below), (new_tree, new_below) = (map(list, each) for each in (old, new))
        spec = CompareSpec(old_tree, old_below, new_tree, new_below, self._place.mount_point, since, list(touched))
        fields = await self._measured("compare", spec._asdict(), tell)
        return str(fields["difference"])

    async def _measured(self, kind: str, spec: Mapping[str, Any], tell: Callable[[int], None]) -> dict[str, Any]:
        """Have a helper do what takes long; it ends when we do, as nobody then reads what it tells."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        data = trio.lowlevel.FdStream(reader)
        async with data, self._helper(kind, spec, writer) as channel:
            async with data:
                async for piece in data:
                    if lines := piece.rpartition(b"\n")[0]:
                        tell(int(lines.rpartition(b"\n")[2]))
            return await _helper_result(channel)

    async def _fill(self, kind: str, spec: Mapping[str, Any], chunks: AsyncIterable[bytes]) -> Unpacked:
        """Have a helper take in a tar."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        data = trio.lowlevel.FdStream(writer)
        async with data, self._helper(kind, spec, reader) as channel:
            async with data:  # closed before the helper is waited for: that is how it knows the end
                async for chunk in chunks:
                    if not await _send_all(data, chunk):
                        break  # the helper stopped reading: its report says why
            fields = await _helper_result(channel)
            return Unpacked(int(fields["size"]), int(fields["entries"]), str(fields.get("diff", "")))

    @contextlib.asynccontextmanager
    async def _helper(
        self, kind: str, spec: Mapping[str, Any], data: int, further: Mapping[str, int] = MappingProxyType({})
    ) -> AsyncIterator[Channel]:
        """A helper with ``data`` as its end of the pipe (owned here from now on). It ends when the other end is closed.

        At the end of the context it has gone: whoever asked for it may be about to remove the tree it works in.
        """
        channel, theirs = Channel.pair()
        try:
            try:
                with theirs:
                    await self._zygote.order(kind, spec, {"report": theirs.fileno(), "data": data, **further})
            finally:
                os.close(data)
            yield channel
        finally:
            with trio.move_on_after(_HELPER_GONE_WITHIN, shield=True):
                while await channel.receive() is not None:
                    pass
            channel.close()


async def _send_all(stream: trio.abc.SendStream, data: bytes) -> bool:
    """Whether anybody still reads."""
    try:
        await stream.send_all(data)
    except trio.BrokenResourceError:
        return False
    return True


async def _helper_result(channel: Channel) -> dict[str, Any]:
    with trio.move_on_after(HELPER_ENDS_WITHIN):
        match await channel.receive():
            case Event({"event": "done"} as fields, _):
                return fields
            case Event({"event": "failed"} as fields, _):
                kind = InvalidParameter if fields.get("archive") else NoRoom if fields.get("full") else TriokerError
                raise kind(str(fields["message"]))
        raise TriokerError("the helper died before it was done")
    raise TriokerError(f"the helper said nothing for {HELPER_ENDS_WITHIN:.0f} seconds")


def _room(path: Path) -> tuple[int, int]:
    """Bytes and files that one layer may take of a filesystem: what is free, but for a reserve that what runs can go on with."""
    found = os.statvfs(path)
    reserve = min(found.f_blocks * found.f_frsize // _RESERVED_PART, _RESERVE_BYTES)
    entries = max(0, found.f_favail - found.f_files // _RESERVED_PART) if found.f_files else _LIMIT_ENTRIES
    return max(0, found.f_bavail * found.f_frsize - reserve), entries


def _read_json(path: str) -> dict[str, Any] | None:
    try:
        with open(path, encoding="utf-8") as file:
            return dict(json.load(file))
    except FileNotFoundError:
        return None


def _end_unborn(path: str) -> bool:
    """Remove the control groups of a launch that came to no record of them; whether the kernel killed something in them for memory."""
    found = cgroups.detect()
    places = {found.place(each, path) for each in ("memory", "cpu", "pids", "devices")}
    group = cgroups.from_paths([each for each in sorted(places) if each and os.path.isdir(each)])
    reached_limit = group.oom_kills() > 0
    group.kill()
    group.remove()
    return reached_limit


def _end_run(running: Mapping[str, Any]) -> None:
    """Kill a run whose monitor is gone, and remove its control groups."""
    pid = int(running["pid"])
    with contextlib.suppress(ProcessLookupError):
        fd = os.pidfd_open(pid)
        try:
            # The number may be another process's by now: the start time, read with the descriptor held, tells.
            if pidfd.process_start_time(pid) == int(running["pid_start"]):
                pidfd.send_signal(fd, signal.SIGKILL)
                pidfd.wait(fd, _KILLED_WITHIN)
        finally:
            os.close(fd)
    group = cgroups.from_paths(running["cgroups"])
    group.kill()
    group.remove()
