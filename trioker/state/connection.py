"""The SQLite connection: how it is opened, how a transaction reaches the disk.

What a crash may take, and why not more (https://sqlite.org/wal.html, https://sqlite.org/pragma.html#pragma_synchronous):

- *The daemon is killed.* A commit is a ``write`` into the WAL; once it returned, the bytes are the kernel's, and the next opener
  replays them. Every acknowledged write is there, an unfinished one is not: its frames lack a commit mark with a valid checksum.
- *The power goes.* With ``synchronous=NORMAL`` nothing is synced at a commit, so the last commits may be missing, newest first; the
  file is whole, because a frame counts only if the running checksum over all frames before it holds. A durable batch commits under
  ``synchronous=FULL``: the WAL is one file, so its fsync carries every earlier commit along. What is acknowledged as durable, and
  everything acknowledged before it, survives. A checkpoint syncs the WAL before it touches the database file, and that one before the
  WAL is used from its beginning again.

``locking_mode=EXCLUSIVE`` keeps the WAL's index in our own memory: no shared-memory file, no lock calls around each commit (a commit
takes 10 us here instead of 27), and another process is turned away. POSIX locks vanish when *any* descriptor of the file
is closed in this process: nobody else here may open it.
"""

import fcntl
import os
import sqlite3
import struct
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from trioker.state.errors import StateError, StoreDamaged
from trioker.state.schema import migrate

PAGE = 4096
RESERVE = 4 * 2**20
"""Bytes set aside for the WAL, about what it holds between two checkpoints: on a disk that is full, removing, which makes room, is written
down too. SQLite does not mind bytes behind its last frame: after each checkpoint there are old ones.

They are written, not only allocated: the first write into what is allocated makes its sync wait for the filesystem's journal as well, twice
as long (ext4 here: 1.6 ms against 0.8).
"""

_FS_IOC_GETFLAGS, _FS_IOC_SETFLAGS = 0x80086601, 0x40086602
"""_IOR and _IOW('f', 1 and 2, long), ioctl_iflags(2)."""
_FS_NOCOW_FL = 0x00800000

Row = tuple[Any, ...]


@attrs.frozen
class Statement:
    """One SQL statement and what is bound to it."""

    sql: str
    parameters: tuple[str | int, ...]


@attrs.frozen
class Write:
    """Statements that happen together or not at all."""

    statements: tuple[Statement, ...]
    durable: bool = False

    @property
    def pages(self) -> int:
        """About how many pages of WAL it takes: two for each row, more for a long one."""
        return sum(2 + sum(len(str(value)) for value in each.parameters) // PAGE for each in self.statements)


class Connection:
    """The one connection. Any thread may call; each call is alone on it."""

    def __init__(self, path: Path) -> None:
        """Open or begin the store in ``path``. Blocks. Raises StateError, StoreDamaged, StoreTooNew."""
        self._path = path
        self._lock = threading.Lock()
        self._full = False
        try:
            self._sqlite = _open(path)
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error, "cannot be opened") from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._sqlite.close()
            raise self._failure(error, "cannot be opened") from error
        except BaseException:
            self._sqlite.close()
            raise

    def _prepare(self) -> None:
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "wal_autocheckpoint = 0", "foreign_keys = ON"):
            self._sqlite.execute(f"PRAGMA {pragma}").fetchall()
        for (finding,) in self._sqlite.execute("PRAGMA quick_check(1)"):
            if finding != "ok":
                raise StoreDamaged(f"{self._path} is damaged: {finding}")
        self._synchronous(full=True)
        with suppress(OSError):  # its filesystem never copies, or cannot say
            _write_in_place(f"{self._path}-wal")
        migrate(self._sqlite, str(self._path))
        with suppress(OSError):  # the disk is full already, or its filesystem cannot
            _set_aside(f"{self._path}-wal")

    def _synchronous(self, *, full: bool) -> None:
        if full != self._full:  # has no effect inside a transaction
            self._sqlite.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            self._full = full

    def apply(self, writes: Iterable[Write]) -> None:
        """Do all of them in one transaction, or none. Raises StateError."""
        writes = tuple(writes)
        with self._lock:
            try:
                self._synchronous(full=any(write.durable for write in writes))
                self._transact(writes)
            except (sqlite3.Error, OverflowError, UnicodeError) as error:  # the latter: values SQLite cannot hold
                raise self._failure(error, "cannot be written") from error

    def _transact(self, writes: Sequence[Write]) -> None:
        self._sqlite.execute("BEGIN IMMEDIATE")
        try:
            for write in writes:
                for statement in write.statements:
                    self._sqlite.execute(statement.sql, statement.parameters)
            self._sqlite.execute("COMMIT")
        finally:
            if self._sqlite.in_transaction:  # after some failures (a full disk) SQLite has rolled back by itself
                self._sqlite.execute("ROLLBACK")

    def rows(self, sql: str, parameters: tuple[str, ...] = ()) -> list[Row]:
        """What a query finds. Raises StateError, StoreDamaged."""
        with self._lock:
            try:
                return self._sqlite.execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                raise self._failure(error, "cannot be read") from error

    def checkpoint(self) -> None:
        """Carry the WAL's content over to the database file, so that the WAL starts anew. Raises StateError."""
        with self._lock:
            try:
                self._sqlite.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            except sqlite3.Error as error:
                raise self._failure(error, "cannot be checkpointed") from error

    def close(self) -> None:
        """Checkpoint and close; the WAL file goes."""
        with self._lock:
            self._sqlite.close()

    def _failure(self, error: Exception, what: str) -> StateError:
        if isinstance(error, sqlite3.Error):
            # the extended codes carry the primary one in their low byte
            primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if primary in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                return StoreDamaged(f"{self._path} is damaged: {error}")
            if primary == sqlite3.SQLITE_BUSY:
                return StateError(f"{self._path} is in use by another process")
        return StateError(f"{self._path} {what}: {error}")


def _write_in_place(wal: str) -> None:
    """Have btrfs write over the file's own blocks; else it takes new ones for each write, and what is set aside is of no use.

    Only an empty file can become so. After a crash it is not empty, but then it is the last daemon's, which did this.
    """
    fd = os.open(wal, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        (flags,) = struct.unpack("l", fcntl.ioctl(fd, _FS_IOC_GETFLAGS, bytes(struct.calcsize("l"))))
        fcntl.ioctl(fd, _FS_IOC_SETFLAGS, struct.pack("l", flags | _FS_NOCOW_FL))
    finally:
        os.close(fd)


def _set_aside(wal: str) -> None:
    """Only behind what is there: after a crash that is the last daemon's, still to be replayed."""
    fd = os.open(wal, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        there = os.fstat(fd).st_size
        os.pwrite(fd, bytes(max(0, RESERVE - there)), there)
        os.fdatasync(fd)
    finally:
        os.close(fd)


def _open(path: Path) -> sqlite3.Connection:
    # made here, for its mode: environments hold secrets. SQLite gives the WAL the mode of the database.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
