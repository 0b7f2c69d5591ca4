"""Threads for calls into a driver: few, never all lost, and none that is waited for without an end."""

import logging
from collections.abc import Callable
from typing import TypeVar

import trio

from trioker.storage.guard import DriverError

log = logging.getLogger(__name__)

T = TypeVar("T")

STUCK_AFTER = 30.0
"""Seconds that a call waits for a thread. The copies of a busy disk may take that long, too: then one thread more does no harm."""

COMES_BACK_WITHIN = 7200.0
"""Seconds a call may take. A full copy of half a terabyte does on a slow disk; what takes longer than that hangs."""

MOST_THREADS = 64
"""Those counted whose callers have gone. A driver that has lost so many calls gets no others."""


class Workers:
    """At most ``size`` calls at once; but where all threads are busy for long, as they are when a driver hangs, there will be one more.

    So a driver that hangs in some calls costs their threads and never the others their turn. ``name`` is the driver's.
    """

    def __init__(self, size: int, name: str = "") -> None:
        self._name = name
        self._turns = trio.CapacityLimiter(size)
        self._threads = trio.CapacityLimiter(MOST_THREADS)
        self._waits: set[trio.CancelScope] = set()
        self._stopped = False

    async def run(self, work: Callable[..., T], *arguments: object, within: float = COMES_BACK_WITHIN) -> T:
        """Call ``work`` in a thread. A cancelled caller, unless it is shielded, does not wait for it to end.

        Raises DriverError where it does not come back, or is still under way at ``stop``: then it is left to itself.
        """
        with trio.CancelScope(deadline=trio.current_time() + within) as wait:
            self._waits.add(wait)
            if self._stopped:
                wait.cancel()
            try:
                return await self._run(work, arguments)
            finally:
                self._waits.discard(wait)
        called = f"{getattr(work, 'func', work).__name__.strip('_')}()"
        when = "when the daemon stopped" if self._stopped else f"within {within:g} seconds"
        raise DriverError(f"storage driver {self._name!r} has not come back from {called} {when}")

    def stop(self) -> None:
        """Wait for no call any longer, whatever shields its caller, and make no others."""
        self._stopped = True
        for wait in self._waits:
            wait.cancel()

    @property
    def idle(self) -> bool:
        """Whether no call is under way, waited for or not, and others may be made."""
        return not self._stopped and not self._threads.borrowed_tokens

    async def _run(self, work: Callable[..., T], arguments: tuple[object, ...]) -> T:
        turn = object()
        await self._wait_turn(turn)
        try:
            if not self._threads.available_tokens:
                raise DriverError(f"{MOST_THREADS} calls of storage driver {self._name!r} have not come back")
            return await trio.to_thread.run_sync(work, *arguments, limiter=self._threads, abandon_on_cancel=True)
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
            if self._turns.total_tokens < MOST_THREADS:
                self._turns.total_tokens += 1
                log.warning(
                    "storage: all threads are busy for %d seconds, now there are %s",
                    STUCK_AFTER,
                    self._turns.total_tokens,
                )
