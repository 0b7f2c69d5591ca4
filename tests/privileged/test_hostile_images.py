"""Images and containers that try to reach the host: each works confined or fails with a word, and no file of the host is touched or read."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tars
from busybox import busybox_tar
from daemon import Daemon, running_daemon
from host_state import paths_below
from polling import wait_until
from tars import Member

pytestmark = pytest.mark.root

SECRET = b"only the host may read this"
HOST_FILES = ("/etc/passwd", "/etc/group", "/etc/resolv.conf", "/etc/hosts", "/etc/hostname")
PLACES = "/dev /proc /sys /etc /link /tmp /data /vol/data"
TOUCH = f"for each in {PLACES}; do cat $each/secret; echo touched > $each/secret; echo touched > $each/new; done 2>/dev/null; echo in"
"""Read and write through whatever the image has in those places."""

Members = Callable[[str], list[Member]]


@pytest.fixture(scope="module")
def daemon(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running_daemon(pyz, tmp_path_factory.mktemp("hostile")) as daemon:
        daemon.api.import_image(busybox_tar(), "base")
        yield daemon


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    """A directory of the host that must stay as it is, like the host's own files."""
    place = tmp_path / "host"
    place.mkdir(mode=0o777)
    for name in ("secret", "passwd", "group", "resolv.conf"):
        (place / name).write_bytes(SECRET + b"\ncanary:x:4711:4711::/:/bin/sh\n")
        (place / name).chmod(0o666)
    before = [_state(path) for path in (place, *sorted(place.iterdir()), *map(Path, HOST_FILES))]
    yield str(place)
    assert [_state(path) for path in (place, *sorted(place.iterdir()), *map(Path, HOST_FILES))] == before


def _state(path: Path) -> tuple[object, ...]:
    if not path.exists():
        return (str(path),)
    found = path.stat()
    content = path.read_bytes() if path.is_file() else b""
    return (str(path), found.st_ino, found.st_mode, found.st_uid, found.st_nlink, found.st_mtime_ns, content)


def up(path: str) -> str:
    """The same path for a link that climbs out by ``..``."""
    return "../" * 12 + path.lstrip("/")


LINKS: dict[str, Members] = {
    "/dev to the host": lambda host: [tars.symlink("dev", host)],
    "/dev up to the host": lambda host: [tars.symlink("dev", up(host))],
    "/proc to the host": lambda host: [tars.symlink("proc", host)],
    "/sys up to the host": lambda host: [tars.symlink("sys", up(host))],
    "/etc to the host": lambda host: [tars.symlink("etc", host)],
    "/etc up to the host": lambda host: [tars.symlink("etc", up(host))],
    "/etc to a directory of that name inside": lambda host: [tars.directory(host[1:]), tars.symlink("etc", host)],
    "/etc and /proc to each other": lambda _: [tars.symlink("etc", "/proc"), tars.symlink("proc", "/etc")],
    "/etc to /proc/self/root": lambda _: [tars.symlink("etc", "/proc/self/root/etc")],
    "/etc to /proc/1/cwd": lambda _: [tars.symlink("etc", "/proc/1/cwd")],
    "/link to the host": lambda host: [tars.symlink("link", host), tars.symlink("tmp", up(host))],
    "resolv.conf to the host": lambda host: [tars.directory("etc"), tars.symlink("etc/resolv.conf", f"{host}/resolv.conf")],
    "resolv.conf up to the host": lambda host: [tars.directory("etc"), tars.symlink("etc/resolv.conf", up(f"{host}/secret"))],
    "resolv.conf to itself": lambda _: [tars.directory("etc"), tars.symlink("etc/resolv.conf", "resolv.conf")],
    "resolv.conf a directory": lambda _: [tars.directory("etc"), tars.directory("etc/resolv.conf")],
    "resolv.conf a pipe": lambda _: [tars.directory("etc"), tars.fifo("etc/resolv.conf")],
    "/dev/null to the host": lambda host: [tars.directory("dev"), tars.symlink("dev/null", f"{host}/secret")],
    "/dev/pts to the host": lambda host: [tars.directory("dev"), tars.symlink("dev/pts", host), tars.symlink("dev/shm", up(host))],
    "/dev/console to the host": lambda host: [tars.directory("dev"), tars.symlink("dev/console", f"{host}/secret")],
    "/proc/kcore to the host": lambda host: [tars.directory("proc"), tars.symlink("proc/kcore", f"{host}/secret")],
    "/dev a file": lambda _: [tars.file("dev", b"file")],
    "/proc a pipe": lambda _: [tars.fifo("proc")],
    "/etc a file": lambda _: [tars.file("etc", b"file")],
    "/ without any of them": lambda _: [],
}  # fmt: skip


def attempt(daemon: Daemon, tar: bytes, *command: str, **config: object) -> str:
    """Run a hostile image: its output without the host's secrets, or why it did not start. Afterwards others work as ever."""
    daemon.api.import_image(tar, "hostile")
    with daemon.api.container(*command, image="hostile", start=False, **config) as container:
        answer = daemon.api.call("POST", f"/containers/{container}/start")
        if answer.status == 200:
            daemon.api.wait(container)
            assert SECRET not in daemon.api.logs(container)
            assert SECRET not in daemon.api.ok("GET", f"/containers/{container}/export")
            outcome = daemon.api.logs(container).decode()
        else:
            assert answer.status == 500
            assert not daemon.api.inspect(container)["State"]["Running"]
            outcome = answer.text
    assert "internal error" not in outcome
    assert daemon.api.run("echo", "well") == (0, b"well\n")
    return outcome


@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize("tty", [False, True], ids=["pipes", "tty"])
def test_an_image_with(name: str, tty: bool, daemon: Daemon, host: str):
    outcome = attempt(daemon, tars.shell_and(*LINKS[name](host)), "/bin/sh", "-c", TOUCH, Tty=tty)
    assert outcome.split()[-1:] == ["in"] or "Error starting container" in outcome


@pytest.mark.parametrize(
    "path", ["/vol/data", "/vol/new/deep", "/link", "/link/secret", "/etc/resolv.conf", "/dev/shm/x"]
)
def test_a_volume_whose_path_goes_through_links_to_the_host(path: str, daemon: Daemon, host: str):
    tar = tars.shell_and(tars.symlink("vol", host), tars.symlink("link", up(host)))
    outcome = attempt(daemon, tar, "/bin/sh", "-c", TOUCH, Volumes={path: {}})
    assert outcome.endswith("in\n") or "Error starting container" in outcome


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    "path", ["/", "/proc", "/proc/self/fd", "/sys", "/../../etc", "/dev/../proc", "", "relative", "/a\0b"]
)
def test_a_volume_in_an_impossible_place_is_refused_or_confined(path: str, daemon: Daemon):
    config = {"Image": "base", "Cmd": ["sh", "-c", TOUCH], "Volumes": {path: {}}}
    created = daemon.api.call("POST", "/containers/create", config)
    if created.status >= 400:
        assert "Volumes" in created.text
        return
    container = created.json()["Id"]
    started = daemon.api.call("POST", f"/containers/{container}/start")
    assert started.status == 200 or "Error starting container" in started.text
    daemon.api.wait(container)
    daemon.api.remove(container)


ACCOUNTS: dict[str, Members] = {
    "a pipe": lambda _: [tars.fifo("etc/passwd")],
    "a directory": lambda _: [tars.directory("etc/passwd")],
    "a link to the host": lambda host: [tars.symlink("etc/passwd", f"{host}/passwd")],
    "a link up to the host": lambda host: [tars.symlink("etc/passwd", up(f"{host}/passwd"))],
    "a link to a descriptor": lambda _: [tars.symlink("etc/passwd", "/proc/self/fd/0")],
    "a link to itself": lambda _: [tars.symlink("etc/passwd", "passwd")],
    "an endless device": lambda _: [tars.character_device("etc/passwd", 1, 5)],
    "a link to an endless device": lambda _: [tars.symlink("etc/passwd", "/dev/zero")],
    "very large": lambda _: [tars.file("etc/passwd", b"x:x:1:1::/:/bin/sh\n" * 500_000)],
    "not text": lambda _: [tars.file("etc/passwd", bytes(range(256)) * 10)],
    "missing": lambda _: [],
}


@pytest.mark.parametrize("name", ACCOUNTS)
def test_a_user_by_name_where_the_image_s_passwd_is(name: str, daemon: Daemon, host: str):
    members = ACCOUNTS[name](host)
    tar = tars.shell_and(tars.directory("etc"), *members)
    assert "Error starting container" in attempt(daemon, tar, "/bin/sh", "-c", "id", User="canary")
    group = [each._replace(name="etc/group") for each in members]
    tar = tars.shell_and(tars.directory("etc"), *group)
    assert "Error starting container" in attempt(daemon, tar, "/bin/sh", "-c", "id", User="1:canary")


COMMANDS: dict[str, Members] = {
    "a link to the host": lambda host: [tars.symlink("run", f"{host}/secret")],
    "a pipe": lambda _: [tars.fifo("run")],
    "a device": lambda _: [tars.character_device("run", 1, 5)],
    "a link to the interpreter": lambda _: [tars.symlink("run", "/proc/self/exe")],
    "a script of it": lambda _: [tars.file("run", b"#!/proc/self/exe\n")],
    "a script of a descriptor": lambda _: [tars.file("run", b"#!/proc/self/fd/3\n")],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_is(name: str, daemon: Daemon, host: str):
    outcome = attempt(daemon, tars.shell_and(*COMMANDS[name](host)), "/run")
    assert "Error starting container" in outcome or outcome == ""


TARS: dict[str, Members] = {
    "names that climb": lambda host: [tars.file(f"{up(host)}/secret", b"touched"), tars.file(f"a/{up(host)}/new", b"new")],
    "absolute names": lambda host: [tars.file(f"{host}/secret", b"touched"), tars.file(f"{host}/new", b"new")],
    "a file behind a link": lambda host: [tars.symlink("a", host), tars.file("a/secret", b"touched"), tars.file("a/new", b"new")],
    "a directory over a link": lambda host: [tars.symlink("a", host), tars.directory("a/"), tars.file("a/new", b"new")],
    "a file over a link": lambda host: [tars.symlink("a", f"{host}/secret"), tars.file("a", b"touched")],
    "a hard link to the host": lambda host: [tars.hard_link("a", f"{host}/secret"), tars.file("a", b"touched")],
    "a hard link that climbs": lambda host: [tars.hard_link("a", up(f"{host}/secret"))],
    "a hard link behind a link": lambda host: [tars.symlink("b", host), tars.hard_link("a", "b/secret")],
    "a link chain": lambda host: [tars.symlink("a", "b"), tars.symlink("b", "c"), tars.symlink("c", host), tars.file("a/new")],
    "a whiteout behind a link": lambda host: [tars.symlink("a", host), tars.file("a/.wh.secret"), tars.file("a/.wh..wh..opq")],
    "whiteouts that climb": lambda _: [tars.file(".wh..."), tars.file(".wh..")],
}  # fmt: skip


@pytest.mark.parametrize("name", TARS)
def test_a_tar_with(name: str, daemon: Daemon, host: str):
    tar = tars.shell_and(*TARS[name](host))
    answer = daemon.api.call("POST", "/images/create?fromSrc=-&repo=hostile", tar)
    if answer.status == 200:
        script = "cat /a /a/secret /a/new 2>/dev/null; echo touched > /a; echo touched > /a/secret; echo in"
        outcome = attempt(daemon, tar, "/bin/sh", "-c", script)
        assert "in\n" in outcome
    else:
        assert answer.status == 400
        assert "internal error" not in answer.text
    assert not list(daemon.root.glob("storage/*/*/host"))


def test_a_container_that_rewrites_its_own_tree_before_a_restart(daemon: Daemon, host: str):
    script = f"""
        rm -rf /etc /tmp; ln -s {host} /etc; ln -s {up(host)} /tmp
        mkdir -p /vol; rm -rf /vol/data; ln -s {host} /vol/data; ln -s {host} /link; {TOUCH}"""
    with daemon.api.container("sh", "-c", script, Volumes={"/data": {}}) as container:
        for _ in range(3):
            daemon.api.wait(container)
            assert SECRET not in daemon.api.logs(container)
            with contextlib.suppress(AssertionError):  # a refusal is fine
                daemon.api.start(container)
        assert SECRET not in daemon.api.ok("GET", f"/containers/{container}/export")
        daemon.api.ok("GET", f"/containers/{container}/changes")
        daemon.api.ok("GET", "/containers/json?all=1&size=1")


def test_links_in_a_volume_are_not_followed_by_others_nor_by_the_removal(daemon: Daemon, host: str):
    script = f"ln -s {host} /data/link; ln -s {up(host)} /data/up; ln -s {host}/secret /data/file"
    with daemon.api.container("sh", "-c", script, Volumes={"/data": {}}) as giver:
        assert daemon.api.wait(giver) == 0
        reader = (
            "cat /data/link/secret /data/file; echo touched > /data/up/secret; echo touched > /data/link/new; echo in"
        )
        with daemon.api.container(
            "sh", "-c", reader, VolumesFrom=giver, Volumes={"/data/link/inner": {}}, start=False
        ) as taker:
            started = daemon.api.call("POST", f"/containers/{taker}/start")
            assert started.status == 200 or "Error starting container" in started.text
            daemon.api.wait(taker)
            assert SECRET not in daemon.api.logs(taker)


@pytest.fixture
def no_deep_tree(daemon: Daemon) -> Iterator[None]:
    """Should the daemon leave one, pytest itself could not remove it."""
    yield
    subprocess.run(["rm", "-rf", *daemon.root.glob("volumes/*/d"), *daemon.root.glob("storage/*/*/diff/d")], check=True)


@pytest.mark.usefixtures("no_deep_tree")
@pytest.mark.parametrize("where", ["/", "/data"])
def test_a_tree_deeper_than_a_path_may_be_on_the_host_is_listed_sent_and_removed(where: str, daemon: Daemon):
    assert daemon.api.run("true") == (0, b"")  # what an image's first container makes is there
    before = paths_below(daemon.root)
    script = f"cd {where}; i=0; while [ $i -lt 2000 ]; do mkdir d && cd d || exit 1; i=$((i+1)); done; echo > bottom"
    container = daemon.api.create("sh", "-c", script, Volumes={"/data": {}})
    daemon.api.start(container)
    assert daemon.api.wait(container) == 0
    for path in ("changes", "export"):
        answer = daemon.api.call("GET", f"/containers/{container}/{path}")
        assert answer.status == 200 or "internal error" not in answer.text
    daemon.api.ok("DELETE", f"/containers/{container}?v=1")
    wait_until(lambda: paths_below(daemon.root) == before, "a root as before")
