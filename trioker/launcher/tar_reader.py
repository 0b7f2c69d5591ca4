"""A tar archive as it arrives: a stream of blocks turned into entries and their data, in order, nothing held but one block."""

from collections.abc import Callable, Iterable, Iterator

from trioker.launcher.tar_header import (
    BLOCK,
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    FIFO,
    FILE,
    HARD_LINK,
    SPARSE,
    SYMLINK,
    BadArchive,
    Entry,
    cut,
    parse_header,
    shown,
)
from trioker.launcher.tar_pax import Records, member_records, overrule, simple_records
from trioker.launcher.tar_sparse import old_sparse, pax_sparse

Read = Callable[[], bytes | memoryview]
"""The next bytes, as many as are there; none at the end. They stay as they are until the next call."""

EXTENSION_LIMIT = 2**20
"""Bytes of the extended headers and long names of one entry. Real ones take a few hundred; the largest attribute a kernel takes is 64 KiB."""

_LONG_LINK, _LONG_NAME = b"K", b"L"
_GLOBAL, _MEMBER, _SOLARIS = b"g", b"x", b"X"
_EXTENSIONS = frozenset((_LONG_LINK, _LONG_NAME, _GLOBAL, _MEMBER, _SOLARIS))
_ZEROS = bytes(BLOCK)
_WITHOUT_DATA = frozenset((HARD_LINK, SYMLINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO))


class Stream:
    """The archive's bytes, counted: more than ``limit`` of them raise BadArchive, which also bounds what a small file inflates to.

    ``meaning`` completes that error: "more than the 5 bytes ...".
    """

    def __init__(self, read: Read, limit: int, meaning: str = "allowed", error: type[BadArchive] = BadArchive) -> None:
        self._read = read
        self._most = self._limit = limit
        self._meaning = meaning
        self._error = error
        self._block: bytes | memoryview = b""
        self._offset = 0
        self._pulled = 0
        self.entry = b""
        """Name of the entry being read, for messages; none between entries."""

    @property
    def position(self) -> int:
        """Bytes taken so far."""
        return self._pulled - len(self._block) + self._offset

    def header(self) -> bytes:
        """The next 512 bytes; none at a clean end."""
        start = self._offset
        self._offset = end = start + BLOCK
        if end <= len(self._block):
            return bytes(self._block[start:end])
        self._offset = start
        if start == len(self._block) and not self._pull():
            return b""
        return self.take(BLOCK)

    def take(self, size: int) -> bytes:
        """Exactly ``size`` bytes, together."""
        return b"".join(map(bytes, self.pieces(size)))  # copied one by one: each is lost when the next is read

    def pieces(self, size: int) -> Iterable[memoryview]:
        """Exactly ``size`` bytes, as they arrive."""
        start = self._offset
        end = start + size
        if end > len(self._block):
            return self._pieces(size)
        self._offset = end
        return (memoryview(self._block)[start:end],) if size else ()

    def _pieces(self, size: int) -> Iterator[memoryview]:
        while size:
            if self._offset == len(self._block) and not self._pull():
                raise BadArchive(f"unexpected end of archive {self.where()}")
            start = self._offset
            piece = memoryview(self._block)[start : start + size]
            self._offset = start + len(piece)
            size -= len(piece)
            yield piece

    def skip(self, size: int) -> None:
        """Leave out ``size`` bytes."""
        if self._offset + size <= len(self._block):
            self._offset += size
        else:
            for _ in self.pieces(size):
                pass

    def drain(self) -> None:
        """Read on to the end: padding, or whatever a tar is followed by, belongs to its digest."""
        while self._pull():
            pass

    def spend(self, size: int) -> None:
        """Count what an entry makes out of something else than the archive's bytes: it fills the disk as well."""
        self._limit -= size
        self._check()

    def where(self) -> str:
        """The place, for a message."""
        return f"in entry {shown(self.entry)}" if self.entry else f"at byte {self.position}"

    def _pull(self) -> bool:
        try:
            self._block = self._read()
        except BadArchive as error:
            raise BadArchive(f"{error} {self.where()}") from None
        self._offset = 0
        self._pulled += len(self._block)
        self._check()
        return bool(self._block)

    def _check(self) -> None:
        if self._pulled > self._limit:
            raise self._error(f"the archive holds more than the {self._most} bytes {self._meaning}, {self.where()}")


class TarReader:
    """Iterate over the entries; ``data`` belongs to the one that came last, and what is not taken of it is skipped."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._left = 0  # stored bytes and padding of the current entry not taken yet
        self._globals: Records = {}
        self._records: Records = {}  # for the next entry
        self._extended = 0  # bytes they took in the archive

    def __iter__(self) -> Iterator[Entry]:
        stream = self._stream
        while block := self._next_block():
            try:
                entry = parse_header(block)
            except ValueError as error:
                raise BadArchive(f"{error} at byte {stream.position - BLOCK}") from None
            if entry.kind in _EXTENSIONS:
                stream.entry = entry.name
                self._extend(entry)
                stream.entry = b""
                continue
            self._extended = 0
            if entry.kind != FILE or self._records or self._globals or entry.name[-1:] in (b"/", b""):
                entry = self._complete(entry, block)
            stream.entry = entry.name
            self._left = entry.stored + -entry.stored % BLOCK
            yield entry
            stream.skip(self._left)
            stream.entry = b""
        stream.drain()

    def data(self, size: int) -> Iterable[memoryview]:
        """The next ``size`` bytes stored with the current entry, as they arrive."""
        self._left -= size
        return self._stream.pieces(size)

    def _next_block(self) -> bytes:
        """The next header; none at the end, which is two blocks of zeros, or the end of a file after whole entries."""
        block = self._stream.header()
        if not block and not self._stream.position:
            raise BadArchive("empty archive")
        if block and block != _ZEROS:
            return block
        if self._records:
            raise BadArchive(f"unexpected end of archive after an extended header, at byte {self._stream.position}")
        if block and self._stream.header().strip(b"\0"):
            raise BadArchive(f"a lone block of zeros at byte {self._stream.position - 2 * BLOCK}")
        return b""

    def _extend(self, header: Entry) -> None:
        self._extended += header.stored
        if self._extended > EXTENSION_LIMIT:
            raise BadArchive(
                f"extended headers of {self._extended} bytes, more than {EXTENSION_LIMIT}, {self._stream.where()}"
            )
        data = self._stream.take(header.stored)
        self._stream.skip(-header.stored % BLOCK)
        try:
            self._remember(header, data)
        except BadArchive as error:
            raise BadArchive(f"{error} {self._stream.where()}") from None

    def _remember(self, header: Entry, data: bytes) -> None:
        if header.kind == _LONG_NAME:
            self._records[b"path"] = cut(data)
        elif header.kind == _LONG_LINK:
            self._records[b"linkpath"] = cut(data)
        elif header.kind == _GLOBAL:
            self._globals |= simple_records(data)
        else:
            self._records |= member_records(data)

    def _complete(self, entry: Entry, block: bytes) -> Entry:
        """The entry with all that extended headers and its own kind make of it."""
        records, self._records = self._globals | self._records, {}
        self._stream.entry = entry.name  # until a longer one is known to be right
        try:
            entry = overrule(entry, records) if records else entry
            self._stream.entry = entry.name
            if not entry.name:
                raise ValueError("an entry without a name")
            if entry.kind == SPARSE:
                return old_sparse(entry, block, self._stream.take)
            if entry.kind == FILE:
                return self._complete_file(entry, records)
        except ValueError as error:
            raise BadArchive(f"{error} {self._stream.where()}") from None
        if entry.kind not in _WITHOUT_DATA:
            raise BadArchive(f"unknown type {shown(entry.kind)} {self._stream.where()}")
        # Old tars state the size of the file a link points to, some that of a directory: no data follows (POSIX, "size").
        return entry._replace(size=0, stored=0)

    def _complete_file(self, entry: Entry, records: Records) -> Entry:
        if records:
            entry = pax_sparse(entry, records, self._stream.take)
        if entry.name.endswith(b"/"):  # how v7 marks a directory
            return entry._replace(kind=DIRECTORY, size=0)
        return entry
