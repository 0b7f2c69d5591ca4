"""The daemon's network, from what is on record to what is left of it at the end."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

import attrs
import trio

from trioker.model.errors import Conflict, TriokerError
from trioker.model.network import Endpoint, NetworkOptions, NetworkRecord
from trioker.network.firewall import DEFAULT_BRIDGE
from trioker.network.network import NONE, Network, containers_on, open_network, plan_network, remove_network
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

    Where none is wanted, an earlier one stays as long as containers are on it. Raises InvalidParameter, Conflict, TriokerError where the host
    does not allow one.
    """
    wanted = options.bridge != NONE
    known = records.network()
    if not wanted:
        if known is None or not live:
            await _forget(records, known)
            yield Without(options.dns)
            return
        options = attrs.evolve(options, bridge=known.bridge, address="")
    async with _opened(options, records, live) as network:
        yield network if wanted else Without(options.dns, network)
    if (cleanup or not wanted) and not network.in_use:
        await _forget(records, network.record)


@asynccontextmanager
async def _opened(options: NetworkOptions, records: Records, live: Sequence[Endpoint]) -> AsyncIterator[Network]:
    async with AsyncExitStack() as stack:
        try:
            planned = await _plan(options, records)
            network = await stack.enter_async_context(open_network(options, planned, live))
        except OSError as error:
            raise TriokerError(
                f"the network could not be made: {error.strerror or error} (-b none runs containers without one)"
            ) from error
        network.resolv_conf(())  # containers of an earlier daemon may be asking for names already
        yield network


async def _plan(options: NetworkOptions, records: Records) -> NetworkRecord:
    """What it shall be, on record. An earlier one on another bridge is removed; raises Conflict where somebody is on it."""
    known = records.network()
    if known and known.bridge != (options.bridge or DEFAULT_BRIDGE):
        await _require_nobody_on(known, f"-b {known.bridge}")
        await _forget(records, known)
        known = None
    planned = await trio.to_thread.run_sync(plan_network, options, known, host_text())
    if known and planned.made and planned.address != known.address:  # of others' bridges we have no say
        await _require_nobody_on(known, f"--bip {known.address}")
    await records.save_network(planned)
    return planned


async def _require_nobody_on(known: NetworkRecord, remedy: str) -> None:
    """Containers would lose their network without a word. Raises Conflict, with the flags that leave all as it is."""
    if count := await trio.to_thread.run_sync(containers_on, known):
        raise Conflict(
            f"the bridge {known.bridge} has containers on it ({count}): end them first, or start with {remedy}"
        )


async def _forget(records: Records, known: NetworkRecord | None) -> None:
    """Leave nothing of a network, neither on the host nor on record."""
    if known:
        await trio.to_thread.run_sync(remove_network, known)
        await records.save_network(None)
