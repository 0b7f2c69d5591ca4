"""Run by test_kill: a writer is killed in the middle of its work, again and again; what it had acknowledged must be there.

The parent forks the writer, so that a round costs no interpreter start, and stays without threads for that.
"""

import os
import random
import signal
import sys
from pathlib import Path

import trio

from trioker.model.container import Config, Container
from trioker.state import writer
from trioker.state.codec import decode
from trioker.state.connection import Connection
from trioker.state.database import open_database

KEYS = 7
ROUNDS = 20


def container(key: int, number: int) -> Container:
    return Container(f"{key:064x}", number, Config(env=("X=" + "y" * (number % 5000),)), "i" * 64)


async def write_for_ever(path: Path, first: int, acknowledge: int) -> None:
    writer.CHECKPOINT_PAGES = 40
    async with open_database(path) as database, trio.open_nursery() as nursery:
        for key in range(KEYS):
            nursery.start_soon(write_one, database, key, first, acknowledge)


async def write_one(database, key: int, number: int, acknowledge: int) -> None:
    while True:
        await database.save_container(container(key, number), durable=number % 11 == key)
        os.write(acknowledge, b"%d %d\n" % (key, number))
        number += 1


def one_round(path: Path, first: int, chance: random.Random) -> dict[int, int]:
    """Returns the highest acknowledged number of each key."""
    reader, acknowledge = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        trio.run(write_for_ever, path, first, acknowledge)
    os.close(acknowledge)
    with open(reader, "rb") as lines:
        text = lines.read(chance.randrange(1, 3000))
        os.kill(child, signal.SIGKILL)
        text += lines.read()
    os.waitpid(child, 0)
    return dict(sorted(tuple(map(int, line.split())) for line in text.splitlines()))


def check(path: Path, acknowledged: dict[int, int]) -> int:
    """Returns the highest number found."""
    connection = Connection(path)
    rows = connection.rows("SELECT id, record FROM containers")
    connection.close()
    found = {int(key, 16): decode(Container, text) for key, text in rows}
    for key, number in acknowledged.items():
        extra = found[key].created_ns - number
        assert extra in {0, 1}, f"key {key}: acknowledged {number}, found {found[key].created_ns}"
        assert found[key] == container(key, found[key].created_ns)
    return max((each.created_ns for each in found.values()), default=0)


def main(path: Path) -> None:
    chance, first = random.Random(4), 1
    for _ in range(ROUNDS):
        first = check(path, one_round(path, first, chance)) + 1


main(Path(sys.argv[1]))
