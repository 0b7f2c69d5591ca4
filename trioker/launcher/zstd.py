"""zstd (RFC 8878) by whatever the host has of it: Python 3.14's own module, else the C library, which Debian's dpkg and systemd bring along."""

import ctypes
from collections.abc import Callable

from trioker.launcher.decompress import BLOCK, Decoder
from trioker.launcher.tar_header import BadArchive

_LIBRARY = "libzstd.so.1"
_WINDOW_LOG = 27  # 128 MiB, what ``zstd -d`` takes without being asked; a hostile frame may want 2 GiB
_WINDOW_LOG_MAX = 100  # enum ZSTD_dParameter: ZSTD_d_windowLogMax


def open_library() -> Callable[[], Decoder]:
    """What makes a decoder of one frame. Raises BadArchive, saying what is missing."""
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore] # noqa: PLC0415  3.14
    except ImportError:
        return _open_c_library()
    options = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
    return lambda: zstd.ZstdDecompressor(options=options)  # type: ignore[no-any-return,unused-ignore]


def _open_c_library() -> Callable[[], Decoder]:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        raise BadArchive(
            f"this is zstd, which takes {_LIBRARY} (Debian's package libzstd1) or Python 3.14 on the host; or use gzip, xz or bzip2"
        ) from None
    for name, result in (("ZSTD_createDCtx", ctypes.c_void_p), ("ZSTD_getErrorName", ctypes.c_char_p)):
        getattr(library, name).restype = result
    library.ZSTD_decompressStream.restype = ctypes.c_size_t
    return lambda: _Frame(library)


class _Buffer(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer."""

    _fields_ = (("data", ctypes.c_char_p), ("size", ctypes.c_size_t), ("position", ctypes.c_size_t))


class _Frame:
    """One frame, with the manners of bz2 and lzma."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._context = ctypes.c_void_p(library.ZSTD_createDCtx())
        if not self._context:
            raise MemoryError
        library.ZSTD_DCtx_setParameter(self._context, _WINDOW_LOG_MAX, _WINDOW_LOG)
        self._input = _Buffer(b"", 0, 0)
        self._room = ctypes.create_string_buffer(BLOCK)
        self.eof = False
        self.needs_input = True

    def __del__(self) -> None:
        self._library.ZSTD_freeDCtx(self._context)

    @property
    def unused_data(self) -> bytes:
        """What was given and is behind the frame's end."""
        return self._rest() if self.eof else b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most so many bytes. Raises ValueError for damage."""
        if data:
            rest = self._rest() + data
            self._input = _Buffer(rest, len(rest), 0)
        output = _Buffer(ctypes.cast(self._room, ctypes.c_char_p), min(max_length, BLOCK), 0)
        left = self._library.ZSTD_decompressStream(self._context, ctypes.byref(output), ctypes.byref(self._input))
        if self._library.ZSTD_isError(ctypes.c_size_t(left)):
            raise ValueError(self._library.ZSTD_getErrorName(ctypes.c_size_t(left)).decode())
        self.eof = left == 0
        # Full to the brim means that there may be more of what it has taken already.
        self.needs_input = self._input.position == self._input.size and output.position < output.size
        return ctypes.string_at(self._room, output.position)

    def _rest(self) -> bytes:
        # Not ``data``: ctypes would stop at its first NUL.
        return ctypes.string_at(_address(self._input) + self._input.position, self._input.size - self._input.position)


def _address(buffer: _Buffer) -> int:
    return ctypes.c_void_p.from_buffer(buffer).value or 0
