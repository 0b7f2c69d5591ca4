"""After any number of containers the host is as it was: mounts, control groups, links, processes, descriptors, files."""

import contextlib
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from api_client import dial
from busybox import busybox_tar, small_tar
from daemon import Daemon, control_groups, launcher_of, processes, running_daemon
from host_state import bytes_below, descriptors, links, mount_table, paths_below, processes_with
from polling import wait_until

pytestmark = pytest.mark.root

CLIENTS = 4
SPARE = 6 * 2**20
"""Bytes that SQLite's journal may have grown by."""


class Host(NamedTuple):
    """What must be equal before and after."""

    mounts: list[str]
    daemon_mounts: list[str]
    links: set[str]
    processes: int
    descriptors: Counter[str]
    launcher_descriptors: Counter[str]
    files: set[str]
    others: set[str]


class Watched(NamedTuple):
    """A daemon, a mark in the environment of its containers, and its folder for temporary files."""

    daemon: Daemon
    mark: str
    temporary: Path

    def host(self) -> Host:
        daemon = self.daemon
        return Host(
            mounts=mount_table(),
            daemon_mounts=Path(f"/proc/{daemon.pid}/mountinfo").read_text().splitlines(),
            links=links(),
            processes=len(processes(daemon)),
            descriptors=descriptors(daemon.pid),
            launcher_descriptors=descriptors(launcher_of(daemon)),
            files=paths_below(daemon.root, daemon.exec_root),
            others={*paths_below(self.temporary), *os.listdir("/dev/shm")},
        )

    def settled(self) -> Host:
        """The host when the launcher has made itself ready for the next container."""
        seen = [self.host()]

        def same_again() -> bool:
            seen.append(self.host())
            return len(seen) > 5 and seen[-1] == seen[-5]

        wait_until(same_again, "a host that is quiet")
        return seen[-1]

    def create(self, *command: str, **config: object) -> str:
        return self.daemon.api.create(*command, Env=[self.mark], **config)

    def remove(self, container: str) -> None:
        self.daemon.api.remove(container)

    def live(self, *command: str, **config: object) -> tuple[str, int]:
        """Id and exit code of a container that was created, started, waited for and removed."""
        container = self.create(*command, **config)
        self.daemon.api.start(container)
        code = self.daemon.api.wait(container)
        self.daemon.api.ok("DELETE", f"/containers/{container}?v=1")
        return container, code


@pytest.fixture(scope="module")
def watched(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """After a first container: what a daemon makes once for all is there."""
    temporary = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(temporary))
        with running_daemon(pyz, tmp_path_factory.mktemp("leaks")) as daemon:
            daemon.api.import_image(busybox_tar(), "base")
            watched = Watched(daemon, f"MARK={uuid.uuid4()}", temporary)
            watched.live("true", Volumes={"/data": {}})
            yield watched


@contextlib.contextmanager
def same_host(watched: Watched) -> Iterator[None]:
    """After the block all is as before. Soon: a removal does not wait for a monitor's last instructions, nor for connections to close."""
    before = watched.settled()
    yield
    with contextlib.suppress(AssertionError):
        wait_until(lambda: watched.host() == before, "a host as before", patience=5)
    assert watched.host() == before


@contextlib.contextmanager
def nothing_left(watched: Watched) -> Iterator[list[str]]:
    """Containers whose ids the block puts into the list leave no trace."""
    ids: list[str] = []
    size = bytes_below(watched.daemon.root)
    with same_host(watched):
        yield ids
    assert not control_groups(ids)
    assert not processes_with(watched.mark)
    assert bytes_below(watched.daemon.root) < size + SPARE


def at_once(act: Callable[[int], str], count: int, clients: int) -> list[str]:
    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(act, range(count)))


def test_five_hundred_lives_leave_nothing(watched: Watched):
    def live(number: int) -> str:
        container, code = watched.live(
            "sh", "-c", f"echo {number} > /data/file; exit {number % 100}", Volumes={"/data": {}}
        )
        assert code == number % 100
        return container

    with nothing_left(watched) as ids:
        ids.extend(at_once(live, 500, CLIENTS))
        assert len(set(ids)) == 500


def test_sixty_four_at_the_same_time_leave_nothing(watched: Watched):
    api = watched.daemon.api

    def begin(_: int) -> str:
        container = watched.create("sh", "-c", "sleep 1000 & wait")
        api.start(container)
        return container

    with nothing_left(watched) as ids:
        ids.extend(at_once(begin, 64, 64))
        assert len(api.ok("GET", "/containers/json")) == 64
        assert len(control_groups(ids)) >= 64
        at_once(lambda number: watched.remove(ids[number]), 64, 64)


def test_starts_that_fail_leave_nothing(watched: Watched):
    failing = (
        {"command": "no-such-command"},
        {"command": "/etc"},
        {"command": "true", "User": "nobody-knows"},
        {"command": "true", "Volumes": {"/proc/self": {}}},
        {"command": "true", "Volumes": {"/sys/kernel": {}}},
        {"command": "true", "VolumesFrom": "0000"},
    )

    def fail(number: int) -> str:
        wanted = dict(failing[number % len(failing)])
        container = watched.create(str(wanted.pop("command")), **wanted)
        assert watched.daemon.api.call("POST", f"/containers/{container}/start").status >= 400
        watched.remove(container)
        return container

    with nothing_left(watched) as ids:
        ids.extend(at_once(fail, 60, CLIENTS))


def test_clients_that_go_away_leave_nothing(watched: Watched):
    running = watched.create("cat", OpenStdin=True)
    requests = (
        f"POST /containers/{running}/wait HTTP/1.1\r\nHost: \r\n\r\n",
        f"POST /containers/{running}/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: \r\n\r\nhello",
        f"POST /containers/{running}/attach?logs=1&stream=1&stdout=1 HTTP/1.1\r\nHost: \r\n\r\n",
        f"GET /containers/{running}/export HTTP/1.1\r\nHost: \r\n\r\n",
        "POST /images/create?fromSrc=- HTTP/1.1\r\nHost: \r\nTransfer-Encoding: chunked\r\n\r\n8\r\nabcd",
        "POST /containers/create HTTP/1.1\r\nHost: \r\nContent-Length: 100\r\n\r\n{",
        "GET /version HTT",
    )

    def vanish(number: int) -> str:
        with dial(watched.daemon.api.address) as connected:
            connected.sendall(requests[number % len(requests)].encode())
        return ""

    watched.daemon.api.start(running)
    with same_host(watched):
        at_once(vanish, 140, CLIENTS)
    assert watched.daemon.api.inspect(running)["State"]["Running"]
    watched.remove(running)


def test_images_that_are_refused_or_removed_leave_nothing(watched: Watched):
    api = watched.daemon.api

    def come_and_go(number: int) -> str:
        assert api.call("POST", "/images/create?fromSrc=-", os.urandom(20_000)).status >= 400
        api.import_image(small_tar(file=b"x" * 10_000), f"passing{number}")
        api.ok("DELETE", f"/images/passing{number}")
        return ""

    with nothing_left(watched):
        at_once(come_and_go, 24, CLIENTS)
