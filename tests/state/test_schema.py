import sqlite3
from contextlib import closing

import pytest

from trioker.state.errors import StoreTooNew
from trioker.state.schema import STEPS, migrate

FIRST = STEPS[:1]


def add_colour(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE layers ADD COLUMN colour TEXT NOT NULL DEFAULT 'grey'")


def fail_half_way(connection: sqlite3.Connection) -> None:
    add_colour(connection)
    raise RuntimeError("power")


@pytest.fixture
def connection():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def test_an_empty_file_takes_every_step(connection):
    migrate(connection, "x", STEPS)
    assert version(connection) == len(STEPS)
    assert len(connection.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchone()[0]) == 64


def test_todays_store_is_left_alone(connection):
    migrate(connection, "x", STEPS)
    before = connection.total_changes
    migrate(connection, "x", STEPS)
    assert connection.total_changes == before


def test_an_older_store_takes_the_steps_it_lacks_and_keeps_its_rows(connection):
    migrate(connection, "x", STEPS[:1])
    connection.execute("INSERT INTO layers VALUES ('v', '', 1)")
    migrate(connection, "x", (STEPS[0], add_colour))
    assert version(connection) == 2
    assert connection.execute("SELECT key, colour FROM layers").fetchall() == [("v", "grey")]


def test_a_step_that_fails_leaves_the_store_as_it_was(connection):
    migrate(connection, "x", STEPS[:1])
    with pytest.raises(RuntimeError):
        migrate(connection, "x", (STEPS[0], fail_half_way))
    assert version(connection) == 1
    assert not connection.in_transaction
    migrate(connection, "x", (STEPS[0], add_colour))
    assert version(connection) == 2


def test_a_newer_store_is_refused_by_name_and_untouched(connection):
    connection.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    with pytest.raises(StoreTooNew, match=r"^/x/state\.db was written by a newer trioker: its format is 3"):
        migrate(connection, "/x/state.db", STEPS)
    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
