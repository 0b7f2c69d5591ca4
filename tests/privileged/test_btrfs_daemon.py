"""``-s btrfs`` through the whole daemon, on a disk of its own."""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from btrfs_disk import MIB, btrfs_disk
from build_yard import Yard
from busybox import busybox_tar
from daemon import running_daemon
from subids import FIRST, with_subids

pytestmark = pytest.mark.root


@pytest.fixture
def disk(tmp_path):
    with btrfs_disk(tmp_path, 512 * MIB) as place:
        (place / "daemon").mkdir()  # whose mounts are counted at the end
        yield place / "daemon"


def layers(directory: Path) -> list[str]:
    return os.listdir(directory / "root/storage/btrfs")


def test_a_life_on_btrfs_leaves_nothing(pyz: Path, disk: Path):
    with running_daemon(pyz, disk, "-s", "btrfs") as daemon:
        api = daemon.api
        api.import_image(busybox_tar(), "base")
        container = api.create("sh", "-c", "echo new > /new; rm /etc/motd; chmod 700 /tmp; cat /etc/hostname")
        api.start(container)
        assert api.wait(container) == 0
        changed = {(row["Path"], row["Kind"]) for row in api.ok("GET", f"/containers/{container}/changes")}
        assert changed == {("/etc", 0), ("/etc/motd", 2), ("/new", 1), ("/tmp", 0)}
        with tarfile.open(fileobj=io.BytesIO(api.call("GET", f"/containers/{container}/export").body)) as exported:
            names = {os.path.normpath(name) for name in exported.getnames()}
        assert {"new", "etc/hostname", "bin/busybox"} <= names
        assert "etc/motd" not in names
        api.ok("POST", f"/commit?container={container}&repo=made")
        assert api.run("cat", "/new", image="made") == (0, b"new\n")
        yard = Yard(api, "built")
        yard.build("FROM made\nRUN echo again >> /new && rm -r /var\nRUN test ! -e /var\n")
        assert yard.run("cat", "/new") == "new\nagain\n"
        daemon.stop()
        daemon.start()
        assert yard.run("cat", "/new") == "new\nagain\n"
        assert api.run("ls", "/etc/motd", image="base")[0] == 0
        api.remove(container)
        yard.remove()
        for name in ("made", "base"):
            api.call("DELETE", f"/images/{name}")
        assert layers(disk) == []


def test_a_hog_is_told_and_its_neighbours_and_the_daemon_go_on(pyz: Path, disk: Path):
    with running_daemon(pyz, disk, "-s", "btrfs", "--storage-opt", "size=24M") as daemon:
        api = daemon.api
        api.import_image(busybox_tar(), "base")
        write = "dd if=/dev/zero of=/big bs=1M count={0} conv=fsync 2>&1"
        status, output = api.run("sh", "-c", write.format(100))
        assert status != 0
        assert b"quota exceeded" in output, output
        assert api.run("sh", "-c", write.format(16))[0] == 0
        yard = Yard(api, "built")
        yard.build(f"FROM base\nRUN {write.format(16)}\nRUN {write.format(16).replace('/big', '/bigger')}\n")
        yard.run("sh", "-c", write.format(16).replace("/big", "/biggest"))


def test_what_has_filled_the_disk_can_be_removed(pyz: Path, tmp_path: Path):
    with btrfs_disk(tmp_path, 192 * MIB) as place:
        (place / "daemon").mkdir()
        with running_daemon(pyz, place / "daemon", "-s", "btrfs") as daemon:
            api = daemon.api
            api.import_image(busybox_tar(), "base")
            for _ in range(2):
                hog = api.create("sh", "-c", "dd if=/dev/urandom of=/big bs=1M conv=fsync 2>/dev/null || exit 3")
                api.start(hog)
                assert api.wait(hog) == 3
                api.remove(hog)
            assert api.run("dd", "if=/dev/zero", "of=/big", "bs=1M", "count=16")[0] == 0


def test_containers_whose_root_is_nobody_on_the_host_run_on_btrfs_too(pyz: Path, disk: Path, tmp_path: Path):
    with running_daemon(
        pyz, disk, "-s", "btrfs", "--userns-remap", "default", prefix=with_subids(tmp_path / "etc")
    ) as daemon:
        daemon.api.import_image(busybox_tar(), "base")
        container = daemon.api.create(
            "sh", "-c", "echo mine > /mine && stat -c %u /mine /etc/passwd; cat /proc/self/uid_map"
        )
        daemon.api.start(container)
        assert daemon.api.wait(container) == 0
        assert daemon.api.logs(container).split()[:4] == [b"0", b"0", b"0", str(FIRST).encode()]
        assert {"Path": "/mine", "Kind": 1} in daemon.api.ok("GET", f"/containers/{container}/changes")


def test_a_disk_that_is_no_btrfs_is_refused_by_name(pyz: Path):
    command = [sys.executable, pyz, "drivers", "-g", "/dev/shm"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (line,) = (line for line in told.splitlines() if line.startswith("btrfs "))
    assert line.endswith("  /dev/shm is not on a btrfs filesystem")
