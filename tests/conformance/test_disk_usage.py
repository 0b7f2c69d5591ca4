"""``trioker.pyz df`` and what it adds up, for real."""

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from api_client import Api
from build_yard import BUILT, context
from busybox import small_tar
from daemon import Daemon

pytestmark = pytest.mark.root


def df(daemon: Daemon, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(daemon.directory / "trioker.pyz"), "df", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def sizes(api: Api) -> tuple[int, int]:
    """Bytes of all layers, and of what only a build would miss, as far as the daemon tells."""
    told = api.ok("GET", "/system/df")
    return told["LayersSize"], sum(each["Size"] for each in told["BuildCache"])


@pytest.fixture
def megabyte(api: Api) -> Iterator[str]:
    """An image of a million bytes."""
    api.import_image(small_tar(data=bytes(10**6)), "megabyte")
    yield "megabyte"
    api.ok("DELETE", "/images/megabyte")


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_it_shows_a_table_of_the_daemon_it_is_pointed_at(daemon: Daemon, transport: str) -> None:
    address = f"unix://{daemon.socket}" if transport == "unix" else f"tcp://127.0.0.1:{daemon.port}"
    done = df(daemon, "-v", "-H", address)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r"TYPE +TOTAL +ACTIVE +SIZE +RECLAIMABLE\nImages +\d+ +\d+ +[\d.]+ [kM]?B ", done.stdout)
    assert re.search(r"^base:latest +[0-9a-f]{12} ", done.stdout, re.MULTILINE)


def test_an_image_that_two_names_and_a_child_show_counts_once(api: Api, megabyte: str) -> None:
    before, _ = sizes(api)
    api.ok("POST", f"/images/{megabyte}/tag?repo=again")
    with api.container("none", image=megabyte, start=False) as container:
        child = api.ok("POST", f"/commit?container={container}&repo=child")["Id"]
        told = api.ok("GET", "/system/df")
        rows: dict[str, Any] = {name: each for each in told["Images"] for name in each["RepoTags"]}
        assert told["LayersSize"] == before
        assert rows["again:latest"] == rows["megabyte:latest"]
        assert rows["megabyte:latest"]["SharedSize"] == rows["child:latest"]["SharedSize"] == 10**6
        assert rows["megabyte:latest"]["Containers"] == 1
        assert rows["child:latest"]["Id"].startswith(child)
    for name in ("child", "again"):
        api.ok("DELETE", f"/images/{name}")


def test_what_a_container_wrote_is_its_own(api: Api) -> None:
    with api.container("sh", "-c", "head -c 100000 /dev/zero > /written") as container:
        assert api.wait(container) == 0
        (row,) = [each for each in api.ok("GET", "/system/df")["Containers"] if each["Id"].startswith(container)]
        assert row["SizeRw"] == 100000
        assert row["State"] == "exited"


def test_a_build_without_a_name_is_cache(api: Api) -> None:
    total, cached = sizes(api)
    text = api.ok("POST", "/build", context("FROM base\nRUN head -c 50000 /dev/zero > /built\n")).decode()
    built = BUILT.search(text)
    assert built, text
    assert sizes(api) == (total + 50000, cached + 50000)
    api.ok("DELETE", f"/images/{built[1]}")
    assert sizes(api) == (total, cached)
