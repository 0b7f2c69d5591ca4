"""What a store promises when its daemon is killed, told to stop, started twice or with another driver, and when its disk is full."""

import contextlib
import os
import random
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import pytest
from api_client import Api, dial
from busybox import busybox_tar, small_tar
from daemon import Daemon, control_groups, processes, running_daemon
from host_state import bytes_below, is_alive, parent_of, paths_below
from numbered import check_row
from polling import PATIENCE, wait_until

pytestmark = pytest.mark.root

MIB = 2**20
NO_ROOM = "No space left on device"
UPLOAD = (
    f"POST /v1.2/images/create?fromSrc=-&repo=half HTTP/1.1\r\nHost: \r\nContent-Length: {64 * MIB}\r\n\r\n".encode()
)


@pytest.fixture
def daemon(pyz: Path, tmp_path: Path) -> Iterator[Daemon]:
    with running_daemon(pyz, tmp_path / "place") as daemon:
        yield daemon


@pytest.fixture(autouse=True)
def _place(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()


def refusal(daemon: Daemon) -> str:
    """What a daemon says that does not start."""
    done = subprocess.run(daemon.command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def other_daemon(pyz: Path, directory: Path, root: Path, *flags: str) -> Daemon:
    """One with a place of its own, but for its root."""
    directory.mkdir()
    other = Daemon(pyz, directory, *flags)
    other.root = root
    return other


# -- uploads ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def half_upload(daemon: Daemon) -> Iterator[socket.socket]:
    """An upload of which half has come, and is on the disk at least in part."""
    before = bytes_below(daemon.root)
    tar = small_tar(big=os.urandom(63 * MIB))
    with dial(daemon.api.address) as connected:
        connected.sendall(UPLOAD + tar[: 32 * MIB])
        wait_until(lambda: bytes_below(daemon.root) > before + 8 * MIB, "a layer that grows")
        yield connected


def test_a_daemon_killed_amid_an_upload_leaves_nothing_of_it(daemon: Daemon):
    daemon.api.import_image(busybox_tar(), "base")
    before = paths_below(daemon.root / "storage")
    with half_upload(daemon):
        daemon.kill()
        wait_until(lambda: not processes(daemon), "the end of the launcher's processes")
    daemon.start()
    assert [row["Repository"] for row in daemon.api.ok("GET", "/images/json?all=1")] == ["base"]
    assert paths_below(daemon.root / "storage") == before
    assert daemon.api.run("echo", "well") == (0, b"well\n")


def test_a_client_that_hangs_up_amid_an_upload_leaves_nothing_of_it(daemon: Daemon):
    before = paths_below(daemon.root / "storage")
    with half_upload(daemon):
        pass
    wait_until(lambda: paths_below(daemon.root / "storage") == before, "an empty storage")
    assert daemon.api.ok("GET", "/images/json?all=1") == []


def test_an_upload_whose_launcher_is_killed_ends_in_a_word_or_an_image(daemon: Daemon):
    daemon.api.import_image(busybox_tar(), "base")
    before = paths_below(daemon.root / "storage")
    with half_upload(daemon) as connected:
        for pid, name in processes(daemon).items():
            if name == "trioker-unpack":
                with contextlib.suppress(ProcessLookupError):  # one of it goes with another
                    os.kill(pid, 9)
        with contextlib.suppress(ConnectionError):
            connected.sendall(bytes(32 * MIB))
        assert b"helper" in connected.recv(4096)
    wait_until(lambda: paths_below(daemon.root / "storage") == before, "storage as before")
    assert daemon.api.run("echo", "well") == (0, b"well\n")


def import_until_gone(api: Api, promised: dict[str, bytes], prefix: str) -> None:
    """A client that imports one image after the other; ``promised`` has those that were acknowledged."""
    with contextlib.suppress(OSError, HTTPException):
        for number in range(1000):
            name, content = f"{prefix}-{number}", os.urandom(50_000)
            api.import_image(small_tar(content=content), name)
            promised[name] = content


def test_killed_again_and_again_it_has_every_image_it_acknowledged(daemon: Daemon):
    choose = random.Random(8)
    promised: dict[str, bytes] = {}
    for life in range(8):
        with ThreadPoolExecutor(2) as clients:
            work = [clients.submit(import_until_gone, daemon.api, promised, f"{life}-{each}") for each in range(2)]
            threading.Event().wait(choose.uniform(0.05, 0.4))
            daemon.kill()
            for each in work:
                each.result()
        daemon.start()
        tags = {row["Repository"]: row["Id"] for row in daemon.api.ok("GET", "/images/json")}
        assert promised.keys() <= tags.keys()
    assert promised
    for name, content in promised.items():
        with daemon.api.container("anything", image=name, start=False) as container:
            assert content in daemon.api.ok("GET", f"/containers/{container}/export")
    for row in daemon.api.ok("GET", "/images/json?all=1"):
        daemon.api.ok("DELETE", f"/images/{row['Repository']}")
    assert bytes_below(daemon.root / "storage") < MIB


# -- stopping ---------------------------------------------------------------------------------------------------------


def test_sigterm_leaves_containers_running_for_the_next_daemon(daemon: Daemon):
    daemon.api.import_image(busybox_tar(), "base")
    container = daemon.api.create("sh", "-c", "read line; echo $line; exit 4", OpenStdin=True)
    daemon.api.start(container)
    with daemon.api.attach(container) as attached:
        before = daemon.api.inspect(container)
        assert daemon.stop() == 0
        assert attached.read_all() == b""
    assert is_alive(before["State"]["Pid"])
    daemon.start()
    assert daemon.api.inspect(container) == before
    with daemon.api.attach(container, "stream=1&stdin=1&stdout=1") as attached:
        attached.send(b"still there\n")
        assert attached.read_all() == b"still there\n"
    assert daemon.api.wait(container) == 4


def test_a_daemon_that_stops_with_nothing_running_leaves_no_file_in_its_exec_root(daemon: Daemon):
    daemon.api.import_image(busybox_tar(), "base")
    container = daemon.api.create("true")
    daemon.api.start(container)
    daemon.api.wait(container)
    assert daemon.stop() == 0
    assert not daemon.exec_root.exists()
    assert not processes(daemon)
    daemon.start()
    assert daemon.api.inspect(container)["State"]["ExitCode"] == 0


# -- two daemons, two drivers -----------------------------------------------------------------------------------------


def test_a_second_daemon_on_one_root_is_refused_and_the_first_not_disturbed(pyz: Path, daemon: Daemon, tmp_path: Path):
    (tmp_path / "link").symlink_to(daemon.root)
    for number, root in enumerate((daemon.root, tmp_path / "link")):
        said = refusal(other_daemon(pyz, tmp_path / f"other{number}", root))
        assert "another trioker daemon is running" in said
        assert str(root) in said
    assert daemon.api.import_image(busybox_tar(), "base")
    assert daemon.api.run("echo", "well") == (0, b"well\n")


def test_a_second_daemon_on_the_sockets_of_the_first_is_refused(pyz: Path, daemon: Daemon, tmp_path: Path):
    other = other_daemon(pyz, tmp_path / "other", tmp_path / "other" / "root")
    other.socket = daemon.socket
    assert str(daemon.socket) in refusal(other)
    assert daemon.api.ok("GET", "/images/json") == []


def test_two_daemons_may_share_an_exec_root(pyz: Path, daemon: Daemon, tmp_path: Path):
    (tmp_path / "second").mkdir()
    daemon.api.import_image(busybox_tar(), "base")
    with daemon.api.container("sleep", "1000") as container:
        with running_daemon(pyz, tmp_path / "second", "--exec-root", str(daemon.exec_root)) as second:
            second.api.import_image(busybox_tar(), "base")
            assert second.api.run("echo", "second") == (0, b"second\n")
            assert second.api.ok("GET", "/containers/json?all=1") == []
        assert daemon.api.inspect(container)["State"]["Running"]
        assert daemon.api.run("echo", "first") == (0, b"first\n")


def test_data_of_one_driver_is_refused_by_another_and_taken_without_being_named(daemon: Daemon):
    daemon.api.import_image(busybox_tar(), "base")
    daemon.stop()
    made_by = next(name for name in ("overlay", "vfs") if (daemon.root / "storage" / name).exists())
    other = {"overlay": "vfs", "vfs": "overlay"}[made_by]
    daemon.flags = ("-s", other)
    said = refusal(daemon)
    assert f"'{made_by}'" in said
    assert f"'{other}'" in said
    daemon.flags = ()
    daemon.start()
    assert daemon.api.run("echo", "well") == (0, b"well\n")


def test_a_driver_that_does_not_exist_is_refused_by_name(pyz: Path, tmp_path: Path):
    assert "no-such-driver" in refusal(Daemon(pyz, tmp_path / "place", "-s", "no-such-driver"))


def test_vfs_carries_a_whole_life(pyz: Path, tmp_path: Path):
    with running_daemon(pyz, tmp_path / "place", "-s", "vfs") as daemon:
        api = daemon.api
        api.import_image(busybox_tar(), "base")
        before = paths_below(daemon.root / "storage")
        container = api.create(
            "sh", "-c", "echo new > /new; rm /etc/motd; echo more >> /etc/passwd; read line; exit 3", OpenStdin=True
        )
        api.start(container)
        wait_until(lambda: len(api.ok("GET", f"/containers/{container}/changes")) >= 3, "the changes")
        daemon.kill()
        daemon.start()
        with api.attach(container, "stream=1&stdin=1") as attached:
            attached.send(b"\n")
            attached.read_all()
        assert api.wait(container) == 3
        changes = {row["Path"]: row["Kind"] for row in api.ok("GET", f"/containers/{container}/changes")}
        assert changes.items() >= {"/new": 1, "/etc/motd": 2, "/etc/passwd": 0}.items()
        assert b"new\n" in api.ok("GET", f"/containers/{container}/export")
        api.ok("DELETE", f"/containers/{container}")
        assert paths_below(daemon.root / "storage") == before
        api.ok("DELETE", "/images/base")
        assert bytes_below(daemon.root / "storage") < MIB


# -- a full disk ------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(pyz: Path, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon whose root is a disk of 48 MiB of its own, which nobody else sees."""
    disk, root = tmp_path / "disk", tmp_path / "place" / "root"
    root.mkdir()
    with disk.open("wb") as file:
        file.truncate(48 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-J", "size=4", disk], check=True)
    enter = f'mount -o loop "{disk}" "{root}" && exec "$@"'
    with running_daemon(pyz, tmp_path / "place", prefix=("unshare", "-m", "sh", "-ec", enter, "sh")) as daemon:
        daemon.api.import_image(busybox_tar(), "base")
        yield daemon


def answer_to_upload(daemon: Daemon, tar: bytes) -> str:
    """What the daemon says of an upload, which it need not read to its end."""
    with dial(daemon.api.address) as connected:
        with contextlib.suppress(BrokenPipeError):
            connected.sendall(UPLOAD + tar)
        return connected.recv(4096).decode()


def own_root(daemon: Daemon) -> Path:
    """The root as the daemon sees it."""
    return Path(f"/proc/{daemon.pid}/root{daemon.root}")


def room(daemon: Daemon) -> int:
    return shutil.disk_usage(own_root(daemon)).free


def test_an_import_that_does_not_fit_says_so_and_leaves_nothing(small_disk: Daemon):
    api = small_disk.api
    before = paths_below(own_root(small_disk) / "storage")
    for _ in range(2):
        assert NO_ROOM in answer_to_upload(small_disk, small_tar(big=bytes(63 * MIB)))
        assert paths_below(own_root(small_disk) / "storage") == before
    assert [row["Repository"] for row in api.ok("GET", "/images/json")] == ["base"]
    assert api.import_image(small_tar(small=bytes(MIB)), "small")
    assert api.run("echo", "well") == (0, b"well\n")


@contextlib.contextmanager
def disk_filled(daemon: Daemon) -> Iterator[str]:
    """By a container that still runs; its id."""
    fill = "dd if=/dev/zero of=/fill bs=64k; dd if=/dev/zero of=/rest bs=1; read line"
    container = daemon.api.create("sh", "-c", fill, OpenStdin=True)
    daemon.api.start(container)
    wait_until(lambda: room(daemon) < 16_384, "a full disk")
    yield container


def test_with_a_full_disk_what_runs_goes_on_and_removing_makes_room(small_disk: Daemon):
    api = small_disk.api
    talker = api.create("sh", "-c", "read line; seq 1 200000; exit 5", OpenStdin=True)
    api.start(talker)
    before = paths_below(own_root(small_disk))
    with disk_filled(small_disk) as filler:
        with api.attach(talker, "stream=1&stdin=1&stdout=1") as attached:
            attached.send(b"\n")
            assert check_row(attached.read_all(), first=1) == 200_000
        assert api.wait(talker) == 5
        refused = api.call("POST", "/containers/create", {"Image": "base", "Cmd": ["true"], "Volumes": {"/data": {}}})
        assert NO_ROOM in refused.text or "full" in refused.text
        assert api.inspect(filler)["State"]["Running"]
        api.remove(filler)
    assert room(small_disk) > 20 * MIB
    assert paths_below(own_root(small_disk)) == before
    assert api.run("echo", "well") == (0, b"well\n")
    assert api.inspect(talker)["State"]["ExitCode"] == 5
    assert not control_groups([filler])


def test_a_daemon_that_was_killed_with_a_full_disk_starts_again(small_disk: Daemon):
    with disk_filled(small_disk) as filler:
        pid = small_disk.api.inspect(filler)["State"]["Pid"]
        small_disk.kill()
        # Into the mounts that the container's monitor has kept: a fresh mount namespace would not know them.
        small_disk.prefix = ("nsenter", "-m", "-t", str(parent_of(pid)))
        small_disk.start()
        assert small_disk.api.inspect(filler)["State"]["Running"]
        small_disk.api.remove(filler)
    assert small_disk.api.run("echo", "well") == (0, b"well\n")
