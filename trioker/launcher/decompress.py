"""gzip, bzip2 and xz, told by their first bytes and undone as they arrive.

A file may be several streams one after the other (pigz, ``cat a.gz b.gz``); what is behind the last one is left alone, as gzip does.
What bounds a bomb is the reader's limit on the bytes that come out: here, no more than a block is ever held.
"""

import os
import zlib
from collections.abc import Callable
from typing import Protocol

from trioker.launcher.tar_header import BadArchive

Read = Callable[[], bytes]

BLOCK = 2**18  # large enough that system calls do not show, small enough for the processor's cache
_INPUT = (
    2**15
)  # compressed bytes at a time: what is behind the end of a stream is copied, and a stream may be twenty bytes
_MEMORY = 2**27  # for xz's dictionary: -9 takes 65 MiB, a hostile one up to 4 GiB
_MAGICS = {"gzip": b"\x1f\x8b", "bzip2": b"BZh", "xz": b"\xfd7zXZ\0", "zstd": b"\x28\xb5\x2f\xfd"}
_LONGEST = max(map(len, _MAGICS.values()))


def open_blocks(fd: int) -> Read:
    """A function that returns the next bytes of what ``fd`` holds, decompressed, and none at its end.

    Raises BadArchive, then or here, for a format we do not have, damage, or a compressed stream that ends too early.
    """
    head = b""
    while len(head) < _LONGEST and (more := os.read(fd, BLOCK)):
        head += more
    name = next((name for name, magic in _MAGICS.items() if head.startswith(magic)), "")
    if name == "zstd":
        raise BadArchive("zstd is not supported; use gzip, bzip2, xz or no compression")
    if name:
        return _Decompressed(name, _decoder(name), _reader(fd, head, _INPUT)).read
    return _reader(fd, head, BLOCK)


def _reader(fd: int, head: bytes, size: int) -> Read:
    rest = [head]
    return lambda: rest.pop() if rest else os.read(fd, size)


class _Decoder(Protocol):
    """One compressed stream, as bz2 and lzma have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


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


def _decoder(name: str) -> Callable[[], _Decoder]:
    """What makes a decoder. Two libraries are loaded when they are needed: every monitor would carry them in its memory."""
    if name == "gzip":
        return _Inflater
    if name == "bzip2":
        import bz2  # noqa: PLC0415

        return bz2.BZ2Decompressor
    import lzma  # noqa: PLC0415

    return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)


class _Decompressed:
    """A row of compressed streams of one kind as one."""

    def __init__(self, kind: str, new_decoder: Callable[[], _Decoder], read: Read) -> None:
        self._kind = kind
        self._new_decoder = new_decoder
        self._decoder = new_decoder()
        self._read = read
        self._pending = b""  # read, and not yet given to the decoder

    def read(self) -> bytes:
        """The next bytes, at most a block; none at the end."""
        while not self._decoder.eof or self._next_stream():
            if self._decoder.needs_input and not self._pending:
                self._pending = self._read()
                if not self._pending:
                    raise BadArchive(f"the {self._kind} data ends too early")
            if out := self._decode():
                return out
        return b""

    def _decode(self) -> bytes:
        data = self._pending if self._decoder.needs_input else b""
        try:
            out = self._decoder.decompress(data, BLOCK)
        except Exception as error:  # noqa: BLE001  zlib.error, OSError, lzma.LZMAError: nothing in common
            raise BadArchive(f"damaged {self._kind} data: {error}") from None
        if data:
            self._pending = b""
        return out

    def _next_stream(self) -> bool:
        """Begin the stream that follows, over zeros that may be between them (xz pads so; tapes do)."""
        magic = _MAGICS[self._kind]
        found, padding = self._decoder.unused_data.lstrip(b"\0"), 0
        while len(found) < len(magic) and padding < BLOCK and (more := self._read()):
            padding += len(more)
            found = (found + more).lstrip(b"\0")
        if not found.startswith(magic):
            return False
        self._decoder = self._new_decoder()
        self._pending = found
        return True
