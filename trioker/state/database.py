"""The store as the rooms see it: each method is one row, or one set of rows that belong together.

It has, by structure, ``engine.ports.Records``, ``images.ports.Records``, ``network.opening.Records`` and ``storage.ports.LayerRecords``.
Reading is for the start: it is synchronous, decodes everything, and the rooms keep it in memory. For what a write costs and promises see
``writer`` and ``connection``.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import trio

from trioker.model.container import Container
from trioker.model.image import Image, Tag
from trioker.model.layer import KeptBlob, LayerRecord
from trioker.model.network import NetworkRecord
from trioker.state.codec import Unreadable, decode, encode
from trioker.state.connection import Connection, Statement, Write
from trioker.state.errors import StoreDamaged
from trioker.state.writer import Writer

T = TypeVar("T")

_NETWORK = "network"  # a key of the table meta
_SAVE_META = "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_SAVE_CONTAINER = "INSERT INTO containers VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record"
_SAVE_IMAGE = "INSERT INTO images VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record"
_SAVE_TAG = "INSERT INTO tags VALUES (?, ?, ?) ON CONFLICT (repository, tag) DO UPDATE SET image_id = excluded.image_id"
_SAVE_LAYER = "INSERT OR REPLACE INTO layers (key, parent, ready, chain, diff) VALUES (?, ?, ?, ?, ?)"
_SAVE_BLOB = "INSERT OR REPLACE INTO blobs (digest, diff, size, media_type, used_ns) VALUES (?, ?, ?, ?, ?)"


@asynccontextmanager
async def open_database(path: Path) -> AsyncIterator["Database"]:
    """The store in the file ``path``, begun where there is none. Its directory must exist and nobody else may have it open.

    On leaving, all writes are finished. Raises StateError where it cannot be opened, StoreDamaged, StoreTooNew.
    """
    database = Database(path, await trio.to_thread.run_sync(Connection, path))
    try:
        yield database
    finally:
        await database.aclose()


class Database:
    """An open store. Every write raises StateError when it fails; nothing of it happened then."""

    def __init__(self, path: Path, connection: Connection) -> None:
        self._path = path
        self._connection = connection
        self._writer = Writer(connection)

    async def aclose(self) -> None:
        """Finish the writes and close."""
        await self._writer.aclose()

    # Containers

    def containers(self) -> Iterator[Container]:
        """Every container's record."""
        return self._records("containers", Container)

    async def save_container(self, container: Container, *, durable: bool = False) -> None:
        """Write or replace the record."""
        await self._write(Statement(_SAVE_CONTAINER, (container.id, encode(container))), durable=durable)

    async def delete_container(self, container_id: str) -> None:
        """Forget the record; an unknown id is no error."""
        await self._write(Statement("DELETE FROM containers WHERE id = ?", (container_id,)))

    # Images

    def images(self) -> Sequence[Image]:
        """Every image's record."""
        return tuple(self._records("images", Image))

    def tags(self) -> Sequence[Tag]:
        """Every name."""
        return tuple(Tag(*row) for row in self._connection.rows("SELECT repository, tag, image_id FROM tags"))

    async def save_images(self, images: Sequence[Image], tags: Sequence[Tag] = ()) -> None:
        """Write or replace the records, and move the names to where they say; together and durable."""
        records = [Statement(_SAVE_IMAGE, (image.id, encode(image))) for image in images]
        await self._write(*records, *map(_save_tag, tags), durable=True)

    async def save_tag(self, tag: Tag) -> None:
        """Write or move a name; durable. A name of an unknown image is refused (StateError)."""
        await self._write(_save_tag(tag), durable=True)

    async def delete_names(self, tags: Sequence[Tag], images: Sequence[str]) -> None:
        """Forget names and image records (by id), together and durable. An image that keeps a name is refused (StateError)."""
        names = [
            Statement("DELETE FROM tags WHERE repository = ? AND tag = ?", (tag.repository, tag.tag)) for tag in tags
        ]
        records = [Statement("DELETE FROM images WHERE id = ?", (image_id,)) for image_id in images]
        await self._write(*names, *records, durable=True)

    # Layers

    def layers(self) -> Sequence[LayerRecord]:
        """Every layer's record."""
        rows = self._connection.rows("SELECT key, parent, ready, chain, diff FROM layers")
        return tuple(LayerRecord(key, parent, bool(ready), chain, diff) for key, parent, ready, chain, diff in rows)

    async def save_layer(self, record: LayerRecord, *, durable: bool = False) -> None:
        """Write or replace the record."""
        await self._write(
            Statement(_SAVE_LAYER, (record.key, record.parent, int(record.ready), record.chain, record.diff)),
            durable=durable,
        )

    async def delete_layer(self, key: str) -> None:
        """Forget the record; an unknown key is no error."""
        await self._write(Statement("DELETE FROM layers WHERE key = ?", (key,)))

    # Blobs

    def blobs(self) -> Sequence[KeptBlob]:
        """Every blob that is kept, least recently used first."""
        rows = self._connection.rows(
            "SELECT digest, diff, size, media_type, used_ns FROM blobs ORDER BY used_ns, digest"
        )
        return tuple(KeptBlob(*row) for row in rows)

    async def save_blob(self, blob: KeptBlob) -> None:
        """Write or replace the record."""
        await self._write(Statement(_SAVE_BLOB, (blob.digest, blob.diff, blob.size, blob.media_type, blob.used_ns)))

    async def delete_blob(self, digest: str) -> None:
        """Forget the record; an unknown digest is no error."""
        await self._write(Statement("DELETE FROM blobs WHERE digest = ?", (digest,)))

    # The network

    def network(self) -> NetworkRecord | None:
        """What was done to the host for containers' network; None for nothing."""
        text = self.meta(_NETWORK)
        try:
            return decode(NetworkRecord, text) if text else None
        except Unreadable as error:
            raise StoreDamaged(f"{self._path} is damaged: the network's record: {error}") from error

    async def save_network(self, record: NetworkRecord | None) -> None:
        """Note it, or that nothing is left of it; durable."""
        await self.save_meta(_NETWORK, encode(record) if record else "")

    # The store itself

    @property
    def store_id(self) -> str:
        """64 hex digits, drawn when the store was begun."""
        return self.meta("store_id")

    def meta(self, key: str) -> str:
        """A fact about the whole store, such as its driver's name; "" where none is noted."""
        rows = self._connection.rows("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else ""

    async def save_meta(self, key: str, value: str) -> None:
        """Note a fact about the whole store; durable."""
        await self._write(Statement(_SAVE_META, (key, value)), durable=True)

    def _records(self, table: str, kind: type[T]) -> Iterator[T]:
        for key, text in self._connection.rows(f"SELECT id, record FROM {table}"):  # noqa: S608 - our own names
            try:
                yield decode(kind, text)
            except Unreadable as error:
                raise StoreDamaged(f"{self._path} is damaged: {table}, record {key}: {error}") from error

    async def _write(self, *statements: Statement, durable: bool = False) -> None:
        await self._writer.write(Write(statements, durable=durable))


def _save_tag(tag: Tag) -> Statement:
    return Statement(_SAVE_TAG, (tag.repository, tag.tag, tag.image_id))
