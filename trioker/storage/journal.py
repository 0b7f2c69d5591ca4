"""How far a migration has come, on the disk: what a power cut leaves is what can be relied on.

A text file: the old driver's name and the new one's, then for each layer that is whole in the new one its key and a word, or its key alone where
it is so no more. A last line that was cut short counts for nothing.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

from trioker.linux.closing import closing

FILE = "migration"
FRESH = ".new"
"""Ends the name under which what is written durably comes into being; a power cut may leave it, and no driver is called so."""


class Journal:
    """An unfinished migration from driver ``old`` to driver ``new``; it lives in the store's directory."""

    def __init__(self, place: Path, old: str, new: str, finished: Iterable[str]) -> None:
        self.old, self.new = old, new
        self.finished = set(finished)
        """The keys of the layers that are whole in the new driver."""
        self._path = place / FILE

    @classmethod
    def begin(cls, place: Path, old: str, new: str) -> Self:
        """A new one. Raises OSError."""
        write_durably(place / FILE, f"{old} {new}\n")
        return cls(place, old, new, ())

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
        noted = {line[0]: line[1:] for line in lines}  # any word: it was a digest once
        return cls(place, first[0], first[1], (key for key, word in noted.items() if word))

    def add(self, key: str) -> None:
        """Note a layer that is whole and on the disk. Raises OSError."""
        self._write(f"{key} whole")
        self.finished.add(key)

    def strike(self, key: str) -> None:
        """Take back what was noted of a layer, before anything is done to it. Raises OSError."""
        if key in self.finished:
            self.finished.remove(key)
            self._write(key)

    def strike_all(self) -> None:
        """Take back what was noted of every layer. Raises OSError."""
        if self.finished:
            os.truncate(self._path, len(f"{self.old} {self.new}\n"))
            self.finished.clear()
            sync_file(self._path)

    def _write(self, line: str) -> None:
        with open(self._path, "ab") as file:
            file.write(f"{line}\n".encode("ascii"))
            file.flush()
            os.fsync(file.fileno())

    def end(self) -> None:
        """Forget the migration."""
        self._path.unlink()


def write_durably(path: Path, text: str) -> None:
    """Write a small file whole or not at all: after a power cut it holds the old text or the new one. Raises OSError."""
    fresh = path.with_name(f"{path.name}{FRESH}")
    try:
        fresh.write_text(text, encoding="utf-8")
        sync_file(fresh)
        fresh.rename(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk is told without
        with suppress(FileNotFoundError):
            fresh.unlink()
        raise
    sync_file(path.parent)


def sync_file(path: Path) -> None:
    """Get a file or directory onto the disk. Raises OSError."""
    with closing(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as fd:
        os.fsync(fd)
