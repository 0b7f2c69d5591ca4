"""The daemon's network, from what is on record to what is left of it at the end."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

import trio

from trioker.model.errors import TriokerError
from trioker.model.network import Endpoint, NetworkOptions, NetworkRecord
from trioker.network.firewall import DEFAULT_BRIDGE
from trioker.network.network import NONE, Network, open_network, plan_network, remove_network
from trioker.network.resolver import host_text
from trioker.network.without import Without


class Records(Protocol):
    """Where it is noted what was done to the host."""

    def network(self) -> NetworkRecord | None:
        """The network of this store, if there is or was one."""

    async def save_network(self, record: NetworkRecord | None) -> None:
        """Note it, or forget it; durable."""


@asynccontextmanager
async def daemon_network(
    options: NetworkOptions, records: Records, live: Sequence[Endpoint], *, cleanup: bool
) -> AsyncIterator[Network | Without]:
    """The network that was asked for. ``live`` are the places on record; with ``cleanup`` nothing is left of it where none is taken at the end.

    Raises InvalidParameter, Conflict, TriokerError where the host does not allow one.
    """
    if options.bridge == NONE:
        yield Without(options.dns)
        return
    async with AsyncExitStack() as stack:
        try:
            planned = await _plan(options, records, live)
            network = await stack.enter_async_context(open_network(options, planned, live))
        except OSError as error:
            raise TriokerError(
                f"the network could not be made: {error.strerror or error} (-b none runs containers without one)"
            ) from error
        network.resolv_conf(())  # containers of an earlier daemon may be asking for names already
        yield network
    if cleanup and not network.in_use:
        await trio.to_thread.run_sync(remove_network, planned)
        await records.save_network(None)


async def _plan(options: NetworkOptions, records: Records, live: Sequence[Endpoint]) -> NetworkRecord:
    """What it shall be, on record. An earlier one on another bridge is removed once nobody is on it."""
    known = records.network()
    if known and known.bridge != (options.bridge or DEFAULT_BRIDGE) and not live:
        await trio.to_thread.run_sync(remove_network, known)
        known = None
    planned = await trio.to_thread.run_sync(plan_network, options, known, host_text())
    await records.save_network(planned)
    return planned
