"""What a transfer has to tell: posted without waiting, told as fast as the client reads. A slow client holds up nobody's layers."""

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

import trio

from trioker.images.tasks import nursery
from trioker.model.progress import Progress, Tell


class Board:
    """Posts to be told in their order; a count replaces the one before it of the same part and status."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._posts: dict[Hashable, Progress] = {}
        self._news = trio.Event()
        self._closed = False
        self.told = trio.Event()
        """After ``close``: nothing is left to tell."""

    def post(self, status: str, part: str = "", current: int | None = None, total: int = 0) -> None:
        """See ``model.progress.Progress``."""
        key = object() if current is None else (part, status)
        self._posts[key] = Progress(status, part, current, total)
        self._news.set()

    async def run(self) -> None:
        """Tell all there is until the board is closed."""
        while self._posts or not self._closed:
            await self._news.wait()
            self._news = trio.Event()
            posts, self._posts = self._posts, {}
            for post in posts.values():
                await self._tell(post)
        self.told.set()

    def close(self) -> None:
        """There are no more posts."""
        self._closed = True
        self._news.set()


@asynccontextmanager
async def board(tell: Tell) -> AsyncIterator[Board]:
    """A board for the body; at its end, also by an error, all has been told."""
    shown = Board(tell)
    async with nursery() as tasks:
        tasks.start_soon(shown.run)
        try:
            yield shown
        finally:
            shown.close()
            await shown.told.wait()
