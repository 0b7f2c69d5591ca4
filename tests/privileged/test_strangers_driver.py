"""``tests/plugin_example``, a driver of a distribution of its own: installed by pip beside an installed trioker, and in a folder beside the .pyz."""

import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from busybox import busybox_tar
from daemon import Daemon, running_daemon

from trioker.linux.trees import remove_tree

pytest.importorskip("hatchling", reason="this .venv is older than tests/requirements.txt")

pytestmark = pytest.mark.root

PROJECT = Path(__file__).parents[2]
EXAMPLE = PROJECT / "tests/plugin_example"


class Way(NamedTuple):
    """One way to have the driver."""

    program: Sequence[str | Path]
    python: Sequence[str | Path]
    """An interpreter, and what makes it import the same trioker."""
    flags: Sequence[str]


def run(*command: str | Path) -> str:
    """Its standard output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd="/", check=False)
    assert done.returncode == 0, done
    return done.stdout


def pip(*arguments: str | Path) -> None:
    run(sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check", "--no-cache-dir")


@pytest.fixture(scope="session")
def wheels(pyz, tmp_path_factory) -> Path:
    """A folder with trioker and the example as wheels, as their authors build them, and with those that trioker needs, which the .pyz has, too."""
    place = tmp_path_factory.mktemp("wheels")
    pip("wheel", "--no-index", "--no-build-isolation", "--no-deps", "--wheel-dir", place, PROJECT, EXAMPLE)
    for each in (PROJECT / ".cache/wheels").glob("*.whl"):
        (place / each.name).symlink_to(each)
    return place


@pytest.fixture(scope="session")
def installed(wheels, tmp_path_factory) -> Way:
    """A fresh environment with trioker and the example."""
    place = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", place)
    python = place / "bin/python"
    packages = ("trioker", "trioker-tmpfs-example")
    pip("--python", python, "install", "--no-index", "--find-links", wheels, *packages)
    return Way([place / "bin/trioker"], [python], [])


@pytest.fixture(scope="session")
def beside(pyz, wheels, tmp_path_factory) -> Way:
    """The .pyz, and a folder that pip put the example into."""
    folder = tmp_path_factory.mktemp("beside") / "drivers"
    pip("install", "--no-index", "--find-links", wheels, "--target", folder, "trioker-tmpfs-example")
    return Way([sys.executable, pyz], ["env", f"PYTHONPATH={pyz}", sys.executable], ["--driver-dir", str(folder)])


@pytest.fixture(params=["installed", "beside"])
def way(request) -> Way:
    return request.getfixturevalue(request.param)


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory on a tmpfs."""
    place = Path(tempfile.mkdtemp(prefix="trioker-test-", dir="/dev/shm"))
    yield place
    remove_tree(place)


def as_daemon_of(way: Way) -> Sequence[str]:
    """What puts the way's program in the place of the .pyz that the harness starts."""
    program = " ".join(f"'{each}'" for each in way.program)
    return ("sh", "-c", f'shift 2; exec {program} "$@"', "sh")


def driver_line(listing: str) -> str:
    return next(line for line in listing.splitlines() if line.startswith("tmpfs "))


def test_it_is_listed_with_its_package_and_says_where_it_works(way, memory, tmp_path):
    listing = run(*way.program, "drivers", "-g", memory, *way.flags)
    assert driver_line(listing).split()[:4] == ["tmpfs", "trioker-tmpfs-example", "1.0", "yes"]
    assert os.listdir(memory) == []
    elsewhere = driver_line(run(*way.program, "drivers", "-g", tmp_path / "not-made-yet", *way.flags))
    assert " no " in elsewhere
    assert "live in memory: give -g a directory on a tmpfs" in elsewhere


def test_it_keeps_the_contract(way, memory):
    told = run(*way.python, "-m", "trioker.testing.driver_suite", "tmpfs", "--root", memory, *way.flags)
    assert "FAILED" not in told
    assert " 0 failed, " in told.splitlines()[-1]
    assert os.listdir(memory) == []


def live(daemon: Daemon) -> None:
    api = daemon.api
    api.import_image(busybox_tar(), "base")
    container = api.create("sh", "-c", "echo new > /new; rm /etc/motd; cat /etc/hostname")
    api.start(container)
    assert api.wait(container) == 0
    changed = {(row["Path"], row["Kind"]) for row in api.ok("GET", f"/containers/{container}/changes")}
    assert changed == {("/etc", 0), ("/etc/motd", 2), ("/new", 1)}
    with tarfile.open(fileobj=io.BytesIO(api.call("GET", f"/containers/{container}/export").body)) as exported:
        names = {os.path.normpath(name) for name in exported.getnames()}
    assert {"new", "bin/busybox"} <= names
    assert "etc/motd" not in names
    api.ok("POST", f"/commit?container={container}&repo=made")
    api.remove(container)


def test_it_runs_containers_and_what_it_keeps_outlives_the_daemon(way, pyz, memory):
    with running_daemon(pyz, memory, "-s", "tmpfs", *way.flags, prefix=as_daemon_of(way)) as daemon:
        live(daemon)
        daemon.kill()
        daemon.start()
        assert daemon.api.run("cat", "/new", image="made") == (0, b"new\n")
        for image in ("made", "base"):
            daemon.api.call("DELETE", f"/images/{image}")
        assert os.listdir(memory / "root/storage/tmpfs") == []


def test_a_store_of_its_is_opened_with_it_though_nobody_says_so_again(beside, pyz, memory):
    with running_daemon(pyz, memory, "-s", "tmpfs", *beside.flags) as daemon:
        daemon.api.import_image(busybox_tar(), "base")
        daemon.stop()
        daemon.flags = tuple(beside.flags)
        daemon.start()
        assert daemon.api.run("cat", "/etc/motd")[0] == 0
        assert "storage driver tmpfs on" in daemon.log_text()


def test_where_there_is_no_tmpfs_it_refuses_in_one_line_that_names_the_place(beside, tmp_path):
    command = [*beside.program, "-d", "-H", f"unix://{tmp_path}/s", "-b", "none", "-g", tmp_path / "root"]
    flags = ["--exec-root", tmp_path / "exec", "-s", "tmpfs", *beside.flags]
    done = subprocess.run([*command, *flags], capture_output=True, timeout=60, check=False)
    line = done.stderr.decode().splitlines()[-1]
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert f"storage driver 'tmpfs' cannot work here: {tmp_path}/root/storage/tmpfs is on " in line


def test_who_follows_the_page_has_a_driver(pyz, memory):
    page = (PROJECT / "drivers/README.md").read_text()
    (steps,) = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (memory / "trioker.pyz").symlink_to(pyz)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_QUIET": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    done = subprocess.run(
        ["sh", "-eu"],
        input=steps,
        env={**os.environ, **offline, "PATH": path, "SOURCES": str(PROJECT)},
        cwd=memory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done
    assert ["mine", "my-driver", "1.0", "yes"] in [line.split()[:4] for line in done.stdout.splitlines()]
    assert "layers_stack ... ok" in done.stdout
    assert " 0 failed, " in done.stdout
