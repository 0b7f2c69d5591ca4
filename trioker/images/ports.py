"""What the images room needs of other rooms."""

from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from trioker.model.image import Image, Tag
from trioker.model.layer import Unpacked


class Staging(Protocol):
    """A layer being made. Leaving its context without ``commit`` removes every trace of it."""

    key: str
    """Becomes the image's id."""
    path: Path
    """Directory the confined unpacker takes as its root."""
    whiteouts: str
    """``remove`` or ``overlay``, as in ``storage.driver.Whiteouts``."""

    async def commit(self) -> int:
        """Put it on the disk for good (syncfs, then the durable row); returns the layer's size in bytes."""


class Layers(Protocol):
    """The storage, as the image store uses it."""

    def stage(self, parent: str) -> AbstractAsyncContextManager[Staging]:
        """Begin a layer over ``parent`` ("" for none)."""

    async def remove(self, key: str) -> None:
        """Delete an image's layer. Raises Conflict while another layer (an image's or a container's) stands on it."""

    def in_use(self, key: str) -> bool:
        """Whether another layer stands on it."""


class Records(Protocol):
    """The store of image records and tags."""

    def images(self) -> Sequence[Image]:
        """All; called once, at start."""

    def tags(self) -> Sequence[Tag]:
        """All; called once, at start."""

    async def save_image(self, image: Image, tag: Tag | None = None) -> None:
        """Write an image and perhaps its first name in one transaction; durable."""

    async def save_tag(self, tag: Tag) -> None:
        """Write or move a name; durable."""

    async def delete_names(self, tags: Sequence[Tag], images: Sequence[str]) -> None:
        """Forget names and image records (by id) in one transaction; durable."""


class Unpacker(Protocol):
    """The confined helper that writes a layer's tar into a directory."""

    async def unpack(self, path: Path, whiteouts: str, chunks: AsyncIterable[bytes]) -> Unpacked:
        """Unpack a tar, plain or compressed (gzip, bzip2, xz, told by its first bytes), as it arrives.

        Raises InvalidParameter naming the entry and the rule it broke. What was written stays for the caller to remove.
        """


class Download(Protocol):
    """A reply being fetched."""

    @property
    def length(self) -> int:
        """Bytes to come, 0 if the server did not say."""

    @property
    def chunks(self) -> AsyncIterable[bytes]:
        """The body as it arrives."""


Fetch = Callable[[str], AbstractAsyncContextManager[Download]]
"""Opens an http or https URL with limits and deadlines. Raises InvalidParameter for a bad URL, TriokerError for a failed fetch."""

Clock = Callable[[], int]
"""Nanoseconds since the epoch."""

Report = Callable[[int, int], Awaitable[None]]
"""(bytes so far, bytes in all or 0)."""
