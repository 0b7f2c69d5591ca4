"""How far a migration has come, on the disk: what a power cut leaves is what can be relied on.

A text file: the old driver's name and the new one's, then for each layer that is whole in the new one its key and the digest of its tree. A last
line that was cut short counts for nothing.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

FILE = "migration"


class Journal:
    """An unfinished migration from driver ``old`` to driver ``new``; it lives in the store's directory."""

    def __init__(self, place: Path, old: str, new: str, finished: Mapping[str, str]) -> None:
        self.old, self.new = old, new
        self.finished = dict(finished)
        """Digest by key."""
        self._path = place / FILE

    @classmethod
    def begin(cls, place: Path, old: str, new: str) -> Self:
        """A new one. Raises OSError."""
        write_durably(place / FILE, f"{old} {new}\n")
        return cls(place, old, new, {})

    @classmethod
    def find(cls, place: Path) -> Self | None:
        """The one that is there, if any."""
        path = place / FILE
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return None
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            os.truncate(path, len(whole))
        first, *lines = (line.split(" ") for line in whole.decode("ascii").splitlines())
        return cls(place, first[0], first[1], dict(lines))

    def add(self, key: str, digest: str) -> None:
        """Note a layer that is whole and on the disk. Raises OSError."""
        with open(self._path, "ab") as file:
            file.write(f"{key} {digest}\n".encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
        self.finished[key] = digest

    def end(self) -> None:
        """Forget the migration."""
        self._path.unlink()


def write_durably(path: Path, text: str) -> None:
    """Write a small file whole or not at all: after a power cut it holds the old text or the new one. Raises OSError."""
    fresh = path.with_name(f"{path.name}.new")
    with open(fresh, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
