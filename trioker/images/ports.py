"""What the images room needs of other rooms."""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from trioker.linux.mounts import Mount
from trioker.model.container import ChangeKind
from trioker.model.image import Image, Tag
from trioker.model.layer import KeptBlob, LayerRecord, Unpacked


class Staging(Protocol):
    """A layer being made. Leaving its context without ``commit`` removes every trace of it."""

    path: Path
    """Directory the confined unpacker takes as its root."""
    whiteouts: str
    """``remove`` or ``overlay``, as in ``storage.driver.Whiteouts``."""
    below: Sequence[Mount]
    """The recipes for the tree of the layer it stands on: hard links may point there."""

    async def commit(self, diff: str, *, durable: bool = True) -> str:
        """Make it whole; returns its key, or that of an equal layer (same chain id), which then stands for it.

        Without ``durable`` others may stand on it, and ``Layers.settle`` has yet to put it on the disk for good.
        """


class Layers(Protocol):
    """The storage, as the image room uses it."""

    def stage(self, parent: str) -> AbstractAsyncContextManager[Staging]:
        """Begin a layer over ``parent`` ("" for none) that a tar is unpacked into."""

    async def create(self, key: str, parent: str) -> None:
        """A new writable layer, ready at once and not durable: what a build's step changes, by its mounts."""

    async def mounts(self, key: str, *, readonly: bool) -> Sequence[Mount]:
        """The recipes for the layer's tree."""

    async def changes(self, key: str) -> Sequence[tuple[str, ChangeKind]]:
        """What differs from the layer's parent."""

    async def usage(self, key: str) -> int:
        """Bytes in the layer itself."""

    def find(self, chain: str) -> str:
        """Key of the layer with that chain id, "" where there is none."""

    def chain(self, key: str) -> tuple[str, ...]:
        """The keys from the bottom layer up to ``key``."""

    def record(self, key: str) -> LayerRecord:
        """Its parent, chain id and diff id. Raises NotFound."""

    async def learn_diff(self, key: str, diff: str) -> None:
        """Note the diff id of a layer that had none, now that it has been packed."""

    async def settle(self, keys: Iterable[str]) -> None:
        """Put layers, and those they stand on, on the disk for good: one sync for all that are not there yet."""

    async def remove(self, key: str) -> None:
        """Delete a layer; an unknown key is no error. Raises Conflict while another layer stands on it or somebody holds it."""

    def in_use(self, key: str) -> bool:
        """Whether another layer stands on it."""

    def hold(self, key: str) -> None:
        """Keep a layer from being removed until ``let_go``; counted. Raises NotFound."""

    def let_go(self, key: str) -> None:
        """Take one ``hold`` back."""

    def held(self, key: str) -> bool:
        """Whether somebody holds it."""


class Records(Protocol):
    """The store of image records and tags."""

    def images(self) -> Sequence[Image]:
        """All; called once, at start."""

    def tags(self) -> Sequence[Tag]:
        """All; called once, at start."""

    async def save_images(self, images: Sequence[Image], tags: Sequence[Tag] = ()) -> None:
        """Write images, parents before children, and names in one transaction; durable."""

    async def save_tag(self, tag: Tag) -> None:
        """Write or move a name; durable."""

    async def delete_names(self, tags: Sequence[Tag], images: Sequence[str]) -> None:
        """Forget names and image records (by id) in one transaction; durable."""


class BlobRecords(Protocol):
    """The store of what is known of kept blobs. None of it is durable: a blob without a record is fetched again."""

    def blobs(self) -> Sequence[KeptBlob]:
        """All, least recently used first; called once, at start."""

    async def save_blob(self, blob: KeptBlob) -> None:
        """Write or replace the record."""

    async def delete_blob(self, digest: str) -> None:
        """Forget the record; an unknown digest is no error."""


class Unpacker(Protocol):
    """The confined helper that writes a layer's tar into a directory."""

    async def unpack(
        self, path: Path, whiteouts: str, chunks: AsyncIterable[bytes], *, below: Sequence[Mount] = ()
    ) -> Unpacked:
        """Unpack a tar, plain or compressed (gzip, bzip2, xz, zstd, told by its first bytes), as it arrives.

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


Send = Callable[[bytes], Awaitable[None]]


class Trees(Protocol):
    """Confined helpers that read and write the trees which mount recipes show."""

    async def pack(
        self,
        mounts: Sequence[Mount],
        send: Send,
        *,
        only: Sequence[str] | None = None,
        deleted: Sequence[str] = (),
        sources: Sequence[str] = (),
    ) -> None:
        """Send a tar: of the whole tree, of the paths in ``only`` and whiteouts for ``deleted`` (a layer), or of what ``sources`` name."""

    async def write(
        self,
        mounts: Sequence[Mount],
        chunks: AsyncIterable[bytes],
        *,
        directory: str,
        single: str = "",
        owner: str = "",
    ) -> Unpacked:
        """Unpack a tar into a tree, below ``directory``; see ``launcher.spec.WriteSpec``."""


Fetch = Callable[[str], AbstractAsyncContextManager[Download]]
"""Opens an http or https URL with limits and deadlines. Raises InvalidParameter for a bad URL, TriokerError for a failed fetch."""

Clock = Callable[[], int]
"""Nanoseconds since the epoch."""

Report = Callable[[int, int], Awaitable[None]]
"""(bytes so far, bytes in all or 0)."""
