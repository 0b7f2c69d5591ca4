"""What the build executor needs of other rooms. ``daemon.py`` plugs in the real ones; tests plug in hand-written fakes."""

from collections.abc import AsyncIterable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Protocol

from trioker.images.holding import Holding
from trioker.images.ports import Send
from trioker.linux.mounts import Mount
from trioker.model.container import ChangeKind, Config
from trioker.model.image import Image, Tag
from trioker.model.progress import Tell


class Workshop(Protocol):
    """Runs commands in layers (``engine.steps``)."""

    async def run(self, layer_key: str, config: Config, say: Send, name: str, *, connected: bool) -> int:
        """Run ``config.command`` in the writable layer to its end; its output goes to ``say`` as it comes. Returns the exit code.

        ``connected`` tells whether it gets a place on the network. Nothing of the run is left on return, also when it is cancelled.
        ``name`` is the run's own id. Raises LaunchFailed.
        """


class Layers(Protocol):
    """The storage, as builds use it beside ``Holding``."""

    async def mounts(self, key: str, *, readonly: bool) -> Sequence[Mount]:
        """The recipes for the layer's tree."""

    async def changes(self, key: str) -> Sequence[tuple[str, ChangeKind]]:
        """What differs from the layer's parent."""

    async def usage(self, key: str) -> int:
        """Bytes in the layer itself."""


class Store(Protocol):
    """The images (``images.store.ImageStore``)."""

    def get(self, name: str) -> Image:
        """One image by unique id prefix or name. Raises NotFound."""

    def made_by(self, parent: str, recipe: str) -> Image | None:
        """The newest image that a build made over ``parent`` ("" for none) by ``recipe``."""

    def pinned(self, image_id: str, by: str) -> AbstractContextManager[None]:
        """Keep an image from being deleted; ``by`` says who needs it."""

    def holding(self) -> AbstractAsyncContextManager[Holding]:
        """For layers that no image names yet: what no image shows at its end is removed."""

    def finished(self, draft: Image) -> Image:
        """With what every image made here is marked with."""

    async def publish(self, images: Sequence[Image], tags: Sequence[Tag] = ()) -> None:
        """Make images and names known, parents first; durable, all or none."""


class Pull(Protocol):
    """Fetches an image from its registry."""

    async def __call__(self, name: str, tag: str, tell: Tell) -> None:
        """``tag`` may be a digest. Raises TriokerError."""


class Page(Protocol):
    """A resource being fetched."""

    @property
    def chunks(self) -> AsyncIterable[bytes]:
        """Its bytes as they arrive."""

    def header(self, name: bytes) -> str:
        """A header by its lower-case name, "" if there is none."""


class Web(Protocol):
    """Opens http and https URLs."""

    def __call__(self, url: str) -> AbstractAsyncContextManager[Page]:
        """Raises InvalidParameter for a bad URL, TriokerError for a failed fetch."""
