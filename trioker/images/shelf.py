"""What pulls and pushes want of the image store. Not among the ports of the room: these are for other rooms' objects."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol

from trioker.images.holding import Holding
from trioker.model.image import Image, Tag


class Shelf(Protocol):
    """The image store, as pulls and pushes use it; see ``images.store.ImageStore``."""

    def all(self) -> Sequence[Image]:
        """Every image."""

    def tags(self) -> Sequence[Tag]:
        """Every name."""

    def lineage(self, image_id: str) -> Sequence[Image]:
        """The image and its ancestors, newest first. Takes a full id. Raises NotFound."""

    def holding(self) -> AbstractAsyncContextManager[Holding]:
        """For a job that makes layers before it publishes their images."""

    async def publish(self, images: Sequence[Image], tags: Sequence[Tag] = ()) -> None:
        """Make images known, parents before children, with their names; all or none, durable."""

    def get(self, name: str) -> Image:
        """One image by unique id prefix or ``repo[:tag]``. Raises NotFound."""

    def pinned(self, image_id: str, by: str) -> AbstractContextManager[None]:
        """Keep an image from being deleted; ``by`` says who needs it."""
