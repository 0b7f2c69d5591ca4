"""One writer for everybody: writes happen in call order, and cost their callers as little as the disk allows.

A write that need not survive a power cut ends in the page cache: some 15 us, less than a tenth of what handing it to a thread and being
woken costs (180 us here, ``to_thread`` 250 us). It is done on the spot. A durable write waits for an fsync, so it goes to the writer's thread;
until the thread has nothing left, the later ones queue behind it, and whatever waits when the thread looks again is one transaction with
one fsync. Checkpoints, which also sync, are the thread's.
"""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Sequence

import attrs
import trio

from trioker.state.connection import Connection, Write
from trioker.state.errors import StateError

logger = logging.getLogger(__name__)

CHECKPOINT_PAGES = 1000
"""WAL pages after which they are carried over: SQLite's own default, 4 MB to replay after a crash."""
CLOSE_SECONDS = 30
"""How long the last writes may take at the end. A disk slower than that is broken."""


@attrs.define(eq=False)
class _Job:
    """A place in the queue; without a write it is a checkpoint."""

    write: Write | None
    done: trio.Event = attrs.field(factory=trio.Event)
    error: Exception | None = None


class Writer:
    """Takes writes from the moment it is made until ``aclose``. Belongs to one trio run, and owns the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        """What the thread is to do; None is the end."""
        self._queued = 0
        """Jobs not settled yet: while there are any, the thread is at work. Touched by the trio thread only."""
        self._pages = 0
        """About how much has come into the WAL since it last began anew."""
        self._closed = False
        self._finished = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        threading.Thread(target=self._run, name="trioker-state", daemon=True).start()

    async def write(self, write: Write) -> None:
        """Returns when the write is done, and synced if it is durable. Raises StateError; then nothing of it happened.

        Cancelled before it began, nothing is written. Cancelled while it waits, it will be written all the same.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed:
            raise StateError("the store is closed")
        job = self._begin(write)
        if job is None:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        await job.done.wait()
        if job.error is not None:
            raise job.error

    def _begin(self, write: Write) -> _Job | None:
        """Do it, and return None; or leave it to the thread, and return what tells when it is done."""
        job = None
        if write.durable or self._queued:
            job = self._put(write)
        else:
            self._connection.apply((write,))
        self._count(write)
        return job

    def _put(self, write: Write | None) -> _Job:
        job = _Job(write)
        self._queued += 1
        self._queue.put(job)
        return job

    def _count(self, write: Write) -> None:
        self._pages += write.pages
        if self._pages >= CHECKPOINT_PAGES:
            self._pages = 0
            self._put(None)

    async def aclose(self) -> None:
        """Finish what is queued and close the connection. Idempotent. Cannot be cancelled; gives up after CLOSE_SECONDS."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        with trio.CancelScope(shield=True), trio.move_on_after(CLOSE_SECONDS):
            await self._finished.wait()
            return
        logger.error("the store's last writes did not finish within %d seconds", CLOSE_SECONDS)

    # What follows runs in the thread.

    def _run(self) -> None:
        while batch := self._next_batch():
            self._settle(batch)
            self._call_soon(self._tell, batch)
        self._connection.close()
        self._call_soon(self._finished.set)

    def _next_batch(self) -> list[_Job]:
        batch = []
        job = self._queue.get()
        while job is not None:
            batch.append(job)
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return batch
        if batch:
            self._queue.put(None)  # the end comes after these
        return batch

    def _settle(self, batch: Sequence[_Job]) -> None:
        jobs = [job for job in batch if job.write is not None]
        if jobs and not self._attempt(jobs) and len(jobs) > 1:
            for job in jobs:  # one of them is bad, or the disk is: each gets an answer of its own
                self._attempt([job])
        if len(jobs) < len(batch):
            self._checkpoint()

    def _attempt(self, jobs: Sequence[_Job]) -> bool:
        error: Exception | None = None
        try:
            self._connection.apply(job.write for job in jobs if job.write is not None)
        except Exception as failure:  # noqa: BLE001 - a mistake of ours must reach the caller, not end the thread
            error = failure
        for job in jobs:
            job.error = error
        return error is None

    def _checkpoint(self) -> None:
        try:
            self._connection.checkpoint()
        except StateError as error:
            logger.warning("%s; tried again later", error)

    def _call_soon(self, function: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function, *arguments)

    def _tell(self, batch: Sequence[_Job]) -> None:
        """Runs in the trio thread again."""
        self._queued -= len(batch)
        for job in batch:
            job.done.set()
