"""Builds through the whole daemon: contexts that mean harm, and what is fetched from elsewhere."""

import gzip
import http.server
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from build_yard import BUILT, Yard, cached, context
from daemon import Daemon
from host_state import paths_below
from tars import Member, character_device, directory, fifo, file, hard_link, symlink, tar_of

pytestmark = pytest.mark.root

# -- hostile contexts -----------------------------------------------------------------------------------------------------------------------------


def with_dockerfile(dockerfile: str, *members: Member) -> bytes:
    return tar_of(file("Dockerfile", dockerfile.encode()), *members)


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ((file("../escape"),), "leads out of the context: entry ../escape"),
        ((file("a/../../escape"),), "leads out of the context"),
        ((hard_link("h", "../../etc/passwd"),), "leads out of the context"),
        ((hard_link("h", "nosuch"),), "h"),
        ((file("f"), file("f/below")), "is no directory"),
    ],
)
def test_entries_that_lead_out_are_refused_by_name(yard: Yard, members: tuple[Member, ...], text: str) -> None:
    assert text in yard.fail(with_dockerfile("FROM base\nCOPY . /c\n", *members))


def test_links_absolute_names_and_devices_of_a_context_stay_in_it(yard: Yard) -> None:
    tar = with_dockerfile(
        "FROM base\nCOPY . /c\nCOPY dir/../absolute /read\n",
        file("/absolute", b"inside"),
        symlink("link", "/etc/shadow"),
        directory("dir"),
        symlink("dir/up", "../../../../etc"),
        character_device("device", 1, 1),
        fifo("pipe"),
    )
    assert BUILT.search(yard.send(tar).text)
    assert (
        yard.run("sh", "-c", "cat /read; readlink /c/link; ls /c")
        == "inside/etc/shadow\nDockerfile\nabsolute\ndevice\ndir\nlink\npipe\n"
    )


@pytest.mark.parametrize("link", ["/etc/passwd", "../../../../../../etc/passwd", "loop"])
def test_a_link_is_followed_inside_the_context_only(yard: Yard, link: str) -> None:
    text = yard.fail(with_dockerfile("FROM base\nCOPY loop /x\n", symlink("loop", link)))
    assert "file not found in build context" in text
    tar = tar_of(symlink("Dockerfile", link), symlink("loop", "Dockerfile"))
    assert "Can't build a directory with no Dockerfile" in yard.fail(tar)


def test_a_bomb_ends_at_its_limit_and_leaves_nothing(yard: Yard, daemon: Daemon) -> None:
    zeros = gzip.compress(bytes(2**24), 9)
    head = tarfile.TarInfo("zeros")
    head.size = 2**40
    bomb = gzip.compress(head.tobuf()) + zeros * 64  # a gigabyte from one megabyte, and it promises more
    assert "Error build" in yard.send(bomb).text
    assert not paths_below(daemon.root / "tmp")


@pytest.mark.parametrize(
    "body", [b"", b"junk" * 1000, gzip.compress(b"junk"), b"\x1f\x8bjunk", context("FROM base")[:600]]
)
def test_what_is_no_archive_is_refused(yard: Yard, body: bytes) -> None:
    yard.fail(body)


# -- remote ----------------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A directory, and the URL it is served at."""
    served = tmp_path / "site"
    served.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(served))

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield served, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_remote_dockerfiles_and_tars(yard: Yard, site: tuple[Path, str]) -> None:
    directory, url = site
    (directory / "Dockerfile").write_text("FROM base\nRUN echo from text\n")
    (directory / "x.tgz").write_bytes(
        gzip.compress(context("FROM base\nCOPY f /f\nRUN cat /f\n", {"f": "from a tar\n"}))
    )
    assert "\nfrom text\n" in yard.send(None, remote=f"{url}/Dockerfile").text
    assert "\nfrom a tar\n" in yard.send(None, remote=f"{url}/x.tgz").text
    assert "404" in yard.send(None, remote=f"{url}/nothing").text.splitlines()[-1]


def test_add_of_a_url_goes_by_its_content(yard: Yard, site: tuple[Path, str]) -> None:
    directory, url = site
    dockerfile = f"FROM base\nADD {url}/f /d/\nRUN stat -c %a /d/f; cat /d/f\n"
    (directory / "f").write_text("one\n")
    os.utime(directory / "f", (10**9, 10**9))
    assert "\n600\none\n" in yard.build(dockerfile)
    assert yard.run("stat", "-c", "%Y", "/d/f") == "1000000000\n"
    os.utime(directory / "f", (2 * 10**9, 2 * 10**9))
    assert cached(yard.build(dockerfile)) == 2
    (directory / "f").write_text("two\n")
    assert "\ntwo\n" in yard.build(dockerfile)


def test_a_git_repository(yard: Yard, site: tuple[Path, str], tmp_path: Path) -> None:
    directory, url = site
    work = tmp_path / "work"
    (work / "sub").mkdir(parents=True)
    (work / "sub" / "Dockerfile").write_text("FROM base\nCOPY hello /hello\nRUN cat /hello\n")
    (work / "sub" / "hello").write_text("from git\n")
    identity = ("-c", "user.name=x", "-c", "user.email=x@y", "-c", "init.defaultBranch=main")
    commands = (
        ["init"],
        ["add", "."],
        ["commit", "-m", "x"],
        ["tag", "v1"],
        ["clone", "--bare", ".", f"{directory}/x.git"],
    )
    for command in commands:
        subprocess.run(["git", *identity, *command], cwd=work, check=True, capture_output=True, timeout=30)
    subprocess.run(["git", "update-server-info"], cwd=directory / "x.git", check=True, timeout=30)
    assert "\nfrom git\n" in yard.send(None, remote=f"{url}/x.git#v1:sub").text
    assert "remote: git fetch failed" in yard.send(None, remote=f"{url}/nothing.git").text
