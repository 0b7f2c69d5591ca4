"""Layers that no image names yet: kept while a pull, build or commit needs them, removed if nothing comes of it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from trioker.images.ports import Layers, Staging
from trioker.model.errors import Conflict


class Holding:
    """What one job holds. Between ``find`` and the image's publication a concurrent deletion cannot take a layer away."""

    def __init__(self, layers: Layers) -> None:
        self._layers = layers
        self._keys: list[str] = []

    def find(self, chain: str) -> str:
        """Key of the layer with that chain id, held from now on; "" where there is none."""
        key = self._layers.find(chain)
        if key:
            self.keep(key)
        return key

    def keep(self, key: str) -> str:
        """Hold one more layer; returns its key. Raises NotFound."""
        self._layers.hold(key)
        self._keys.append(key)
        return key

    def stage(self, parent: str) -> AbstractAsyncContextManager[Staging]:
        """Begin a layer; give the key its commit returns to ``keep``."""
        return self._layers.stage(parent)

    async def create(self, key: str, parent: str) -> None:
        """A new writable layer, held."""
        with trio.CancelScope(shield=True):
            await self._layers.create(key, parent)
        self.keep(key)

    async def discard(self, key: str) -> None:
        """Take back a layer that failed."""
        self._keys.remove(key)
        self._layers.let_go(key)
        await self._layers.remove(key)

    async def release(self, used: Callable[[str], bool]) -> None:
        """Let go of all; what is not ``used`` is removed, upper layers first."""
        for key in self._keys:
            self._layers.let_go(key)
        for key in dict.fromkeys(reversed(self._keys)):
            if not used(key) and not self._layers.held(key):
                try:
                    await self._layers.remove(key)
                except Conflict:  # another job builds on it by now, and will remove it
                    continue


@asynccontextmanager
async def holding(layers: Layers, used: Callable[[str], bool]) -> AsyncIterator[Holding]:
    """A Holding for the body, released whatever happens."""
    held = Holding(layers)
    try:
        yield held
    finally:
        with trio.CancelScope(shield=True):
            await held.release(used)
