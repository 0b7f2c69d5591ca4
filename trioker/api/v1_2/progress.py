"""Progress of a transfer as a sequence of JSON objects (behaviour.md section 5)."""

import math

import attrs
import trio

from trioker.api.backend import Send
from trioker.api.replies import encode_json
from trioker.api.v1_2.words import progress

INTERVAL = 0.1
"""Seconds between two objects: as often as a person can read, and no burden on a fast transfer."""


@attrs.define
class Reporter:
    """A Report that tells the client at most every INTERVAL, but always when the transfer is complete."""

    send: Send
    status: str
    _told: float = attrs.field(init=False, default=-math.inf)

    async def __call__(self, current: int, total: int) -> None:
        """How far it is; ``total`` 0 when unknown."""
        now = trio.current_time()
        if now - self._told < INTERVAL and current != total:
            return
        self._told = now
        await self.send(encode_json({"status": self.status, "progress": progress(current, total)}))
