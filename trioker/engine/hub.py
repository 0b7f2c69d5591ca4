"""One container's live output, dealt out to the clients that are attached.

A client that reads slowly slows the container down, as a pipe would; a client that does not read at all is cut off, so that it
stalls neither the container nor the others for longer than STALL.
"""

import logging
from collections import deque
from collections.abc import Callable, Container

import trio

from trioker.engine.ports import Process
from trioker.model.run import Output

log = logging.getLogger("trioker.engine")

BUFFER = 4 * 2**20  # bytes a client may be behind before the container waits for it; some round trips of a fast network
STALL = 2.0  # seconds a full client has to take something; a living one, however slow its network, takes 64 KiB in that time
_JOINED = 2**18  # bytes given to a socket at once


class Client:
    """One attached client's share of the output, and how far behind it is."""

    def __init__(self, streams: Container[int], start: int) -> None:
        self.start = start
        """Log position from which ``take`` tells the output."""
        self.replaying = False
        """Set while the client is still reading the log: then it is not cut, but sent back to the log (``spilled``)."""
        self.spilled = False
        self.on_cut: Callable[[], None] = lambda: None
        self._streams = streams
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._changed = trio.Event()

    @property
    def full(self) -> bool:
        """Whether the container has to wait for this client."""
        return self._size > BUFFER

    def push(self, output: Output) -> None:
        """Give it one piece."""
        if output.stream not in self._streams or self.spilled:
            return
        self._pieces.append(output.data)
        self._size += len(output.data)
        if self.full and self.replaying:
            self._pieces.clear()
            self._size = 0
            self.spilled = True
        self._wake()

    def rejoin(self, position: int) -> None:
        """After ``spilled``: go on from a position, once the log has been read up to there."""
        self.start = position
        self.spilled = False

    def end(self) -> None:
        """No more output comes."""
        self._ended = True
        self._wake()

    async def take(self) -> bytes:
        """What waits, in pieces of a good size; empty at the end."""
        while not self._pieces and not self._ended:
            await self._changed.wait()
        taken = []
        size = 0
        while self._pieces and size < _JOINED:
            taken.append(self._pieces.popleft())
            size += len(taken[-1])
        self._size -= size
        self._wake()
        return b"".join(taken) if len(taken) != 1 else taken[0]

    async def wait_room(self) -> None:
        """Until the container need not wait for it."""
        while self.full:
            await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class Hub:
    """The clients of one container over one run, or before its first."""

    def __init__(self, container_id: str) -> None:
        self.live = False
        """Whether the monitor tells us the output."""
        self.position = 0
        """While live: the log position up to which output has been dealt out."""
        self._id = container_id
        self._clients: set[Client] = set()
        self._process: Process | None = None
        self._changed = trio.Event()

    @property
    def watched(self) -> bool:
        """Whether anyone is attached."""
        return bool(self._clients)

    def join(self, streams: Container[int]) -> Client:
        """A client that gets everything dealt out from now on."""
        client = Client(streams, self.position)
        self._clients.add(client)
        return client

    async def leave(self, client: Client) -> None:
        """A client is gone; with the last one the monitor stops telling."""
        self._clients.discard(client)
        if not self._clients and self.live and self._process is not None:
            self.live = False
            await self._process.unsubscribe()

    async def wait_live(self) -> None:
        """Until output is told, or the run is over. Only while there is a process."""
        while self._process is not None and not self.live:
            changed = self._changed
            await self._process.subscribe()
            await changed.wait()

    async def wait_process(self) -> Process | None:
        """The run's process, once it is started; None if it ended before."""
        while self._process is None and self._clients:
            await self._changed.wait()
        return self._process

    def started(self, process: Process) -> None:
        """The run has begun."""
        self._process = process
        self._wake()

    def begin(self, position: int) -> None:
        """Output is told from that log position on."""
        self.position = position
        self.live = True
        self._wake()

    async def deliver(self, output: Output) -> None:
        """Deal out one piece; waits for clients that are full, and cuts those that stay so."""
        if not self.live:
            return
        self.position = output.position
        for client in self._clients:
            client.push(output)
        full = [client for client in self._clients if client.full]
        if full:
            await self._wait_for(full)

    def end(self) -> None:
        """The run is over: every client gets what it still has waiting, then the end."""
        self._process = None
        self.live = False
        for client in self._clients:
            client.end()
        self._clients.clear()
        self._wake()

    async def _wait_for(self, full: list[Client]) -> None:
        with trio.move_on_after(STALL):
            for client in full:
                await client.wait_room()
        for client in full:
            if client.full:
                log.warning(
                    "container %s: an attached client has not read for %s s and is cut off", self._id[:12], STALL
                )
                self._clients.discard(client)
                client.on_cut()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
