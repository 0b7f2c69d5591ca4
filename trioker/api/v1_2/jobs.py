"""Long jobs that tell how they go: a reply of JSON objects, one by one, the failure as the last (behaviour.md section 5)."""

import math
from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from trioker.api.backend import Send
from trioker.api.errors import error_reply, explain, told_of_full_disks
from trioker.api.replies import JSON_TYPE, encode_json
from trioker.api.v1_2.words import progress
from trioker.http.messages import Instead, Stream
from trioker.model.errors import TriokerError
from trioker.model.progress import Progress, Tell

INTERVAL = 0.1
"""Seconds between two counts of one part: as often as a person can read, and no burden on a fast transfer."""


@attrs.define
class Teller:
    """A Tell that sends each thing as an object. Parts tell at the same time; counts that nobody could read yet are left out."""

    send: Send
    _lock: trio.Lock = attrs.field(init=False, factory=trio.Lock)
    _told: dict[str, tuple[str, float]] = attrs.field(init=False, factory=dict)

    @property
    def silent(self) -> bool:
        """Whether nothing has been told so far."""
        return not self._told

    async def __call__(self, told: Progress) -> None:
        """Send it, or leave it out."""
        if self._is_too_often(told):
            return
        self._told[told.id] = told.status, trio.current_time()
        async with self._lock:
            await self.send(encode_json(progress_shape(told)))

    def _is_too_often(self, told: Progress) -> bool:
        status, at = self._told.get(told.id, ("", -math.inf))
        if told.current is None or told.current == told.total or told.status != status:
            return False
        return self._lock.locked() or trio.current_time() - at < INTERVAL


def progress_shape(told: Progress) -> dict[str, object]:
    """With the words of 2013 in ``progress``, and numbers for clients that came later in ``progressDetail``."""
    shape: dict[str, object] = {"status": told.status}
    if told.current is not None:
        shape["progress"] = progress(told.current, told.total)
        shape["progressDetail"] = {"current": told.current, "total": told.total}
    if told.id:
        shape["id"] = told.id
    return shape


END_OF_PROGRESS: dict[str, object] = {}
"""An empty object ends a progress, and makes clients of the time go to a new line."""


def job_stream(work: Callable[[Tell], Awaitable[Sequence[object]]]) -> Stream:
    """The reply of a job. What ``work`` returns are the last objects; a failure is told as ``error`` in their place.

    Before anything has been told, a failure is an ordinary reply with its own status.
    """

    async def write(send: Send) -> None:
        teller = Teller(send)
        try:
            with told_of_full_disks():
                last = await work(teller)
        except TriokerError as error:
            if teller.silent:
                raise Instead(error_reply(error)) from error
            last = [{"error": explain(error), "errorDetail": {"message": explain(error)}}]
        for each in last:
            await send(encode_json(each))

    return Stream(200, write, (JSON_TYPE,), held=True)
