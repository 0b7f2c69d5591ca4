"""A container's output on disk: records of stream, time and bytes in a bounded row of files.

A *position* counts every byte ever written to the log, headers included; a file is named by the position of its first byte
(``%016x.log``), so rotation renames nothing: it begins a file and unlinks the oldest, and a reader that holds a file open loses nothing.

A record is a header (stream, length, time), the bytes, and its own total length once more, so that the end of a file can be checked
without walking it from its beginning.
"""

import os
import struct
from collections.abc import Container, Iterator

HEADER = struct.Struct(">B3xIQ")  # stream, length of the data, nanoseconds since the epoch
FOOTER = struct.Struct(">I")  # length of the whole record
OVERHEAD = HEADER.size + FOOTER.size
_STREAMS = (1, 2)
_BLOCK = 2**20  # read-ahead of a snapshot: large enough that system calls do not show, small beside the daemon


def log_files(directory: str) -> list[tuple[int, str]]:
    """The log's files, oldest first, each with the position of its first byte. A missing directory is an empty log."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return sorted((int(name[:16], 16), os.path.join(directory, name)) for name in names if name.endswith(".log"))


def _file_name(directory: str, start: int) -> str:
    return os.path.join(directory, f"{start:016x}.log")


def _sound_tail(fd: int, size: int) -> bool:
    """Whether the file ends with a whole record."""
    if size == 0:
        return True
    if size < OVERHEAD:
        return False
    (total,) = FOOTER.unpack(os.pread(fd, FOOTER.size, size - FOOTER.size))
    if not OVERHEAD <= total <= size:
        return False
    stream, length, _ = HEADER.unpack(os.pread(fd, HEADER.size, size - total))
    return stream in _STREAMS and length + OVERHEAD == total


def _sound_size(fd: int, size: int) -> int:
    """The length of the row of whole records the file begins with."""
    offset = 0
    while offset + OVERHEAD <= size:
        stream, length, _ = HEADER.unpack(os.pread(fd, HEADER.size, offset))
        if stream not in _STREAMS or offset + length + OVERHEAD > size:
            break
        offset += length + OVERHEAD
    return offset


class LogWriter:
    """Appends records; one writer per log. ``size`` is bytes per file, ``files`` how many are kept (at least 1)."""

    def __init__(self, directory: str, size: int, files: int) -> None:
        self._directory = directory
        self._limit = size
        self._keep = max(1, files)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        existing = log_files(directory)
        self._start = existing[-1][0] if existing else 0
        self._fd = self._open(self._start)
        size = os.fstat(self._fd).st_size
        if not _sound_tail(self._fd, size):
            # A power cut tore the last record; what is behind the last whole one was never told to anyone.
            size = _sound_size(self._fd, size)
            os.ftruncate(self._fd, size)
        self._size = size

    @property
    def position(self) -> int:
        """The position just behind the last record."""
        return self._start + self._size

    def append(self, stream: int, data: bytes, time_ns: int) -> int:
        """Write one record and return the position behind it. Raises OSError on a full disk; then nothing was written."""
        total = len(data) + OVERHEAD
        if self._size and self._size + total > self._limit:
            self._rotate()
        pieces = (HEADER.pack(stream, len(data), time_ns), data, FOOTER.pack(total))
        written = os.writev(self._fd, pieces)
        if written != total:
            os.ftruncate(self._fd, self._size)
            raise OSError(28, "No space left on device", self._directory)
        self._size += total
        return self.position

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)

    def _open(self, start: int) -> int:
        return os.open(_file_name(self._directory, start), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _rotate(self) -> None:
        start = self._start + self._size
        fd = self._open(start)
        os.close(self._fd)
        self._fd, self._start, self._size = fd, start, 0
        for _, path in log_files(self._directory)[: -self._keep]:
            os.unlink(path)


def log_end(directory: str) -> int:
    """The position behind the last byte."""
    files = log_files(directory)
    return files[-1][0] + os.stat(files[-1][1]).st_size if files else 0


class LogSnapshot:
    """The log between two positions: its files are held open, so that rotation takes nothing away while it is read.

    What was rotated away before is not there: a snapshot may begin later than asked.
    """

    def __init__(self, directory: str, begin: int = 0, end: int | None = None) -> None:
        self._files: list[tuple[int, int, int]] = []  # descriptor, from where to where in it
        for start, path in log_files(directory):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:  # rotated away between the listing and here
                continue
            size = os.fstat(fd).st_size
            self._files.append((fd, max(0, begin - start), size if end is None else min(size, end - start)))

    def close(self) -> None:
        """Let go of the files."""
        for fd, _, _ in self._files:
            os.close(fd)
        self._files = []

    def length(self, streams: Container[int]) -> int:
        """Bytes of output the snapshot holds of those streams."""
        return sum(length for stream, length, _, _ in self._walk() if stream in streams)

    def read(self, streams: Container[int]) -> Iterator[bytes]:
        """The pieces of those streams in the order they were written."""
        for stream, length, block, offset in self._walk():
            if stream in streams:
                yield block[offset : offset + length]

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Stream and bytes of each piece, in the order they were written."""
        for stream, length, block, offset in self._walk():
            yield stream, block[offset : offset + length]

    def _walk(self) -> Iterator[tuple[int, int, bytes, int]]:
        """Stream and length of each record, with a block that holds its data at an offset."""
        for fd, first, size in self._files:
            base, block = first, b""
            offset = 0
            while True:
                header_ends = offset + HEADER.size
                stream, length = 0, 0
                if header_ends <= len(block):
                    stream, length, _ = HEADER.unpack_from(block, offset)
                if header_ends > len(block) or header_ends + length + FOOTER.size > len(block):
                    base, offset = base + offset, 0
                    block = os.pread(fd, max(0, min(max(_BLOCK, length + OVERHEAD), size - base)), base)
                    if len(block) < OVERHEAD:
                        break
                    stream, length, _ = HEADER.unpack_from(block, 0)
                    if stream not in _STREAMS or base + length + OVERHEAD > size:
                        break
                    if length + OVERHEAD > len(block):
                        continue
                yield stream, length, block, offset + HEADER.size
                offset += length + OVERHEAD
