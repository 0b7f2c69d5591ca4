"""The first run, of nothing: it tells at the daemon's start what every start of a container would tell."""

import trio

from trioker.engine.ports import Layers, Runtime
from trioker.model.container import Config
from trioker.model.errors import LaunchFailed
from trioker.model.ids import new_id
from trioker.model.run import LogPolicy, Run

_LOG = LogPolicy(size=2**16, files=1)


async def try_out(runtime: Runtime, layers: Layers) -> None:
    """Launch a command that is not there, in one empty layer over another. Raises LaunchFailed where something else is wrong."""
    below, key = new_id(), new_id()
    run = Run(key, Config(command=("/trial",)), (), "", _LOG, attached=False)
    try:
        await layers.create(below, "")
        await layers.create(key, below)
        await runtime.launch(run, await layers.mounts(key, readonly=False))
    except LaunchFailed as failure:
        if failure.stage != "exec":
            raise
    finally:
        with trio.CancelScope(shield=True):
            await layers.remove(key)
            await layers.remove(below)
