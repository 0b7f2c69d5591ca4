"""gzip, bzip2, xz and zstd, told by their first bytes and undone as they arrive.

A file may be several streams one after the other (pigz, ``cat a.gz b.gz``, zstd's skippable frames); what is behind the last one is read and
left alone, as gzip does. Of what comes out no more than a block is ever held.
"""

import os
import zlib
from collections.abc import Callable
from typing import Protocol

from trioker.launcher.tar_header import BadArchive

Fill = Callable[[memoryview], int]
"""Puts the next bytes into a buffer, as many as are there, and returns how many; 0 at the end."""
Read = Callable[[], bytes]

BLOCK = 2**18
"""Large enough that system calls do not show, small enough for the processor's cache."""

FREE_BYTES = 2**29
RATIO = 1000
"""Beyond the first FREE_BYTES of output, a compressed archive may not hold more than RATIO times its own size.

gzip makes zeros 1,029 times smaller and zstd far more, so a limit is needed to stop a small bomb before it has filled a disk; and an honest
layer with a file of zeros, a swap file or a test's, is not to be mistaken for one."""

_INPUT = 2**15  # at a time: what is behind the end of a stream is copied, and a stream may be twenty bytes
_MEMORY = 2**27  # for xz's dictionary: -9 takes 65 MiB, a hostile one up to 4 GiB
_SKIPPABLE = tuple(bytes((0x50 + each,)) + b"\x2a\x4d\x18" for each in range(16))  # RFC 8878, 3.1.2; pzstd begins so
_MAGICS: dict[str, tuple[bytes, ...]] = {
    "gzip": (b"\x1f\x8b",),
    "bzip2": (b"BZh",),
    "xz": (b"\xfd7zXZ\0",),
    "zstd": (b"\x28\xb5\x2f\xfd", *_SKIPPABLE),
}
_LONGEST = max(len(magic) for magics in _MAGICS.values() for magic in magics)


def open_source(fd: int) -> Fill:
    """What ``fd`` holds, decompressed.

    Raises BadArchive, then or when it is read, for a format we do not have, damage, a compressed stream that ends too early, and a bomb.
    """
    head = b""
    while len(head) < _LONGEST and (more := os.read(fd, _INPUT)):
        head += more
    name = next((name for name, magics in _MAGICS.items() if head.startswith(magics)), "")
    if name:
        return _Decompressed(name, _decoder(name), fd, head).fill
    return _plain(fd, head)


def open_blocks(fd: int) -> Read:
    """The same as a function that returns the next bytes, at most a block."""
    fill = open_source(fd)
    block = memoryview(bytearray(BLOCK))
    return lambda: bytes(block[: fill(block)])


def _plain(fd: int, head: bytes) -> Fill:
    rest = [head]

    def fill(view: memoryview) -> int:
        if not rest:
            return os.readv(fd, (view,))
        first = rest.pop()
        if len(first) > len(view):
            rest.append(first[len(view) :])
        return _put(first[: len(view)], view)

    return fill if head else lambda view: os.readv(fd, (view,))


def _put(data: bytes, view: memoryview) -> int:
    view[: len(data)] = data
    return len(data)


class Decoder(Protocol):
    """One compressed stream, as bz2, lzma and compression.zstd have it."""

    @property
    def eof(self) -> bool:
        """Its end has been decompressed."""

    @property
    def needs_input(self) -> bool:
        """Nothing more comes out of what was given."""

    @property
    def unused_data(self) -> bytes:
        """What was given and is behind the end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most so many bytes. Raises Exception for damage."""


class _Inflater:
    """zlib with the manners of bz2 and lzma: it keeps the input it had no room to decompress."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 16)  # 16: with a gzip header and trailer

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


def _decoder(name: str) -> Callable[[], Decoder]:
    """What makes a decoder. Libraries are loaded when they are needed: every monitor would carry them in its memory."""
    if name == "gzip":
        return _Inflater
    if name == "bzip2":
        import bz2  # noqa: PLC0415

        return bz2.BZ2Decompressor
    if name == "zstd":
        from trioker.launcher.zstd import open_library  # noqa: PLC0415

        return open_library()
    import lzma  # noqa: PLC0415

    return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)


class _Decompressed:
    """A row of compressed streams of one kind as one."""

    def __init__(self, kind: str, new_decoder: Callable[[], Decoder], fd: int, head: bytes) -> None:
        self._kind = kind
        self._new_decoder = new_decoder
        self._decoder = new_decoder()
        self._fd = fd
        self._pending = head  # read, and not yet given to the decoder
        self._taken = len(head)
        self._given = 0

    def fill(self, view: memoryview) -> int:
        """The next bytes; none at the end."""
        while not self._decoder.eof or self._next_stream():
            if self._decoder.needs_input and not self._pending:
                self._pending = self._read()
                if not self._pending:
                    raise BadArchive(f"the {self._kind} data ends too early")
            if out := self._decode(len(view)):
                self._given += len(out)
                if self._given > FREE_BYTES and self._given > RATIO * self._taken:
                    raise BadArchive(
                        f"a bomb: {self._taken} bytes of {self._kind} hold more than {RATIO} times as many"
                    )
                return _put(out, view)
        return 0

    def _read(self) -> bytes:
        data = os.read(self._fd, _INPUT)
        self._taken += len(data)
        return data

    def _decode(self, size: int) -> bytes:
        data = self._pending if self._decoder.needs_input else b""
        try:
            out = self._decoder.decompress(data, size)
        except Exception as error:  # noqa: BLE001  zlib.error, OSError, lzma.LZMAError: nothing in common
            raise BadArchive(f"damaged {self._kind} data: {error}") from None
        if data:
            self._pending = b""
        return out

    def _next_stream(self) -> bool:
        """Begin the stream that follows, over zeros that may be between them (xz pads so; tapes do)."""
        magics = _MAGICS[self._kind]
        found, padding = self._decoder.unused_data.lstrip(b"\0"), 0
        while len(found) < _LONGEST and padding < BLOCK and (more := self._read()):
            padding += len(more)
            found = (found + more).lstrip(b"\0")
        if not found.startswith(magics):
            self._leave_the_rest()
            return False
        self._decoder = self._new_decoder()
        self._pending = found
        return True

    def _leave_the_rest(self) -> None:
        """Read what is behind the end: whoever sends it would call it a failure to be cut off."""
        while self._read():
            pass
