"""What the unpacking of a layer and the writing into a tree make files with."""

import os
import stat
from typing import NamedTuple

from trioker.launcher.tar_header import BLOCK_DEVICE, CHARACTER_DEVICE, FIFO, BadArchive, Entry, shown

NODE_TYPES = {CHARACTER_DEVICE: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO}
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
DIRECTORY_ITSELF = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Held(NamedTuple):
    """What an archive held: apparent bytes of its regular files, and entries."""

    size: int
    entries: int


class Tally:
    """What it has held so far, within bounds."""

    def __init__(self, max_bytes: int, max_entries: int) -> None:
        self._max_bytes, self._max_entries = max_bytes, max_entries
        self._size = self._entries = 0

    def count(self, entry: Entry) -> None:
        """One more. Raises BadArchive where that is too many, or too much."""
        self._size += entry.size
        self._entries += 1
        if self._size > self._max_bytes:
            raise BadArchive(
                f"the files hold more than the {self._max_bytes} bytes allowed, at entry {shown(entry.name)}"
            )
        if self._entries > self._max_entries:
            raise BadArchive(f"more than the {self._max_entries} entries allowed, at entry {shown(entry.name)}")

    def held(self) -> Held:
        """All of it, at the end."""
        return Held(self._size, self._entries)


def components(path: bytes) -> list[bytes]:
    """The names a path goes through, from the root. Raises ValueError for ``..``: there is no harmless use of it in an archive."""
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise ValueError(f'".." in the path {shown(path)}')
    return parts
