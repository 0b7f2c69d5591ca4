"""One client at one container's streams: the table of behaviour.md section 4, "attach"."""

import contextlib
from collections.abc import AsyncIterator, Callable

import attrs
import trio

from trioker.engine.hub import Client, Hub
from trioker.engine.output import STDERR, STDOUT, open_log, send_log
from trioker.model.attach import AttachRequest
from trioker.model.container import Config

DETACH = b"\x10\x11"  # Ctrl-P Ctrl-Q
_LEAVE_WITHIN = 1.0  # seconds to tell the monitor that nobody listens any more


def wanted_streams(wanted: AttachRequest) -> tuple[int, ...]:
    """The asked-for output streams, in the order their logs are sent."""
    return tuple(number for number, asked in ((STDOUT, wanted.stdout), (STDERR, wanted.stderr)) if asked)


@attrs.frozen
class Source:
    """What an attachment needs of its container."""

    hub: Hub
    config: Config
    log_directory: str


class DetachKeys:
    """Finds Ctrl-P Ctrl-Q in what a terminal sends, also when it comes in two reads."""

    def __init__(self) -> None:
        self._held = False

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What is to be passed on, and whether the client wants to go. A final Ctrl-P is held until the next key is known."""
        if self._held:
            data = DETACH[:1] + data
        passed, found, _ = data.partition(DETACH)
        self._held = not found and passed.endswith(DETACH[:1])
        return (passed[:-1] if self._held else passed), bool(found)


class LiveAttachment:
    """Attached to a run, or to a container that is to be started: log if asked, then live output; input on its way in."""

    def __init__(self, source: Source, wanted: AttachRequest, client: Client) -> None:
        self._source = source
        self._wanted = wanted
        self._client = client
        self._stdin = wanted.stdin and source.config.open_stdin

    async def run(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Until the container ends, the client detaches or goes, or it does not read and is cut."""
        async with trio.open_nursery() as nursery:
            self._client.on_cut = nursery.cancel_scope.cancel
            nursery.start_soon(self._input, stream, nursery.cancel_scope.cancel)
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                if self._wanted.logs:
                    await self._replay(stream)
                while piece := await self._client.take():
                    await stream.send_all(piece)
            nursery.cancel_scope.cancel()

    async def _replay(self, stream: trio.abc.SendStream) -> None:
        """The log up to where the live output begins; again from there, if more came meanwhile than is kept for a client."""
        streams = wanted_streams(self._wanted)
        begin, end = 0, self._client.start
        async with open_log(self._source.log_directory, begin, end) as log:
            for each in streams:
                await send_log(log, (each,), stream.send_all)
        while self._client.spilled:
            begin, end = end, self._source.hub.position
            self._client.rejoin(end)
            async with open_log(self._source.log_directory, begin, end) as log:
                await send_log(log, streams, stream.send_all)
        self._client.replaying = False

    async def _input(self, stream: trio.abc.ReceiveStream, end_session: Callable[[], None]) -> None:
        """Carry the client's bytes to the container's stdin. Without stdin they are read and dropped, and the end of them means nothing."""
        try:
            if not self._stdin:
                async for _ in stream:
                    pass
                return
            if await self._carry(stream) or not self._closes_stdin:
                end_session()
        except trio.BrokenResourceError:
            end_session()

    @property
    def _closes_stdin(self) -> bool:
        return self._source.config.stdin_once and not self._source.config.tty

    async def _carry(self, stream: trio.abc.ReceiveStream) -> bool:
        """Returns whether the client asked to be detached; otherwise it has sent its last byte."""
        keys = DetachKeys() if self._source.config.tty else None
        stdin: trio.abc.SendStream | None = None
        process = None
        try:
            async for received in stream:
                data, detached = keys.feed(bytes(received)) if keys else (bytes(received), False)
                process = process or await self._source.hub.wait_process()
                stdin = stdin or (process.open_stdin() if process else None)
                if stdin is not None and data:
                    await _send_or_drop(stdin, data)
                if detached:
                    return True
            process = process or await self._source.hub.wait_process()
        finally:
            if stdin is not None:
                await trio.aclose_forcefully(stdin)
            if process is not None and self._closes_stdin:
                with trio.move_on_after(_LEAVE_WITHIN, shield=True):
                    await process.close_stdin()
        return False


async def _send_or_drop(stdin: trio.abc.SendStream, data: bytes) -> None:
    """A container that has closed its stdin, or is gone, does not want the bytes: that is no error of the client's."""
    with contextlib.suppress(trio.BrokenResourceError):
        await stdin.send_all(data)


class LoggedAttachment:
    """Attached to a container that has ended: its log if asked, then the end."""

    def __init__(self, source: Source, wanted: AttachRequest) -> None:
        self._source = source
        self._wanted = wanted

    async def run(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Send the log."""
        if not self._wanted.logs:
            return
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with open_log(self._source.log_directory) as log:
                for each in wanted_streams(self._wanted):
                    await send_log(log, (each,), stream.send_all)


@contextlib.asynccontextmanager
async def attach_live(source: Source, wanted: AttachRequest) -> AsyncIterator[LiveAttachment]:
    """Join the live output; on entry nothing that is printed from now on is missed."""
    client = source.hub.join(wanted_streams(wanted))
    client.replaying = wanted.logs
    try:
        yield LiveAttachment(source, wanted, client)
    finally:
        with trio.move_on_after(_LEAVE_WITHIN, shield=True):
            await source.hub.leave(client)
