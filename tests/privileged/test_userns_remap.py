"""``--userns-remap`` through a real daemon: inside all is as without, outside nothing of it is root's, and on disk are plain ids."""

import io
import os
import signal
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from build_yard import Yard
from busybox import busybox_tar
from daemon import Daemon, running_daemon
from host_state import is_alive, parent_of
from polling import wait_until
from subids import COUNT, FIRST, with_subids

from trioker.linux.capabilities import DEFAULT, NUMBERS

pytestmark = pytest.mark.root

WWW = 1000
TREES = {"overlay": "diff", "vfs": "tree"}


@pytest.fixture(scope="module", params=TREES)
def daemon(request, pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("userns")
    place = directory / "daemon"
    place.mkdir()
    flags = ("-s", request.param, "--userns-remap", "default")
    with running_daemon(pyz, place, *flags, prefix=with_subids(directory / "etc")) as daemon:
        daemon.api.import_image(busybox_tar(), "base")
        yield daemon


@pytest.fixture
def api(daemon):
    return daemon.api


def shell(api, script, **config):
    """What a script says, which must succeed."""
    code, output = api.run("sh", "-ec", script, **config)
    assert code == 0, output
    return output.decode()


def tree(daemon: Daemon, container: str) -> Path:
    """Where the container's own files are on the host."""
    driver = daemon.flags[1]
    (layer,) = (daemon.root / "storage" / driver).glob(f"{container}*")
    return layer / TREES[driver]


def ids(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_uid, found.st_gid


def owners(tar: bytes) -> dict[str, tuple[int, int]]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return {each.name.removeprefix("./"): (each.uid, each.gid) for each in archive}


def status_ids(pid: int) -> list[int]:
    (line,) = (each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("Uid:"))
    return [int(each) for each in line.split()[1:]]


def test_its_root_is_an_ordinary_user_of_the_host(api):
    with api.container("sleep", "600") as container:
        pid = api.inspect(container)["State"]["Pid"]
        assert status_ids(pid) == [FIRST] * 4
        assert Path(f"/proc/{pid}/uid_map").read_text().split() == ["0", str(FIRST), str(COUNT)]


def test_its_network_and_memory_belong_to_its_own_user_namespace(api):
    assert (
        shell(api, "/bin/busybox ping -c 1 127.0.0.1 > /dev/null; nc -l -p 80 & sleep 0; kill $!; echo bound")
        == "bound\n"
    )
    assert shell(
        api,
        "echo hello > /dev/shm/x; cat /dev/shm/x; ls -ldn /dev/mqueue /dev/pts /dev/shm | tr -s ' ' | grep -c ' 0 0 '",
    ).split() == ["hello", "3"]


def test_it_has_the_capabilities_it_has_without(api):
    said = shell(api, "grep Cap /proc/self/status").split()
    default = f"{sum(1 << NUMBERS[name] for name in DEFAULT):016x}"
    assert dict(zip(said[::2], said[1::2], strict=True)) == {
        "CapInh:": "0" * 16, "CapPrm:": default, "CapEff:": default, "CapBnd:": default, "CapAmb:": "0" * 16
    }  # fmt: skip


def test_what_it_writes_has_plain_ids_on_the_disk(api, daemon):
    with api.container(
        "sh", "-c", "cd /tmp; echo r > root; echo w > www; chown www:staff www; mkdir d; chown 65534 d; chmod 4755 root"
    ) as container:
        assert api.wait(container) == 0, api.logs(container)
        kept = tree(daemon, container) / "tmp"
        assert [ids(kept / name) for name in ("root", "www", "d")] == [(0, 0), (WWW, 50), (65534, 0)]
        assert not daemon.root.joinpath("storage").stat().st_mode & stat.S_IXOTH, (
            "or a set-user-ID file would be root's for everybody"
        )


def test_files_of_its_image_belong_to_whom_they_say(api):
    said = shell(
        api,
        "stat -c '%u %g' /etc/passwd /bin /root; echo more >> /etc/motd; cat /etc/motd; mv /etc/group /etc/g; rm /etc/g",
    )
    assert said == "0 0\n0 0\n0 0\nhello from the image\nmore\n"


@pytest.mark.parametrize("user", ["", "www"])
def test_its_streams_can_be_opened_again_by_name(api, user):
    script = "echo out > /dev/stdout; echo out > /proc/self/fd/1; echo err > /dev/stderr; cat < /dev/null; id -u"
    said = shell(api, script, User=user).split()
    assert sorted(said) == sorted(["out", "out", "err", str(WWW if user else 0)])


@pytest.mark.parametrize("user", ["", "www"])
def test_its_terminal_is_its_own(api, user):
    script = "tty; stat -c '%u %g %a' $(tty); echo seen > /dev/tty; echo console > /dev/console"
    said = shell(api, script, User=user, Tty=True).split()
    assert said == ["/dev/pts/0", str(WWW if user else 0), "5", "620", "seen", "console"]


def test_its_stdin_can_be_opened_again(api):
    with api.container(
        "sh", "-c", "cat /dev/stdin", User="www", OpenStdin=True, StdinOnce=True, start=False
    ) as container:
        attached = api.attach(container, "stream=1&stdin=1&stdout=1")
        api.start(container)
        attached.socket.sendall(b"typed\n")
        attached.read_until(b"typed\n")
        attached.socket.close()


def test_a_missing_working_directory_becomes_its_roots(api, daemon):
    with api.container("sh", "-c", "pwd; touch here", WorkingDir="/srv/deep") as container:
        assert api.wait(container) == 0, api.logs(container)
        made = tree(daemon, container) / "srv"
        assert [ids(each) for each in (made, made / "deep", made / "deep" / "here")] == [(0, 0)] * 3


def test_its_names_can_be_written_and_the_name_servers_only_read(api):
    script = "echo 127.0.0.9 me >> /etc/hosts; cat /etc/hostname /etc/resolv.conf > /dev/null; grep -c me /etc/hosts"
    assert shell(api, script) == "1\n"
    code, _ = api.run("sh", "-c", "echo more >> /etc/resolv.conf")
    assert code == 1


def test_volumes_have_plain_ids_too(api, daemon):
    script = "stat -c %u /tmp /tmp/given; echo own > /tmp/given; echo new > /tmp/new"
    image = Yard(api, "volumes")
    image.build("FROM base\nRUN echo x > /tmp/given && chown www /tmp/given\nVOLUME /tmp\n")
    with api.container("sh", "-ec", script, image="volumes0") as container:
        assert api.wait(container) == 0, api.logs(container)
        assert api.logs(container).split() == [b"0", str(WWW).encode()]
        volume = daemon.root / "volumes" / api.inspect(container)["Volumes"]["/tmp"]
        assert [ids(volume / name) for name in ("given", "new")] == [(WWW, 0), (0, 0)]
        assert stat.S_IMODE(volume.parent.stat().st_mode) == 0o700
    image.remove()


@pytest.mark.parametrize("running", [True, False], ids=["running", "ended"])
def test_what_leaves_it_has_plain_ids(api, running):
    script = (
        "cd /tmp; echo r > root; echo w > www; chown www:staff www;"
        "mkdir /closed; chown www /closed; chmod 700 /closed; touch /closed/in; echo made;"
    )
    with api.container("sh", "-c", script + ("sleep 600" if running else "true")) as container:
        wait_until(lambda: b"made" in api.logs(container), "its files")
        if not running:
            api.wait(container)
        exported = owners(api.call("GET", f"/containers/{container}/export").body)
        assert [exported[name] for name in ("tmp/root", "tmp/www", "closed", "closed/in", "bin/busybox")] == [
            (0, 0),
            (WWW, 50),
            (WWW, 0),
            (0, 0),
            (0, 0),
        ]
        image = api.ok("POST", f"/commit?container={container}")["Id"]
        said = shell(api, "stat -c '%u %g' /tmp/root /tmp/www /closed /closed/in", image=image)
        assert said == f"0 0\n{WWW} 50\n{WWW} 0\n0 0\n"
        api.call("DELETE", f"/images/{image}")


DOCKERFILE = """\
FROM base
ADD file /srv/file
RUN stat -c 'given %u %g' /srv/file > /dev/stdout; read inside outside count < /proc/self/uid_map; echo mapped $outside
USER www
RUN echo user $(id -u) > /dev/stderr; touch /tmp/mine
USER root
RUN stat -c 'mine %u' /tmp/mine
"""


def test_steps_of_a_build_run_in_it(api):
    yard = Yard(api, "steps")
    lines = yard.build(DOCKERFILE, {"file": "content"}).splitlines()
    said = [each for each in lines if each.split()[0] in {"given", "mapped", "user", "mine"}]
    assert said == ["given 0 0", f"mapped {FIRST}", f"user {WWW}", f"mine {WWW}"]
    yard.remove()


def test_a_user_beyond_its_ids_is_refused_by_name(api):
    container = api.create("true", User=str(COUNT))
    answer = api.call("POST", f"/containers/{container}/start", {})
    assert answer.status >= 400
    assert f"no container can have the user id {COUNT} here" in answer.text
    api.remove(container)


def test_it_can_make_no_device_no_mount_and_no_further_namespace(api):
    said = shell(
        api,
        "for each in 'mknod /tmp/disk b 254 0' 'mount -t tmpfs tmpfs /tmp' 'umount /proc/keys' '/bin/busybox unshare -U true'"
        " 'hostname other' 'echo 1 > /proc/sys/kernel/core_pattern'; do sh -c \"$each\" 2> /dev/null && echo $each; done; echo done",
    )
    assert said == "done\n"


@pytest.mark.parametrize("user", ["", "www"])
def test_it_ends_with_its_monitor(api, user):
    with api.container("sleep", "600", User=user) as container:
        pid = api.inspect(container)["State"]["Pid"]
        os.kill(parent_of(pid), signal.SIGKILL)
        assert api.wait(container) == 137
        wait_until(lambda: not is_alive(pid), "the container's end")


def test_a_limit_of_memory_is_kept(api):
    code, _ = api.run("sh", "-c", "head -c 200000000 /dev/zero | tail", Memory=16 * 2**20)
    assert code == 137


def test_containers_outlive_the_daemon_and_go_on_without_the_option(daemon, api):
    """Running ones keep their ids. Stored ones get those of their next start: the files fit either way."""
    running = api.create("sh", "-c", "while test ! -e /tmp/end; do sleep 0.1; done; stat -c '%u' /tmp/end")
    stored = api.create(
        "sh",
        "-c",
        "stat -c %u /tmp/own 2> /dev/null; echo x >> /tmp/own; read zero first count < /proc/self/uid_map; echo $first",
    )
    api.start(running)
    api.start(stored)
    api.wait(stored)
    daemon.kill()
    flags, daemon.flags = daemon.flags, daemon.flags[:2]
    daemon.start()
    pid = api.inspect(running)["State"]["Pid"]
    assert status_ids(pid) == [FIRST] * 4
    api.start(stored)
    assert api.wait(stored) == 0
    exported = owners(api.call("GET", f"/containers/{running}/export").body)
    assert exported["bin/busybox"] == (0, 0)
    daemon.kill()
    daemon.flags = flags
    daemon.start()
    api.start(stored)
    assert api.wait(stored) == 0
    assert api.logs(stored).split() == [str(FIRST).encode(), b"0", b"0", b"0", str(FIRST).encode()]
    assert is_alive(pid)
    subprocess.run(
        [
            "nsenter",
            "--target",
            str(pid),
            "--root",
            "--wd",
            "--user",
            "--setuid",
            "0",
            "/bin/busybox",
            "touch",
            "/tmp/end",
        ],
        check=True,
    )
    assert api.wait(running) == 0
    assert api.logs(running) == b"0\n"
    for each in (running, stored):
        api.remove(each)


def test_a_name_without_ids_is_refused_at_the_start_with_the_line_to_add(pyz, tmp_path):
    prefix = with_subids(tmp_path / "etc", subuid="somebody:100000:65536\n")
    said = refusal(pyz, tmp_path, prefix)
    assert f'{"/etc/subuid"} has no range for "trioker": add a line such as trioker:{100000 + COUNT}:65536' in said


def test_a_filesystem_that_cannot_map_ids_is_refused_at_the_start(pyz, tmp_path):
    (tmp_path / "root").mkdir()
    prefix = [
        *with_subids(tmp_path / "etc"),
        "sh",
        "-c",
        'mount -t ramfs ramfs "$0" && exec "$@"',
        str(tmp_path / "root"),
    ]
    assert "cannot be mounted with mapped ids" in refusal(pyz, tmp_path, prefix)


def refusal(pyz: Path, directory: Path, prefix: list[str]) -> str:
    """What a daemon says that does not start, and leaves nothing running."""
    daemon = Daemon(pyz, directory, "-s", "vfs", "--userns-remap", "default", prefix=prefix)
    ended = subprocess.run(
        daemon.command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr
