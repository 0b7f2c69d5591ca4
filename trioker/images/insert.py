"""One file from the web put into an image (page, "Insert a file in an image")."""

import posixpath
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import attrs
import trio

from trioker.http.client import parse_url, shown
from trioker.images.build.scratch import file_pieces, save, scratch
from trioker.images.ports import Download, Fetch, Layers, Trees
from trioker.images.store import ImageStore
from trioker.launcher.tar_header import FILE, Entry
from trioker.launcher.tar_writer import END, encode_header, padding
from trioker.model.container import Config
from trioker.model.errors import InvalidParameter
from trioker.model.ids import new_id
from trioker.model.image import Image
from trioker.model.progress import Progress, Tell

LARGEST = 2**40
"""Bytes; the disk ends long before."""
_MODE = 0o644
_NO_NAMES = ("", ".", "..")


@attrs.frozen
class Inserter:
    """Makes images with one more file (``api.backend.Inserter``)."""

    store: ImageStore
    layers: Layers
    trees: Trees
    fetch: Fetch
    directory: Path
    """ROOT/tmp."""

    async def insert(self, name: str, url: str, path: str, tell: Tell) -> Image:
        """A new image over ``name``, without a name of its own. ``path`` is the file's, or that of a directory which then gets it.

        Raises NotFound, InvalidParameter for a path that cannot be, TriokerError for a failed fetch. If it fails, nothing is left.
        """
        parent = self.store.get(name)
        if not path.strip("/"):
            raise InvalidParameter("path: expected the path of a file")
        with self.store.pinned(parent.id, "an insert"):
            async with scratch(self.directory) as place:
                size = await self._download(url, place / "file", tell)
                return await self._make(parent, url, f"/{path.lstrip('/')}", place / "file", size)

    async def _download(self, url: str, file: Path, tell: Tell) -> int:
        async with self.fetch(url) as download:
            size, _ = await save(_told(download, tell), file, LARGEST, url)
        return size

    async def _make(self, parent: Image, url: str, path: str, file: Path, size: int) -> Image:
        image_id, name = new_id(), posixpath.basename(unquote(urlsplit(url).path))
        single = "index" if name in _NO_NAMES else name
        async with self.store.holding() as held:
            await held.create(image_id, parent.layer)
            mounts = await self.layers.mounts(image_id, readonly=False)
            await self.trees.write(mounts, _tar(single, file, size), directory=path, single=single)
            draft = Image(
                id=image_id,
                created_ns=0,
                parent=parent.id,
                container_config=Config(image=parent.id, command=("echo", "insert", shown(parse_url(url)), path)),
                config=parent.config,
                size=await self.layers.usage(image_id),
            )
            image = self.store.finished(draft)
            await self.store.publish([image])
        return image


async def _told(download: Download, tell: Tell) -> AsyncIterator[bytes]:
    taken = 0
    async for chunk in download.chunks:
        taken += len(chunk)
        await tell(Progress("Downloading", current=taken, total=download.length))
        yield chunk


async def _tar(name: str, file: Path, size: int) -> AsyncIterator[bytes]:
    mtime_ns = (await trio.Path(file).stat()).st_mtime_ns
    yield encode_header(Entry(name.encode(errors="surrogateescape"), FILE, _MODE, 0, 0, mtime_ns, size, size, b"", 0))
    async for piece in file_pieces(file):
        yield piece
    yield padding(size) + END
