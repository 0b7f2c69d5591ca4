"""Attacks on a whole daemon: by images and containers while others are started, exported, committed and built, and by strangers at its door."""

import contextlib
import io
import lzma
import os
import socket
import stat
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import tars
from api_client import dial, exchange
from build_yard import Yard
from busybox import busybox_tar, small_tar
from daemon import Daemon, processes, running_daemon
from forked import in_child
from host_state import paths_below
from polling import wait_until

from trioker.linux.capabilities import DEFAULT, NUMBERS

pytestmark = pytest.mark.root

DESCRIPTORS = range(3, 16)
"""Where one of the host's would be: init has about ten open."""
SECRET = b"only the host may read this"
ROUNDS = 8
"""How often a race is run. A lost one shows within a few rounds: the swapping never stops."""


@pytest.fixture(scope="module")
def daemon(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running_daemon(pyz, tmp_path_factory.mktemp("attacked")) as daemon:
        daemon.api.import_image(busybox_tar(), "base")
        yield daemon


@pytest.fixture
def yard(daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[Yard]:
    yard = Yard(daemon.api, f"attack{abs(hash(request.node.nodeid)) % 10**8}n")
    yield yard
    yard.remove()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host with a secret, which stays as it is."""
    place = tmp_path / "host"
    place.mkdir(mode=0o777)
    (place / "data").write_bytes(SECRET)
    yield place
    assert os.listdir(place) == ["data"]
    assert (place / "data").read_bytes() == SECRET


def swapping(name: str, target: object) -> str:
    """A script that makes a directory and a link in its place take turns, for ever."""
    return f"mkdir {name}; echo mine > {name}/data; while :; do mv {name} {name}1; ln -s {target} {name}; rm {name}; mv {name}1 {name}; done"


def names_and_contents(tar: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return {each.name: archive.extractfile(each).read() for each in archive if each.isreg()}  # type: ignore[union-attr]


# -- 4, 5: symlink races, copying in and out ---------------------------------------------------------------------------------------------------


def test_cve_2018_15664_an_export_never_follows_a_link_that_is_swapped_in(daemon: Daemon, host: Path):
    with daemon.api.container("sh", "-c", swapping("/d", host)) as container:
        wait_until(lambda: daemon.api.ok("GET", f"/containers/{container}/changes"), "the swapping")
        for _ in range(ROUNDS):
            assert SECRET not in daemon.api.ok("GET", f"/containers/{container}/export")
        daemon.api.ok("POST", f"/commit?container={container}&repo=swapped")
    for path in ("/d/data", "/d1/data"):
        assert SECRET not in daemon.api.run("sh", "-c", f"cat {path} 2>&1; true", image="swapped")[1]


@pytest.mark.parametrize("target", ["/", "/proc", "/proc/1/cwd", "/dev", "../../../../../.."])
def test_cve_2021_30465_a_volume_never_leaves_the_root_by_a_link_that_another_container_swaps_in(
    target: str, daemon: Daemon, host: Path
):
    look = f"cat /vol/d/data /vol/d/{host}/data; echo touched > /vol/d/{host}/new; cat /vol/d/../../../../../..{host}/data; echo in"
    with daemon.api.container("sh", "-c", f"cd /vol; {swapping('d', target)}", Volumes={"/vol": {}}) as racer:
        started = 0
        for _ in range(ROUNDS):
            victim = daemon.api.create("sh", "-c", look, VolumesFrom=racer, Volumes={"/vol/d": {}})
            answer = daemon.api.call("POST", f"/containers/{victim}/start")
            if answer.status < 400:
                started += 1
                daemon.api.wait(victim)
                assert SECRET not in daemon.api.logs(victim)
                assert b"in\n" in daemon.api.logs(victim)
            else:
                assert "Error starting container" in answer.text
            daemon.api.remove(victim)
        assert daemon.api.inspect(racer)["State"]["Running"]


def test_cve_2024_45310_nothing_is_made_behind_a_link_that_another_container_swaps_in(daemon: Daemon, host: Path):
    config: dict[str, object] = {"Volumes": {"/vol/d/volume/deep": {}}, "WorkingDir": "/vol/d/work/deep"}
    with daemon.api.container("sh", "-c", f"cd /vol; {swapping('d', host)}", Volumes={"/vol": {}}) as racer:
        for _ in range(ROUNDS):
            victim = daemon.api.create("true", VolumesFrom=racer, **config)
            daemon.api.call("POST", f"/containers/{victim}/start")  # made inside, or refused; the host stays as it is
            daemon.api.remove(victim)
        assert daemon.api.inspect(racer)["State"]["Running"]


@pytest.mark.parametrize("place", ["/../../../../../..{}", "/data/../../../../../../..{}", "/link", "/link/../..{}"])
def test_cve_2022_23648_a_volume_of_an_image_takes_nothing_from_the_host(
    place: str, daemon: Daemon, yard: Yard, host: Path
):
    daemon.api.import_image(
        joined(busybox_tar(), tars.tar_of(tars.symlink("link", f"../../../../../../..{host}"))), "linked"
    )
    answer = yard.send(tars.tar_of(tars.file("Dockerfile", f"FROM linked\nVOLUME {place.format(host)}\n".encode())))
    if b"Successfully built" in answer.body:
        container = daemon.api.create(
            "sh", "-c", f"cat {host}/data /link/data /data/data; true", image=yard.image()["id"][:12]
        )
        answer = daemon.api.call("POST", f"/containers/{container}/start")
        assert answer.status < 400 or "Error starting container" in answer.text
        daemon.api.wait(container)
        assert SECRET not in daemon.api.logs(container)
        daemon.api.remove(container)


def test_cve_2016_3697_a_number_is_no_name(daemon: Daemon):
    accounts = tars.tar_of(tars.file("etc/passwd", b"1000:x:0:0::/:/bin/sh\n4711:x:0:0::/:/bin/sh\n"))
    daemon.api.import_image(joined(busybox_tar(), accounts), "numbered")
    for user in ("1000", "4711"):
        assert daemon.api.run("sh", "-c", "busybox id -u", image="numbered", User=user) == (0, f"{user}\n".encode())


def test_cve_2019_14271_and_2026_41567_nothing_of_an_image_is_executed_or_imported_by_the_daemons_helpers(
    daemon: Daemon, yard: Yard
):
    daemon.api.import_image(trapped_image(), "trapped")
    squeezed = lzma.compress(small_tar(file=b"unpacked"))
    yard.build(
        "FROM trapped\nADD a.tar.xz /x/\nCOPY --chown=www:staff a /y\nWORKDIR /z\nUSER www\n",
        {"a.tar.xz": squeezed, "a": "copied"},
    )
    with daemon.api.container(
        "sh", "-c", "cat /x/file /y", image=yard.image()["id"][:12], User="www:staff"
    ) as container:
        assert daemon.api.wait(container) == 0
        assert daemon.api.logs(container) == b"unpackedcopied"
        exported = names_and_contents(daemon.api.ok("GET", f"/containers/{container}/export"))
        daemon.api.ok("GET", f"/containers/{container}/changes")
        daemon.api.ok("POST", f"/commit?container={container}&repo=committed")
    assert "sprung" not in exported
    assert daemon.api.run("test", "-e", "/sprung", image="committed")[0] == 1


def trapped_image() -> bytes:
    """Busybox, and in it what careless helpers would run (a command, a module) or load (a library: a pipe, which holds up whoever opens it)."""
    script, module = b"#!/bin/sh\ntouch /sprung\nexec false\n", b"open('/sprung', 'w').close()\n"
    python = f"{sys.base_prefix[1:]}/lib/python{sys.version_info[0]}.{sys.version_info[1]}"
    commands = [
        f"usr/{place}/{name}"
        for place in ("bin", "sbin")
        for name in ("xz", "unxz", "gzip", "unpigz", "zstd", "tar", "python3", "getent")
    ]
    modules = [
        f"{python}/{name}.py"
        for name in (
            "lzma",
            "bz2",
            "gzip",
            "pwd",
            "tarfile",
            "linecache",
            "traceback",
            "encodings/idna",
            "encodings/cp437",
        )
    ]
    libraries = [
        f"lib/x86_64-linux-gnu/{name}"
        for name in ("libnss_files.so.2", "libnss_compat.so.2", "libc.so.6", "libgcc_s.so.1", "liblzma.so.5")
    ]
    files = [tars.file(each, script) for each in commands] + [tars.file(each, module) for each in modules]
    extra = tars.tar_of(
        *files, *map(tars.fifo, libraries), tars.file("etc/nsswitch.conf", b"passwd: compat files\ngroup: compat\n")
    )
    return joined(busybox_tar(), extra)


def joined(*archives: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for archive in archives:
            with tarfile.open(fileobj=io.BytesIO(archive)) as source:
                for entry in source:
                    tar.addfile(entry, source.extractfile(entry) if entry.isreg() else None)
    return stream.getvalue()


# -- 2: descriptors of the host ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["/proc/self/fd/{}", "/link{}", "/proc/1/fd/{}/../../.."])
def test_cve_2024_21626_no_working_directory_is_a_descriptor_of_the_host(
    place: str, daemon: Daemon, yard: Yard, host: Path
):
    links = [tars.symlink(f"link{fd}", f"/proc/self/fd/{fd}") for fd in DESCRIPTORS]
    daemon.api.import_image(joined(busybox_tar(), tars.tar_of(*links)), "linked")
    script = f"for up in . .. ../.. ../../.. ../../../../../..; do cat $up{host}/data; done; pwd -P"
    for fd in DESCRIPTORS:
        container = daemon.api.create("sh", "-c", script, image="linked", WorkingDir=place.format(fd))
        answer = daemon.api.call("POST", f"/containers/{container}/start")
        if answer.status < 400:
            assert daemon.api.wait(container) == 0
            assert SECRET not in daemon.api.logs(container)
        daemon.api.remove(container)
    for fd in (3, 7, 11):
        built = yard.send(
            tars.tar_of(tars.file("Dockerfile", f"FROM linked\nWORKDIR {place.format(fd)}\nRUN {script}\n".encode()))
        )
        assert SECRET not in built.body


# -- 3: masked paths ---------------------------------------------------------------------------------------------------------------------------

FORGED = {
    "CVE-2025-31133, /dev/null a link to what it masks": [tars.symlink("dev/null", "/proc/sys/kernel/core_pattern")],
    "CVE-2025-31133, /dev/null another device": [tars.character_device("dev/null", 1, 5)],
    "CVE-2025-52565, /dev/console a link": [tars.symlink("dev/console", "/proc/sysrq-trigger")],
    "CVE-2025-52565, /dev/pts a link": [tars.symlink("dev/pts", "/proc")],
    "CVE-2025-52881, /proc a tree of links": [tars.symlink("proc/self", "sys"), tars.symlink("proc/keys", "/etc/motd")],
    "CVE-2023-28642, /proc a link": [tars.symlink("proc", "etc")],
    "CVE-2019-16884, a volume over /proc by the image": [],
}
LOOK = """
for each in /proc/keys /proc/interrupts; do test -c $each || echo not masked: $each; test "$(wc -c < $each)" = 0 || echo open: $each; done
for each in /proc/sys/kernel/core_pattern /proc/irq/default_smp_affinity; do (echo >> $each) 2>/dev/null && echo writable: $each; done
test "$(stat -c %t:%T /dev/null)" = 1:3 || echo forged: /dev/null
grep -q ' /proc proc ' /proc/mounts || echo forged: /proc
echo in
"""


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("tty", [False, True], ids=["pipes", "tty"])
def test_masks_hold_or_nothing_starts_with(name: str, tty: bool, daemon: Daemon):
    holders = [
        tars.directory(each) for each in ("dev", "proc") if not any(member.name == each for member in FORGED[name])
    ]
    daemon.api.import_image(joined(busybox_tar(), tars.tar_of(*holders, *FORGED[name])), "forged")
    volumes = {"/proc/sys": {}} if not FORGED[name] else {}
    container = daemon.api.create("sh", "-c", LOOK, image="forged", Tty=tty, Volumes=volumes)
    answer = daemon.api.call("POST", f"/containers/{container}/start")
    if answer.status < 400:
        daemon.api.wait(container)
        assert daemon.api.logs(container).split() == [b"in"]
    else:
        assert "Error starting container" in answer.text
    daemon.api.remove(container)


# -- 9: what an image says about itself --------------------------------------------------------------------------------------------------------

GREEDY = {
    "Privileged": True, "CapAdd": ["ALL"], "Capabilities": ["SYS_ADMIN"], "SecurityOpt": ["seccomp=unconfined"], "NetworkMode": "host",
    "PidMode": "host", "Cgroup": "/", "Binds": ["/:/host"], "Devices": ["/dev/mem"], "Mounts": [["/", "none", 4096]], "Runtime": "/bin/sh",
    "HostConfig": {"Privileged": True, "Binds": ["/:/host"]}, "masked_paths": [], "readonly_paths": [], "seccomp": False,
    "capabilities": sorted(NUMBERS), "mount_point": "/", "run_dir": "/tmp",
}  # fmt: skip


def test_no_word_of_an_image_about_itself_gives_its_containers_more(daemon: Daemon):
    with daemon.api.container("true") as container:
        daemon.api.wait(container)
        daemon.api.ok("POST", f"/commit?container={container}&repo=greedy", GREEDY)
    code, output = daemon.api.run(
        "sh",
        "-c",
        "grep -E '^(CapBnd|Seccomp|NoNewPrivs):' /proc/self/status; ls /host; ls /sys/class/net",
        image="greedy",
    )
    assert code == 0
    bounding = sum(1 << NUMBERS[name] for name in DEFAULT)
    assert output.decode().split("\n")[:3] == [f"CapBnd:\t{bounding:016x}", "NoNewPrivs:\t1", "Seccomp:\t2"]
    assert b"/host: No such file" in output
    assert b"\nlo\n" in output


# -- 8: strangers ------------------------------------------------------------------------------------------------------------------------------


FOREIGN = [
    "Host: rebound.example",
    "Host: 127.0.0.1.rebound.example:4243",
    "Host: localhost\r\nOrigin: http://rebound.example",
    "Host: localhost\r\nOrigin: null",
    "Host: localhost\r\nSec-Fetch-Site: cross-site",
]


@pytest.mark.parametrize("header", FOREIGN)
def test_dns_rebinding_and_web_pages_get_nothing_by_tcp(header: str, daemon: Daemon):
    before = len(daemon.api.ok("GET", "/containers/json?all=1"))
    body = b'{"Image": "base", "Cmd": ["true"]}'
    head = f"POST /containers/create HTTP/1.1\r\n{header}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    answer = exchange(("127.0.0.1", daemon.port), head.encode() + body)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert len(daemon.api.ok("GET", "/containers/json?all=1")) == before


def test_cve_2021_41091_no_other_user_of_the_host_reaches_what_containers_made(daemon: Daemon):
    """A set-user-ID program made inside would be the host's root for whoever can execute it."""
    make = "cp /bin/busybox /own; chmod 4755 /own; cp -p /own /v/; sleep 1000"
    with daemon.api.container("sh", "-c", make, Volumes={"/v": {}}):
        wait_until(lambda: sum(path.endswith("/own") for path in paths_below(daemon.root)) == 2, "the programs")
        paths = [os.path.relpath(each, daemon.directory) for each in paths_below(daemon.root, daemon.exec_root)]
        assert in_child(lambda: openable(daemon.directory, paths)) == []
    assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o660


def openable(directory: Path, paths: list[str]) -> list[str]:
    """What nobody, already standing in ``directory``, can open of it."""
    os.chdir(directory)
    directory.chmod(0o755)
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    return [
        path for path in paths if not os.path.isdir(path) and (os.access(path, os.R_OK) or os.access(path, os.X_OK))
    ]


def test_slow_clients_keep_nobody_out(daemon: Daemon):
    """Slowloris; when they are cut off is in tests/http/test_deadlines.py."""
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            slow = stack.enter_context(dial(("127.0.0.1", daemon.port)))
            slow.sendall(b"POST /containers/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nX-Slow: ")
        assert daemon.tcp.call("GET", "/version").status == 200
        assert daemon.api.run("echo", "well") == (0, b"well\n")


@pytest.mark.parametrize(
    "name", ["..", "../..", "%2e%2e", "..%2f..%2fetc", "%2fetc", "a%00b", "*", "'; drop table containers; --"]
)
def test_no_name_is_a_path_or_a_query(name: str, daemon: Daemon):
    for path in (f"/containers/{name}/json", f"/images/{name}/json"):
        answer = exchange(
            str(daemon.socket),
            f"GET {path.replace(' ', '%20')} HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n".encode(),
        )
        assert answer.split(b" ", 2)[1] in {b"400", b"404", b"301"}, answer


# -- the rest of the host ----------------------------------------------------------------------------------------------------------------------


def test_a_container_that_kills_all_it_sees_ends_itself_alone(daemon: Daemon):
    with daemon.api.container("sleep", "1000") as neighbour:
        daemon.api.run("sh", "-c", "kill -9 -1; for pid in $(seq 2 400); do kill -9 $pid; done 2>/dev/null; ps")
        assert daemon.api.inspect(neighbour)["State"]["Running"]
        assert daemon.api.run("ps")[1].count(b"\n") == 2  # the head and itself


def test_cve_2020_15257_the_daemon_has_no_abstract_socket(daemon: Daemon):
    with daemon.api.container("sleep", "1000"), socket.socket(socket.AF_UNIX) as probe:
        probe.bind(f"\0a-control-{os.getpid()}")
        names = {line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()}
        assert f"@a-control-{os.getpid()}" in names
        ours = {inode for pid in processes(daemon) for inode in socket_inodes(pid)}
        lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
        assert not [line for line in lines if line[6] in ours and line[-1].startswith("@")]


def socket_inodes(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                kind, _, inode = os.readlink(f"/proc/{pid}/fd/{name}").partition(":")
                if kind == "socket":
                    found.add(inode.strip("[]"))
    return found
