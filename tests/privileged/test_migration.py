"""``migrate``: a store is carried from driver to driver, whatever interrupts it, and nobody who looks at it sees a difference."""

import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_client import Api
from btrfs_disk import MIB, btrfs_disk, mounted
from busybox import busybox_tar
from daemon import Daemon, mounts, processes, running_daemon
from polling import PATIENCE, deadline, wait_until

pytestmark = pytest.mark.root

TEST_WITHIN = 180
"""Seconds."""
IDLE = 6
"""Further containers."""
LAYERS = 5 + IDLE

LAYER = r"""set -e
cd /data
rm gone; rm -r lost
rm -r again; mkdir again; echo new > again/new
echo more >> both/one
ln linked elsewhere; rm linked2
chmod 4755 tool; chown 1000:50 owned
mv old-name new-name
printf 'odd' > "$(printf 'line\nbreak-\377')"
mkfifo pipe; mknod null c 1 3
dd if=/dev/zero of=sparse bs=1 count=1 seek=20000000 2>/dev/null
rm kind; mkdir kind; rm -r folder; ln -s /etc folder
"""
# Drivers agree about these. Where overlay alone has copied a file, or its directory, though all stat tells is as before, it alone says "modified".
CONTAINER = r"""cd /data
rm both/one; ln both/two both/three; touch both/two; ln stays stays2; touch stays
rm -r again; mkdir again
touch tool
echo x > /etc/motd; rm /etc/group /bin/yes; mkdir -p /a/b/c; echo deep > /a/b/c/d
ln /a/b/c/d /a/e
dd if=/dev/urandom of=/random bs=1M count=3 2>/dev/null
"""


def image_tar() -> bytes:
    """Busybox, and a directory with what layers above will change."""
    buffer = io.BytesIO(busybox_tar())
    with tarfile.open(fileobj=buffer, mode="a") as tar:

        def add(name: str, content: bytes = b"", **fields: object) -> None:
            member = tarfile.TarInfo(f"data/{name}")
            member.size, member.mode, member.mtime = len(content), 0o644, 1_500_000_000.123456789
            for key, value in fields.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(content))

        for each in ("", "lost", "again", "both", "folder"):
            add(each, type=tarfile.DIRTYPE, mode=0o755)
        for each in (
            "gone",
            "lost/a",
            "again/a",
            "again/new",
            "both/one",
            "linked",
            "tool",
            "owned",
            "old-name",
            "kind",
            "stays",
        ):
            add(each, each.encode() * 100)
        add("both/two", type=tarfile.LNKTYPE, linkname="data/both/one")
        add("linked2", type=tarfile.LNKTYPE, linkname="data/linked")
        add("marked", b"x", pax_headers={"SCHILY.xattr.user.colour": "red", "mtime": "1500000000.123456789"})
        add(
            "capable",
            b"x",
            mode=0o755,
            pax_headers={"SCHILY.xattr.security.capability": "\x01\0\0\x02\0\x04" + "\0" * 14},
        )
    return buffer.getvalue()


def populate(api: Api) -> None:
    """Images on images, and containers with changes of every kind."""
    api.import_image(image_tar(), "base")
    maker = api.create("sh", "-c", LAYER)
    api.start(maker)
    assert api.wait(maker) == 0, api.logs(maker)
    api.ok("POST", f"/commit?container={maker}&repo=made")
    api.remove(maker)
    for image in ("made", "base"):
        changed = api.create("sh", "-c", CONTAINER, image=image)
        api.start(changed)
        api.wait(changed)
    api.create("true", image="made")


def add_idle(api: Api) -> None:
    """Layers enough for what a test does in the midst of a move not to come too late."""
    for _ in range(IDLE):
        api.create("true", image="made")


def look(api: Api) -> dict[str, object]:
    """All that a client can see of a store that should not change."""
    seen: dict[str, object] = {"images": api.ok("GET", "/images/json?all=1")}
    for row in api.ok("GET", "/images/json?all=1"):
        seen[row["Id"]] = api.ok("GET", f"/images/{row['Id']}/json")
        seen[f"history {row['Id']}"] = api.ok("GET", f"/images/{row['Id']}/history")
    for row in api.ok("GET", "/containers/json?all=1"):
        each = row["Id"]
        seen[each] = api.ok("GET", f"/containers/{each}/json")
        for change in api.ok("GET", f"/containers/{each}/changes"):
            seen[f"change {each} {change['Path']}"] = change["Kind"]
        seen[f"export {each}"] = hashlib.sha256(api.ok("GET", f"/containers/{each}/export")).hexdigest()
    return seen


def different(seen: dict[str, object], before: dict[str, object]) -> list[tuple[str, object, object]]:
    """What differs, and how."""
    keys = sorted(seen.keys() | before.keys())
    return [(key, seen.get(key), before.get(key)) for key in keys if seen.get(key) != before.get(key)]


@pytest.fixture(autouse=True)
def no_test_hangs() -> Iterator[None]:
    with deadline(TEST_WITHIN):
        yield


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with btrfs_disk(tmp_path, 768 * MIB) as place:
        (place / "daemon").mkdir()  # whose mounts are counted at the end
        yield place / "daemon"


def start_migration(daemon: Daemon, to: str, *flags: str) -> "subprocess.Popen[str]":
    command = [sys.executable, daemon.directory / "trioker.pyz", "migrate", "--to", to, "-g", daemon.root, *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def migrate(daemon: Daemon, to: str, *flags: str) -> tuple[int, str]:
    """Exit status and all output."""
    process = start_migration(daemon, to, *flags)
    said, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, said


def cut_short(daemon: Daemon, to: str, number: int, after: str, wait: float = 0.0, *flags: str) -> list[str]:
    """Send a migration a signal ``wait`` seconds after the line that holds ``after``; what it has said. It has left no process or mount."""
    with start_migration(daemon, to, *flags) as process:
        assert process.stdout
        said = []
        while not said or after not in said[-1]:
            said.append(process.stdout.readline())
            assert said[-1], said
        time.sleep(wait)  # whatever it does then
        process.send_signal(number)
        said += process.stdout
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number), said
    wait_until(lambda: not processes(daemon), "the end of the launcher and the helpers")
    assert mounts(daemon) == []
    return said


def stored(daemon: Daemon) -> list[str]:
    return sorted(os.listdir(daemon.root / "storage"))


def test_a_store_goes_round_all_drivers_and_nobody_sees_a_difference(pyz: Path, disk: Path):
    with running_daemon(pyz, disk, "-s", "overlay") as daemon:
        populate(daemon.api)
        before = look(daemon.api)
        daemon.flags = ()
        for driver in ("vfs", "btrfs", "overlay2"):
            daemon.stop()
            status, said = migrate(daemon, driver)
            assert status == 0, said
            name = driver.removesuffix("2")
            assert said.splitlines()[-1].endswith(f" to {name}")
            assert stored(daemon) == sorted(["driver", "lock", name])
            daemon.start()
            assert different(look(daemon.api), before) == [], driver
            assert daemon.api.run("cat", "/data/again/new", image="made") == (0, b"new\n")


def test_killed_again_and_again_it_goes_on_from_where_it_was(pyz: Path, tmp_path: Path):
    with running_daemon(pyz, tmp_path, "-s", "vfs") as daemon:
        populate(daemon.api)
        add_idle(daemon.api)
        daemon.flags = ()
        daemon.stop()
        moved: list[str] = []
        for _ in range(3):
            said = cut_short(daemon, "overlay", signal.SIGKILL, "Moved", random.uniform(0, 0.1))
            moved += [line.partition(":")[0] for line in said]
        assert len(moved) == len(set(moved)) >= 3, "a layer is moved once"
        assert (daemon.root / "storage/driver").read_text() == "vfs\n"
        daemon.start()
        changed = daemon.api.ok("GET", "/containers/json?all=1")[-1]["Id"]
        daemon.api.start(changed)
        daemon.api.wait(changed)
        before = look(daemon.api)
        daemon.stop()
        cut_short(daemon, "overlay", signal.SIGKILL, f"1/{LAYERS} Removing")
        assert (daemon.root / "storage/driver").read_text() == "overlay\n"
        daemon.start()
        assert different(look(daemon.api), before) == []
        daemon.stop()
        assert migrate(daemon, "overlay")[0] == 0
        assert stored(daemon) == ["driver", "lock", "overlay"]
        daemon.start()
        assert different(look(daemon.api), before) == []


def test_an_interrupted_one_leaves_the_store_as_it_was_and_can_be_called_off(pyz: Path, tmp_path: Path):
    with running_daemon(pyz, tmp_path, "-s", "overlay") as daemon:
        populate(daemon.api)
        add_idle(daemon.api)
        before = look(daemon.api)
        daemon.stop()
        said = cut_short(daemon, "vfs", signal.SIGINT, "Moved")
        assert said[-1].startswith("Interrupted by SIGINT. The store is as it was")
        assert len(os.listdir(daemon.root / "storage/vfs")) == len([line for line in said if "Moved" in line])
        daemon.start()
        assert different(look(daemon.api), before) == []
        daemon.stop()
        status, text = migrate(daemon, "overlay")
        assert status == 0
        assert text.endswith("The layers are kept by storage driver overlay\n")
        assert stored(daemon) == ["driver", "lock", "overlay"]
        daemon.start()


def test_it_is_refused_while_anything_runs(pyz: Path, tmp_path: Path):
    with running_daemon(pyz, tmp_path, "-s", "overlay") as daemon:
        daemon.api.import_image(busybox_tar(), "base")
        with daemon.api.container("sleep", "600") as container:
            assert migrate(daemon, "vfs") == (1, f"another trioker daemon is running on {daemon.root}\n")
            daemon.kill()
            status, said = migrate(daemon, "vfs")
            assert status == 1
            assert said.startswith(f"running containers cannot be moved: {container}. ")
            daemon.start()
        assert stored(daemon) == ["driver", "lock", "overlay"]


def test_a_daemon_with_another_driver_says_how_to_move_and_both_copies_may_stay(pyz: Path, tmp_path: Path):
    with running_daemon(pyz, tmp_path, "-s", "overlay") as daemon:
        daemon.api.import_image(busybox_tar(), "base")
        daemon.stop()
        daemon.flags = ("-s", "vfs")
        with pytest.raises(AssertionError, match=f"trioker.pyz migrate --to vfs -g {daemon.root}"):
            daemon.start()
        assert migrate(daemon, "vfs", "--keep")[0] == 0
        assert stored(daemon) == ["driver", "lock", "overlay", "vfs"]
        daemon.start()
        assert daemon.api.run("cat", "/etc/motd") == (0, b"hello from the image\n")


def test_a_full_disk_ends_it_and_harms_nothing_and_with_room_it_goes_on(pyz: Path, tmp_path: Path):
    image = tmp_path / "disk.img"
    with image.open("xb") as file:
        file.truncate(96 * MIB)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    with mounted(image, tmp_path / "disk") as disk:
        (disk / "daemon").mkdir()
        (disk / "ballast").write_bytes(bytes(25 * MIB))
        with running_daemon(pyz, disk / "daemon", "-s", "overlay") as daemon:
            daemon.api.import_image(busybox_tar(), "base")
            container = daemon.api.create("dd", "if=/dev/urandom", "of=/big", "bs=1M", "count=30")
            daemon.api.start(container)
            daemon.api.wait(container)
            before = look(daemon.api)
            daemon.stop()
            status, said = migrate(daemon, "vfs")
            assert status == 1
            assert f"layer {container[:12]} could not be moved" in said
            assert "No space left on device" in said
            assert f"{daemon.root}/storage/vfs has room for " in said
            assert "what is still to be moved, 1 layers, takes 31.5 MB or more" in said
            assert "The store is as it was" in said
            daemon.flags = ()
            daemon.start()
            assert different(look(daemon.api), before) == []
            daemon.stop()
            (disk / "ballast").unlink()
            assert migrate(daemon, "vfs")[0] == 0
            assert stored(daemon) == ["driver", "lock", "vfs"]
            daemon.start()
            assert different(look(daemon.api), before) == []


def test_what_a_driver_that_is_gone_had_begun_keeps_nobody_from_moving_elsewhere(pyz: Path, disk: Path):
    with running_daemon(pyz, disk, "-s", "overlay") as daemon:
        daemon.api.import_image(busybox_tar(), "base")
        daemon.stop()
        daemon.flags = ()
        layer = daemon.root / "storage/gone/layer"
        layer.mkdir(parents=True)
        subprocess.run(["btrfs", "subvolume", "create", layer / "tree"], check=True, stdout=subprocess.DEVNULL)
        (layer / "tree/file").touch()
        (daemon.root / "storage/migration").write_text(f"overlay gone\n{'a' * 64} sha256:1\n")
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", layer], check=True)
        status, said = migrate(daemon, "vfs")
        subprocess.run(["umount", layer], check=True)
        assert (status, f"storage/gone could not be removed ({layer} is mounted there): " in said) == (1, True), said
        status, said = migrate(daemon, "vfs")
        assert status == 0, said
        assert said.startswith(
            "gone: no storage driver 'gone'; there are: btrfs, overlay, vfs. Its directory is removed as files"
        )
        assert stored(daemon) == ["driver", "lock", "vfs"]
        daemon.start()
