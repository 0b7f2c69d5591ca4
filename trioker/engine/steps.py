"""Running the steps of a build: commands without a container, of which nothing is left but what they changed and said."""

import logging
import os
import signal
from collections.abc import Awaitable, Callable

import attrs
import trio

from trioker.engine.files import Files, Names
from trioker.engine.ports import Layers, Network, Process, Runtime
from trioker.linux.mounts import unsynced
from trioker.model.container import Config
from trioker.model.errors import LaunchFailed
from trioker.model.ids import short_id
from trioker.model.run import Exit, LogPolicy, Run

log = logging.getLogger("trioker.engine")

Say = Callable[[bytes], Awaitable[None]]

KILLED_WITHIN = 30.0  # seconds; a killed process that stays longer hangs in the kernel
_LOG = LogPolicy(size=2**16, files=1)  # nothing is logged but why a start failed


@attrs.frozen
class Workshop:
    """Implements ``images.build.ports.Workshop``."""

    runtime: Runtime
    layers: Layers
    files: Files
    network: Network

    async def run(self, layer_key: str, config: Config, say: Say, name: str, *, connected: bool = True) -> int:
        """Run ``config``'s command in the new writable layer ``layer_key``; returns its exit code. The layer cannot be written in again.

        What it prints goes to ``say`` as it comes; while ``say`` waits, the command does. ``name`` is an id for the time it runs, and the
        host name unless ``config`` has one. ``connected`` gives it a place on the network, if there is one. Cancelled, it is killed at once.
        On return nothing of the run is left but the changed layer. A command that cannot be executed is said and told by its exit code, as a
        shell does; raises LaunchFailed for any other failed start.
        """
        config = _plain(config, name)
        place = self.network.reserve(name) if connected else None
        try:
            names = Names(
                config.hostname, self.network.hosts(config.hostname, place), self.network.resolv_conf(config.dns)
            )
            with self.files.for_step(name, names) as binds:
                run = Run(name, config, binds, "", _LOG, attached=False, home="", endpoint=place)
                return await self._run(run, layer_key, say)
        finally:
            if place:
                with trio.CancelScope(shield=True):
                    await self.network.disconnect(place)

    async def _run(self, run: Run, layer_key: str, say: Say) -> int:
        try:
            process, output = await self._launch(run, layer_key)
        except LaunchFailed as failure:
            if failure.stage != "exec":
                raise
            await say(f"{failure}\n".encode(errors="surrogateescape"))
            return failure.exit_code
        ended: Exit | None = None
        try:
            async with output:
                async for piece in output:
                    await say(bytes(piece))
            ended = await _end(process)
            return ended.code
        finally:
            with trio.CancelScope(shield=True):
                await self._clear(process, run.id, running=ended is None)

    async def _launch(self, run: Run, layer_key: str) -> tuple[Process, trio.abc.ReceiveStream]:
        """The running command, and what it prints. Not cancelled half-way: a command whose launch nobody waits for would go on by itself."""
        mounts = unsynced(await self.layers.mounts(layer_key, readonly=False))
        if run.endpoint:
            await self.network.publish(run.endpoint)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        output = trio.lowlevel.FdStream(reader)
        try:
            with trio.CancelScope(shield=True):
                process = await self.runtime.launch(run, mounts, writer)
        except BaseException:
            await trio.aclose_forcefully(output)
            raise
        finally:
            os.close(writer)
        return process, output

    async def _clear(self, process: Process, run_id: str, *, running: bool) -> None:
        """Leave nothing of the run."""
        if running:
            process.signal(signal.SIGKILL)
            with trio.move_on_after(KILLED_WITHIN) as scope:
                await _end(process)
            if scope.cancelled_caught:
                log.error("step %s was killed but has not ended: it hangs in the kernel", short_id(run_id))
        await process.aclose()
        await self.runtime.forget(run_id)


async def _end(process: Process) -> Exit:
    while not isinstance(told := await process.receive(), Exit):
        pass
    return told


def _plain(config: Config, name: str) -> Config:
    """What an image says about terminals is not for its steps."""
    return attrs.evolve(config, hostname=config.hostname or short_id(name), tty=False, open_stdin=False)
