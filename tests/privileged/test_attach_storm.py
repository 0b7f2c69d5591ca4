"""Output on its way to clients: none of it is lost, whoever attaches early, late, reads slowly or not at all."""

import contextlib
import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from api_client import Api, dial, read_head
from busybox import busybox_tar
from daemon import Daemon, running_daemon
from numbered import CODE, LAST, check_numbers, check_row, log_size, printer, tell_to_stop
from polling import wait_until

pytestmark = pytest.mark.root

STORM = 1000
CLIENTS = 6
FIFTY_MB = 6_587_000
"""How many lines ``seq`` prints for 50 MB."""
EVERYTHING = "logs=1&stream=1&stdout=1&stderr=1"
SMALL_LOG = 64 * 1024


@pytest.fixture(scope="module")
def daemon(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    # As much log as these tests print: what is rotated away is another test's matter.
    with running_daemon(pyz, tmp_path_factory.mktemp("storm"), "--log-opt", "max-size=200m") as daemon:
        daemon.api.import_image(busybox_tar(), "base")
        yield daemon


@pytest.fixture(scope="module")
def small_log(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that keeps two files of 64 KiB."""
    flags = ("--log-opt", "max-size=64k", "--log-opt", "max-file=2")
    with running_daemon(pyz, tmp_path_factory.mktemp("small"), *flags) as daemon:
        daemon.api.import_image(busybox_tar(), "base")
        yield daemon


@contextlib.contextmanager
def talkative(daemon: Daemon) -> Iterator[str]:
    """A container that prints until told to stop, removed afterwards."""
    container = printer(daemon.api)
    try:
        yield container
    finally:
        daemon.api.remove(container)


def slow_to_fill(api: Api, container: str, query: str) -> socket.socket:
    """An attached client with a small buffer of its own, for what it does not read; behind the head."""
    connected = dial(api.address)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    connected.sendall(f"POST /v1.2/containers/{container}/attach?{query} HTTP/1.1\r\nHost: \r\n\r\n".encode())
    read_head(connected)
    return connected


def rest_of(connected: socket.socket) -> bytes:
    """What is still in there of a connection that was cut."""
    pieces = []
    with contextlib.suppress(ConnectionResetError):
        while piece := connected.recv(2**18):
            pieces.append(piece)
    return b"".join(pieces)


# -- attached before the start ----------------------------------------------------------------------------------------


def test_a_thousand_programs_that_print_and_exit_at_once_are_heard_to_the_last_byte(daemon: Daemon):
    def hear(number: int) -> None:
        container = daemon.api.create("sh", "-c", f"echo out {number}; echo err {number} >&2; exit {number % 100}")
        with daemon.api.attach(container) as attached:
            daemon.api.start(container)
            lines = attached.read_all().splitlines(keepends=True)
        assert sorted(lines) == [b"err %d\n" % number, b"out %d\n" % number]
        assert daemon.api.wait(container) == number % 100
        daemon.api.ok("DELETE", f"/containers/{container}")

    with ThreadPoolExecutor(CLIENTS) as pool:
        for _ in pool.map(hear, range(STORM)):
            pass


def test_one_container_started_again_and_again_is_heard_each_time(daemon: Daemon):
    container = daemon.api.create("sh", "-c", "read line; echo $line; exit 1", OpenStdin=True)
    for number in range(1, 21):
        daemon.api.start(container)
        with daemon.api.attach(container, "stream=1&stdin=1&stdout=1") as attached:
            attached.send(b"line %d\n" % number)
            assert attached.read_all() == b"line %d\n" % number
        daemon.api.wait(container)
    assert check_row(daemon.api.logs(container).replace(b"line ", b""), first=1) == 20
    daemon.api.remove(container)


def test_a_terminal_s_output_is_heard_to_the_last_byte(daemon: Daemon):
    def hear(number: int) -> None:
        container = daemon.api.create("sh", "-c", f"echo out {number}; echo err {number} >&2", Tty=True)
        with daemon.api.attach(container) as attached:
            daemon.api.start(container)
            assert attached.read_all() == b"out %d\r\nerr %d\r\n" % (number, number)
        daemon.api.remove(container)

    with ThreadPoolExecutor(CLIENTS) as pool:
        for _ in pool.map(hear, range(100)):
            pass


def test_sixteen_clients_of_one_container_hear_the_same(daemon: Daemon):
    container = daemon.api.create("seq", "1", "100000")
    attached = [daemon.api.attach(container) for _ in range(16)]
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(16) as pool:
        for each in attached:
            stack.enter_context(each)
        daemon.api.start(container)
        for output in pool.map(lambda each: each.read_all(), attached):
            assert check_row(output, first=1) == 100_000
    daemon.api.remove(container)


# -- clients that do not read, or slowly ------------------------------------------------------------------------------


def test_a_deaf_client_is_cut_off_and_a_reading_one_hears_every_byte(daemon: Daemon):
    container = daemon.api.create("seq", "1", str(FIFTY_MB))
    expected = hashlib.sha256(b"".join(b"%d\n" % number for number in range(1, FIFTY_MB + 1))).digest()
    with (
        slow_to_fill(daemon.api, container, "stream=1&stdout=1") as deaf,
        daemon.api.attach(container) as reader,
    ):
        daemon.api.start(container)
        heard = hashlib.sha256()
        while piece := reader.socket.recv(2**18):
            heard.update(piece)
        assert heard.digest() == expected
        assert daemon.api.wait(container) == 0
        assert check_row(rest_of(deaf), first=1) < FIFTY_MB
    wait_until(lambda: re.search(rf"{container}.*cut off", daemon.log_text()), "a word about the client that was cut")
    daemon.api.remove(container)


def test_deaf_clients_alone_do_not_keep_a_container_from_its_end(daemon: Daemon):
    container = daemon.api.create("seq", "1", "2000000")
    with contextlib.ExitStack() as stack:
        for query in ("stream=1&stdout=1", "logs=1&stream=1&stdout=1", "stream=1&stdout=1&stderr=1"):
            stack.enter_context(slow_to_fill(daemon.api, container, query))
        daemon.api.start(container)
        assert daemon.api.wait(container) == 0
        assert check_row(daemon.api.logs(container), first=1) == 2_000_000
        daemon.api.ok("DELETE", f"/containers/{container}")


def test_a_slow_reader_hears_everything(daemon: Daemon):
    container = daemon.api.create("seq", "1", "1500000")
    with slow_to_fill(daemon.api, container, "stream=1&stdout=1") as slow:
        daemon.api.start(container)
        pieces = []
        while piece := slow.recv(32_768):
            pieces.append(piece)
            threading.Event().wait(0.005)
    assert check_row(b"".join(pieces), first=1) == 1_500_000
    daemon.api.remove(container)


# -- attached in the middle -------------------------------------------------------------------------------------------


def test_log_and_live_output_join_without_gap_and_without_repetition(daemon: Daemon):
    with talkative(daemon) as container:
        for _ in range(12):
            with daemon.api.attach(container, "logs=1&stream=1&stdout=1") as attached:
                first = check_row(daemon.api.logs(container))
                attached.read_until(b"\n%d\n" % (first + 2000))
                assert check_row(attached.seen) > first
        with daemon.api.attach(container, EVERYTHING) as attached:
            tell_to_stop(daemon, container)
            check_numbers(attached.read_all())
        assert daemon.api.wait(container) == CODE


def test_both_streams_join_without_gap_and_without_repetition(daemon: Daemon):
    script = "i=0; while [ ! -e /told/stop ]; do echo o$i; echo e$i >&2; i=$((i+1)); done; echo oend; echo eend >&2"
    with daemon.api.container("sh", "-c", script, Volumes={"/told": {}}) as container:
        wait_until(lambda: log_size(daemon, container) > 300_000, "some output")
        with daemon.api.attach(container, EVERYTHING) as attached:
            attached.read_until(b"\no30000\n")
            tell_to_stop(daemon, container)
            lines = attached.read_all().splitlines(keepends=True)
        for stream in (b"o", b"e"):
            check_numbers(b"".join(line[1:] for line in lines if line.startswith(stream)))


def test_live_output_alone_begins_somewhere_and_then_misses_nothing(daemon: Daemon):
    with talkative(daemon) as container:
        with daemon.api.attach(container, "stream=1&stdout=1") as attached:
            attached.read_until(b"\n")
            wait_until(lambda: log_size(daemon, container) > 2_000_000, "some output")
            tell_to_stop(daemon, container)
            output = attached.read_all()
        check_numbers(output[output.index(b"\n") + 1 :], first=None)


def test_a_slow_client_that_wants_the_log_too_gets_it_whole(daemon: Daemon):
    with talkative(daemon) as container:
        wait_until(lambda: log_size(daemon, container) > 3_000_000, "some output")
        with slow_to_fill(daemon.api, container, "logs=1&stream=1&stdout=1") as slow:
            wait_until(lambda: log_size(daemon, container) > 12_000_000, "more output than is kept for a client")
            tell_to_stop(daemon, container)
            assert daemon.api.wait(container) == CODE
            check_numbers(rest_of(slow))


# -- rotation ---------------------------------------------------------------------------------------------------------


def test_a_follower_hears_every_line_of_a_log_that_is_rotated_and_stays_small(small_log: Daemon):
    lines = 1_000_000
    container = small_log.api.create("sh", "-c", f"seq 0 {lines - 1}; echo end")
    with small_log.api.attach(container) as attached:
        small_log.api.start(container)
        sizes, pieces = [], []
        while piece := attached.socket.recv(2**18):
            pieces.append(piece)
            with contextlib.suppress(FileNotFoundError):  # rotated away as we looked
                sizes.append(log_size(small_log, container))
        assert check_numbers(b"".join(pieces)) == lines
    assert max(sizes) <= 3 * SMALL_LOG
    kept = small_log.api.logs(container)
    assert check_numbers(kept[kept.index(b"\n") + 1 :], first=None) > 1000
    assert len(kept) <= 2 * SMALL_LOG
    small_log.api.remove(container)


def test_who_joins_a_rotating_log_hears_every_line_from_where_it_begins(small_log: Daemon):
    with talkative(small_log) as container:
        wait_until(lambda: log_size(small_log, container) > SMALL_LOG, "a log of two files")
        for _ in range(10):
            with small_log.api.attach(container, "logs=1&stream=1&stdout=1") as attached:
                seen = b""
                while len(seen) < 4 * SMALL_LOG:
                    seen += attached.socket.recv(2**16)
                check_row(seen[seen.index(b"\n") + 1 :], first=None)
        tell_to_stop(small_log, container)
        assert small_log.api.wait(container) == CODE
        assert small_log.api.logs(container).endswith(LAST)
