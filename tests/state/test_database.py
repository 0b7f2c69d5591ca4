import os
import sqlite3
import stat
import sys
from contextlib import closing

import attrs
import pytest
import trio
import trio.testing

from trioker.linux.extents import extents
from trioker.model.container import Config, Container, Phase, State
from trioker.model.image import Image, Tag
from trioker.model.layer import LayerRecord
from trioker.model.network import Before, NetworkRecord
from trioker.state import connection as connection_module
from trioker.state.connection import RESERVE, Connection, Statement, Write
from trioker.state.database import Database, open_database
from trioker.state.errors import StateError, StoreDamaged, StoreTooNew

IMAGE = Image("1" * 64, 1)
OTHER = Image("2" * 64, 2, parent=IMAGE.id)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.db"


def container(number: int, **changes) -> Container:
    return Container(f"{number:064x}", number, Config(image="busybox"), IMAGE.id, **changes)


def limit(database: Database, pages: int) -> None:
    """A disk that is full at so many pages."""
    database._connection._sqlite.execute(f"PRAGMA max_page_count = {pages}").fetchall()


async def test_what_was_saved_is_there_when_the_store_is_opened_again(path):
    running = container(1, state=State(Phase.RUNNING, pid=7))
    async with open_database(path) as database:
        await database.save_container(container(1))
        await database.save_container(running, durable=True)
        await database.save_container(container(2))
        await database.delete_container(container(2).id)
        await database.save_images([IMAGE], [Tag("base", "latest", IMAGE.id)])
        await database.save_images([OTHER])
        await database.save_tag(Tag("base", "old", IMAGE.id))
        await database.save_tag(Tag("base", "latest", OTHER.id))
        await database.save_layer(LayerRecord("k", "", ready=False), durable=True)
        await database.save_layer(LayerRecord("k", "p", ready=True))
        await database.save_layer(LayerRecord("gone", "", ready=False))
        await database.delete_layer("gone")
        await database.save_meta("driver", "vfs")
        await database.save_meta("driver", "overlay")
        store_id = database.store_id
    async with open_database(path) as database:
        assert list(database.containers()) == [running]
        assert sorted(database.images(), key=lambda image: image.id) == [IMAGE, OTHER]
        assert set(database.tags()) == {Tag("base", "latest", OTHER.id), Tag("base", "old", IMAGE.id)}
        assert database.layers() == (LayerRecord("k", "p", ready=True),)
        assert database.meta("driver") == "overlay"
        assert database.meta("colour") == ""
        assert database.store_id == store_id
        assert len(store_id) == 64


async def test_names_and_images_are_deleted_together(path):
    async with open_database(path) as database:
        await database.save_images([IMAGE], [Tag("a", "x", IMAGE.id)])
        await database.save_images([OTHER], [Tag("a", "y", OTHER.id)])
        await database.delete_names([Tag("a", "x", IMAGE.id)], [IMAGE.id])
        assert database.images() == (OTHER,)
        assert database.tags() == (Tag("a", "y", OTHER.id),)


async def test_a_name_never_points_at_an_image_that_is_not_there(path):
    async with open_database(path) as database:
        with pytest.raises(StateError):
            await database.save_tag(Tag("a", "x", IMAGE.id))
        await database.save_images([IMAGE], [Tag("a", "x", IMAGE.id)])
        with pytest.raises(StateError):
            await database.delete_names([], [IMAGE.id])
        assert database.images() == (IMAGE,)


async def test_only_the_owner_may_read_the_files(path):
    async with open_database(path) as database:
        await database.save_layer(LayerRecord("v", "", ready=True))
        modes = {name: stat.S_IMODE(os.stat(path.parent / name).st_mode) for name in os.listdir(path.parent)}
    assert modes == {"state.db": 0o600, "state.db-wal": 0o600}


async def test_writes_that_wait_together_keep_their_order(path):
    async with open_database(path) as database:
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(save, database, number)
        (kept,) = database.containers()
        assert kept.created_ns == 99


async def save(database: Database, number: int) -> None:
    """Tasks start in no fixed order; each waits for its turn to call, not for the turn before to be done."""
    for _ in range(number):
        await trio.lowlevel.checkpoint()
    record = attrs.evolve(container(1), created_ns=number)
    await database.save_container(record, durable=number % 3 == 0)


async def test_one_bad_write_does_not_hurt_those_that_wait_with_it(path):
    outcomes = {}

    async def attempt(name: str, image: Image | None) -> None:
        try:
            await (database.save_images([image]) if image else database.save_tag(Tag("a", "x", "missing")))
            outcomes[name] = "written"
        except StateError:
            outcomes[name] = "refused"

    async with open_database(path) as database:
        async with trio.open_nursery() as nursery:
            with database._connection._lock:  # the thread cannot begin: what follows is one batch
                for name, image in (("first", IMAGE), ("bad", None), ("last", OTHER)):
                    nursery.start_soon(attempt, name, image)
                await trio.testing.wait_all_tasks_blocked()
        assert outcomes == {"first": "written", "bad": "refused", "last": "written"}
        assert len(database.images()) == 2


async def test_the_room_of_the_log_is_written_and_not_only_allocated(path):
    async with open_database(path):
        log = path.with_name(f"{path.name}-wal")
        assert log.stat().st_size == RESERVE
        fd = os.open(log, os.O_RDONLY)
        try:
            assert list(extents(fd, RESERVE)) == [(0, RESERVE)]
        finally:
            os.close(fd)


@pytest.mark.parametrize("durable", [False, True])
async def test_a_full_disk_is_told_to_the_caller_and_the_store_works_on(path, durable):
    async with open_database(path) as database:
        await database.save_container(container(1))
        limit(database, 1)
        with pytest.raises(StateError, match=r"state\.db cannot be written: database or disk is full"):
            await database.save_container(container(2, resolv_conf="x" * 100_000), durable=durable)
        limit(database, 100_000)
        await database.save_container(container(3), durable=durable)
        assert [each.created_ns for each in database.containers()] == [1, 3]


async def test_a_write_cancelled_before_it_began_is_not_done(path):
    async with open_database(path) as database:
        with trio.CancelScope() as scope:
            scope.cancel()
            await database.save_layer(LayerRecord("v", "", ready=True))
        assert scope.cancelled_caught
        assert database.layers() == ()


async def test_a_write_cancelled_while_it_waits_is_done_all_the_same(path):
    async with open_database(path) as database:
        with trio.CancelScope() as scope, database._connection._lock:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(database.save_meta, "key", "value")
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        assert scope.cancelled_caught
    async with open_database(path) as database:
        assert database.meta("key") == "value"


async def test_closing_finishes_what_is_queued_even_when_cancelled(path):
    async with trio.open_nursery() as nursery:
        async with open_database(path) as database:
            with database._connection._lock:
                for number in range(20):
                    nursery.start_soon(database.save_meta, str(number), "x")
                await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    async with open_database(path) as database:
        assert all(database.meta(str(number)) == "x" for number in range(20))


async def test_a_closed_store_takes_no_writes(path):
    async with open_database(path) as database:
        pass
    with pytest.raises(StateError, match="closed"):
        await database.save_layer(LayerRecord("v", "", ready=True))


async def test_the_wal_is_carried_over_before_it_grows_without_bound(path):
    async with open_database(path) as database:
        for number in range(2500):
            await database.save_meta("key", f"{number}") if number % 100 == 0 else await database.save_layer(
                LayerRecord(f"{number}", "", ready=True)
            )
        assert os.stat(f"{path}-wal").st_size < 6 * 2**20
    assert os.listdir(path.parent) == ["state.db"]


async def test_a_second_opener_is_turned_away(path):
    async with open_database(path):
        script = "import sys, sqlite3; sqlite3.connect(sys.argv[1], timeout=0).execute('SELECT * FROM meta')"
        process = await trio.run_process([sys.executable, "-c", script, str(path)], check=False, capture_stderr=True)
        assert b"database is locked" in process.stderr


async def test_a_store_in_use_is_refused_by_name(path):
    async with open_database(path):
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError, match=r"state\.db is in use by another process"):
            async with open_database(path):
                pass


async def test_a_store_of_a_newer_trioker_is_refused(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreTooNew, match="newer trioker"):
        async with open_database(path):
            pass


async def test_a_file_that_is_no_store_is_refused_by_name(path):
    path.write_bytes(b"#!/bin/sh\n" * 1000)
    with pytest.raises(StoreDamaged, match=r"state\.db is damaged: file is not a database"):
        async with open_database(path):
            pass


async def test_a_store_with_a_page_of_rubbish_is_refused_by_name(path):
    async with open_database(path) as database:
        for number in range(200):
            await database.save_container(container(number))
    size = os.path.getsize(path)
    with path.open("r+b") as file:
        for offset in range(8 * connection_module.PAGE, size, connection_module.PAGE):
            file.seek(offset)
            file.write(b"\xa5" * 64)
    with pytest.raises(StoreDamaged, match=r"state\.db is damaged"):
        async with open_database(path):
            pass


async def test_a_record_that_cannot_be_read_is_named(path):
    async with open_database(path) as database:
        database._connection.apply([Write((Statement("INSERT INTO containers VALUES (?, ?)", ("c1", "{}")),))])
        with pytest.raises(StoreDamaged, match=r"state\.db is damaged: containers, record c1: config: missing"):
            list(database.containers())


async def test_a_missing_directory_is_told(tmp_path):
    with pytest.raises(StateError, match=r"/nowhere/state\.db cannot be opened: .*No such file"):
        async with open_database(tmp_path / "nowhere" / "state.db"):
            pass


def test_a_write_counts_two_pages_for_a_row_and_more_for_a_long_one():
    short, long = Statement("", ("k", "v")), Statement("", ("k", "v" * 10 * connection_module.PAGE))
    assert Write((short,)).pages == 2
    assert Write((short, long)).pages == 14


def test_values_sqlite_cannot_hold_are_a_state_error(path):
    connection = Connection(path)
    with pytest.raises(StateError):
        connection.apply([Write((Statement("INSERT INTO layers VALUES (?, '', 1)", (2**70,)),))])
    with pytest.raises(StateError):
        connection.apply([Write((Statement("INSERT INTO layers VALUES (?, '', 1)", ("\udcff",)),))])
    connection.close()


async def test_the_network_is_noted_and_forgotten(tmp_path):
    record = NetworkRecord("trioker0", True, "10.213.0.1/16", before=(Before("net/ipv4/ip_forward", "0", "1"),))
    async with open_database(tmp_path / "state.db") as database:
        assert database.network() is None
        await database.save_network(record)
    async with open_database(tmp_path / "state.db") as database:
        assert database.network() == record
        await database.save_network(None)
        assert database.network() is None


async def test_a_damaged_note_of_the_network_is_told(tmp_path):
    async with open_database(tmp_path / "state.db") as database:
        await database.save_meta("network", "{}")
        with pytest.raises(StoreDamaged, match="network's record: address: missing"):
            database.network()
