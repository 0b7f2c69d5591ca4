"""Reading a container's log for clients, in worker threads and bounded pieces."""

import contextlib
from collections.abc import AsyncIterator, Container, Iterator

import trio

from trioker.engine.ports import Send
from trioker.launcher.logfile import LogSnapshot

STDOUT = 1
STDERR = 2
_PIECE = 2**18  # bytes read and sent at once: few thread hops, little memory per client


@contextlib.asynccontextmanager
async def open_log(directory: str, begin: int = 0, end: int | None = None) -> AsyncIterator[LogSnapshot]:
    """The log between two positions, held open."""
    snapshot = await trio.to_thread.run_sync(LogSnapshot, directory, begin, end)
    try:
        yield snapshot
    finally:
        snapshot.close()


async def send_log(snapshot: LogSnapshot, streams: Container[int], send: Send) -> None:
    """Send the output of those streams, in the order it was printed."""
    pieces = snapshot.read(streams)
    while piece := await trio.to_thread.run_sync(_gather, pieces):
        await send(piece)


def _gather(pieces: Iterator[bytes]) -> bytes:
    """The next pieces joined, of about _PIECE bytes; empty at the end."""
    gathered, size = [], 0
    for piece in pieces:
        gathered.append(piece)
        size += len(piece)
        if size >= _PIECE:
            break
    return b"".join(gathered)
