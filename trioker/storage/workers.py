"""Threads for calls into a driver: few, and never all lost."""

import logging
import math
from collections.abc import Callable
from typing import TypeVar

import trio

log = logging.getLogger(__name__)

T = TypeVar("T")

STUCK_AFTER = 30.0
"""Seconds that a call waits for a thread. The copies of a busy disk may take that long, too: then one thread more does no harm."""


class Workers:
    """At most ``size`` calls at once; but where all threads are busy for long, as they are when a driver hangs, there will be one more.

    So a driver that hangs in some calls costs their threads and never the others their turn.
    """

    def __init__(self, size: int) -> None:
        self._turns = trio.CapacityLimiter(size)
        self._threads = trio.CapacityLimiter(math.inf)

    async def run(self, work: Callable[..., T], *arguments: object, abandon: bool = False) -> T:
        """Call ``work`` in a thread. With ``abandon`` a cancelled caller does not wait for it to end."""
        turn = object()
        await self._wait_turn(turn)
        try:
            return await trio.to_thread.run_sync(work, *arguments, limiter=self._threads, abandon_on_cancel=abandon)
        finally:
            self._turns.release_on_behalf_of(turn)

    async def _wait_turn(self, turn: object) -> None:
        try:
            self._turns.acquire_on_behalf_of_nowait(turn)
            return
        except trio.WouldBlock:
            pass
        while True:
            with trio.move_on_after(STUCK_AFTER):
                await self._turns.acquire_on_behalf_of(turn)
                return
            self._turns.total_tokens += 1
            log.warning(
                "storage: all threads are busy for %d seconds, now there are %s", STUCK_AFTER, self._turns.total_tokens
            )
