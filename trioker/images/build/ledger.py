"""The images of one build: found in the cache or made, held together, made known together."""

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import cached_property

import attrs
import trio

from trioker.images.build.ports import Layers, Store
from trioker.images.holding import Holding
from trioker.model.container import Config
from trioker.model.errors import InvalidParameter
from trioker.model.ids import new_id
from trioker.model.image import Image, Tag

USER = "a build"
MOST_RECORDS = 2**26
"""Bytes that the records of one build's images may take: each has its whole configuration, so what grows with every step grows twice."""
RECORD = 2**12
"""Of them what a record takes at least."""

Work = Callable[[str], Awaitable[None]]
"""Changes the writable layer of that key."""


@attrs.frozen
class Draft:
    """What is known of an image before it is made."""

    parent: Image | None
    """None for the empty one."""
    config: Config
    author: str
    command: tuple[str, ...]
    """What history shows."""
    recipe: str
    container: str = ""
    """Id of the run that makes it."""

    @cached_property
    def key(self) -> tuple[str, str]:
        """Parent and seal: what the image is found by again. The recipe says what the step does; what it does it to is more than the parent.

        A stage that begins FROM an image has not its triggers, and has or has not said CMD itself: the parent's id does not tell, the
        configuration that comes out does.
        """
        sealed = hashlib.sha256(f"{self.recipe}\n{self.author!r}\n{self._written}".encode()).hexdigest()
        return (self.parent.id if self.parent else "", sealed)

    @cached_property
    def _written(self) -> str:
        return repr(self.config)

    @property
    def weight(self) -> int:
        """About how many bytes its record takes."""
        return RECORD + len(self._written)


class Ledger:
    """One build's images. What it took from the store cannot be deleted, what it made is gone unless published, when ``pins`` and ``held`` end."""

    def __init__(self, store: Store, layers: Layers, held: Holding, pins: ExitStack, *, use_cache: bool) -> None:
        self._store = store
        self._layers = layers
        self._held = held
        self._pins = pins
        self._use_cache = use_cache
        self._made: dict[tuple[str, str], Image] = {}
        self._room = MOST_RECORDS

    def pin(self, image: Image) -> Image:
        """Keep an image of the store as long as the build runs. To be called without an await since it was looked up."""
        self._pins.enter_context(self._store.pinned(image.id, USER))
        return image

    def find(self, draft: Draft) -> Image | None:
        """The image an earlier build made of the same draft, or another stage of this one."""
        if made := self._made.get(draft.key):
            return made
        found = self._store.made_by(*draft.key) if self._use_cache else None
        return self.pin(found) if found else None

    async def make(self, draft: Draft, work: Work | None = None, *, may_share: bool = False) -> Image:
        """A new image. Without ``work`` it shows its parent's layer; with ``may_share`` also where the work changed nothing after all.

        Raises what ``work`` raises, and its layer is gone then; InvalidParameter where the build has become too large.
        """
        self._room -= draft.weight
        if self._room < 0:
            raise InvalidParameter(
                f"the configurations of the build's images take more than the {MOST_RECORDS} bytes allowed"
            )
        image_id = new_id()
        below = draft.parent.layer if draft.parent else ""
        layer, size = below, 0
        if work is not None or not below:
            layer, size = await self._changed(image_id, below, work, may_share=may_share)
        parent, recipe = draft.key
        image = self._store.finished(
            Image(
                image_id,
                0,
                parent=parent,
                author=draft.author,
                container=draft.container,
                container_config=attrs.evolve(draft.config, command=draft.command, entrypoint=()),
                config=draft.config,
                size=size,
                layer=layer,
                recipe=recipe,
            )
        )
        self._made[draft.key] = image
        return image

    async def publish(self, *tags: Tag) -> None:
        """Make all images known that the build has made so far, in one transaction after one sync. Raises TriokerError, OSError."""
        if self._made or tags:
            await self._store.publish(list(self._made.values()), tags)

    async def _changed(self, key: str, below: str, work: Work | None, *, may_share: bool) -> tuple[str, int]:
        """Key of the layer that shows the change, and the bytes it adds."""
        await self._held.create(key, below)
        try:
            if work is not None:
                await work(key)
            needed = not (may_share and below) or bool(await self._layers.changes(key))
            size = await self._layers.usage(key) if needed else 0
        except Exception:
            with trio.CancelScope(shield=True):
                await self._held.discard(key)
            raise
        if not needed:
            await self._held.discard(key)
        return (key, size) if needed else (below, 0)
