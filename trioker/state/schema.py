"""The tables, and how a store of an earlier trioker becomes one of today's.

``PRAGMA user_version`` is the format's number; step n of ``STEPS`` makes format n + 1 of format n, so a new file is one of format 0
that takes them all. A step is never edited once released: a change to the tables is a new step at the end.
"""

import sqlite3
from collections.abc import Callable, Sequence

from trioker.model.ids import new_id
from trioker.state.errors import StoreTooNew

Step = Callable[[sqlite3.Connection], None]

_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE containers (id TEXT PRIMARY KEY, record TEXT NOT NULL)",
    "CREATE TABLE images (id TEXT PRIMARY KEY, record TEXT NOT NULL)",
    """CREATE TABLE tags (
        repository TEXT NOT NULL, tag TEXT NOT NULL, image_id TEXT NOT NULL REFERENCES images (id),
        PRIMARY KEY (repository, tag)
    ) WITHOUT ROWID""",
    "CREATE TABLE layers (key TEXT PRIMARY KEY, parent TEXT NOT NULL, ready INTEGER NOT NULL) WITHOUT ROWID",
)


def _first_tables(connection: sqlite3.Connection) -> None:
    for table in _TABLES:
        connection.execute(table)
    connection.execute("INSERT INTO meta VALUES ('store_id', ?)", (new_id(),))


def _contents(connection: sqlite3.Connection) -> None:
    """What layers hold, as registries name it, and the blobs kept of them."""
    for column in ("chain", "diff"):
        connection.execute(f"ALTER TABLE layers ADD COLUMN {column} TEXT NOT NULL DEFAULT ''")
    connection.execute(
        """CREATE TABLE blobs (
            digest TEXT PRIMARY KEY, diff TEXT NOT NULL, size INTEGER NOT NULL, media_type TEXT NOT NULL, used_ns INTEGER NOT NULL
        ) WITHOUT ROWID"""
    )


STEPS: tuple[Step, ...] = (_first_tables, _contents)


def migrate(connection: sqlite3.Connection, path: str, steps: Sequence[Step] = STEPS) -> None:
    """Bring the store to today's format, each step a transaction of its own. Raises StoreTooNew before anything is written.

    ``connection`` is in autocommit mode (``isolation_level=None``); a step must not use ``executescript``, which commits on its own.
    """
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > len(steps):
        raise StoreTooNew(
            f"{path} was written by a newer trioker: its format is {found}, this one knows formats up to {len(steps)}"
        )
    for number, step in enumerate(steps[found:], found + 1):
        _take(connection, step, number)


def _take(connection: sqlite3.Connection, step: Step, number: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        step(connection)
        connection.execute(f"PRAGMA user_version = {number}")  # is undone by ROLLBACK like any other write
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
