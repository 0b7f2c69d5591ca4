"""Who is making what, so that two jobs never make one thing twice."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import attrs
import trio


@attrs.frozen
class Claims:
    """Image ids that a job has taken. All that a job wants it takes at once, so no two can wait for each other."""

    _taken: set[str] = attrs.Factory(set)
    _freed: trio.Condition = attrs.Factory(trio.Condition)

    @asynccontextmanager
    async def of(self, ids: Collection[str]) -> AsyncIterator[None]:
        """Wait until nobody has any of them, and have them for the body."""
        async with self._freed:
            while not self._taken.isdisjoint(ids):
                await self._freed.wait()
            self._taken.update(ids)
        try:
            yield
        finally:
            self._taken.difference_update(ids)
            with trio.CancelScope(shield=True):  # held by nobody for longer than a check
                async with self._freed:
                    self._freed.notify_all()
