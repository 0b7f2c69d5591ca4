"""Commits through the whole daemon: what an image holds, containers that are busy, killed and removed meanwhile, a daemon that dies."""

import contextlib
import http.client
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from busybox import busybox_tar
from daemon import Daemon, remove_all, running_daemon
from polling import wait_until

pytestmark = pytest.mark.root

COUNT = "dd if=/dev/zero of=/m bs=1M count={0} 2>/dev/null; i=0; while :; do i=$((i+1)); echo $i >> /a; echo $i >> /z; echo $i; done"


@pytest.fixture(scope="module", params=["overlay", "vfs"])
def running(request, pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    place = tmp_path_factory.mktemp("committing")
    with running_daemon(pyz, place, "-s", request.param, "--log-opt", "max-size=1m") as daemon:
        daemon.api.import_image(busybox_tar(), "base")
        yield daemon


@pytest.fixture
def daemon(running: Daemon) -> Iterator[Daemon]:
    """It has no container; images are called differently in each test."""
    yield running
    remove_all(running.api)


def busy(daemon: Daemon, megabytes: int = 1) -> str:
    """A container that changes its tree all the time."""
    container = daemon.api.create("sh", "-c", COUNT.format(megabytes))
    daemon.api.start(container)
    wait_until(lambda: daemon.api.logs(container), "the first number")
    return container


def goes_on(daemon: Daemon, container: str) -> None:
    end = daemon.api.logs(container)[-100:]
    wait_until(lambda: daemon.api.logs(container)[-100:] != end, "more output")


def frozen(daemon: Daemon, container: str) -> bool:
    full = daemon.api.inspect(container)["ID"]
    places = [
        Path(f"/sys/fs/cgroup/freezer/trioker/{full}/freezer.state"),
        Path(f"/sys/fs/cgroup/trioker/{full}/cgroup.freeze"),
    ]
    return any(each.exists() and each.read_text().strip() in ("FROZEN", "1") for each in places)


def leftovers(container: str) -> list[Path]:
    return [each for each in Path("/sys/fs/cgroup").glob(f"freezer/trioker/{container}*") if each.is_dir()]


def commit(daemon: Daemon, container: str, body: object = None, **query: str) -> str:
    text = "&".join(f"{key}={value}" for key, value in query.items())
    return str(daemon.api.ok("POST", f"/commit?container={container}&{text}", body)["Id"])


def printed(daemon: Daemon, image: str, *command: str) -> bytes:
    container = daemon.api.create(*command, image=image)
    daemon.api.start(container)
    assert daemon.api.wait(container) == 0
    output = daemon.api.logs(container)
    daemon.api.remove(container)
    return output


def test_an_image_holds_what_its_container_changed_and_runs_as_it_did(daemon: Daemon):
    api = daemon.api
    script = "echo new > /new; rm /etc/group; mkdir /d; ln -s /new /d/link; chmod 700 /tmp"
    container = api.create("sh", "-c", script, Env=["GREETING=hello"])
    api.start(container)
    assert api.wait(container) == 0
    image = commit(
        daemon,
        container,
        {"Cmd": ["sh", "-c", "cat /d/link; ls /etc; echo $GREETING"]},
        repo="made",
        m="words",
        author="me",
    )
    found = api.ok("GET", f"/images/{image}/json")
    assert (found["comment"], found["author"]) == ("words", "me")
    assert found["container"].startswith(container)
    assert found["container_config"]["Cmd"] == ["sh", "-c", script]
    child = api.create(image="made")
    api.start(child)
    assert api.wait(child) == 0
    assert api.logs(child).split() == [b"new", b"hostname", b"hosts", b"motd", b"passwd", b"resolv.conf", b"hello"]
    again = commit(daemon, child, repo="made", tag="again")
    assert printed(daemon, "made:again", "stat", "-c", "%a", "/tmp") == b"700\n"
    api.remove(child)
    api.remove(container)
    assert {"Deleted": again} in [
        {key: value[:12] for key, value in each.items()} for each in api.ok("DELETE", "/images/made:again")
    ]


def test_a_container_that_never_ran_and_one_that_changed_nothing_are_images_too(daemon: Daemon):
    container = daemon.api.create("true")
    commit(daemon, container, repo="same")
    assert printed(daemon, "same", "cat", "/etc/motd") == b"hello from the image\n"


def test_a_busy_container_is_one_moment_in_its_image_and_goes_on(daemon: Daemon):
    container = busy(daemon, megabytes=60)
    commit(daemon, container, repo="moment")
    goes_on(daemon, container)
    first, last = map(int, printed(daemon, "moment", "tail", "-q", "-n", "1", "/a", "/z").split())
    assert first - 1 <= last <= first
    assert leftovers(container) == []


def test_a_kill_does_not_wait_for_a_commit(daemon: Daemon):
    container = busy(daemon, megabytes=150)
    done: list[str] = []
    committing = threading.Thread(target=lambda: done.append(commit(daemon, container, repo="killed")))
    committing.start()
    wait_until(lambda: frozen(daemon, container), "the freeze")
    daemon.api.ok("POST", f"/containers/{container}/kill")
    assert done == []
    committing.join(60)
    assert len(done) == 1
    assert printed(daemon, "killed", "stat", "-c", "%s", "/m") == b"157286400\n"
    assert leftovers(container) == []


def test_a_client_that_goes_away_leaves_a_container_that_goes_on(daemon: Daemon):
    container = busy(daemon, megabytes=150)
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
    connection.request("POST", f"/v1.2/commit?container={container}&repo=never")
    wait_until(lambda: frozen(daemon, container), "the freeze")
    connection.sock.close()
    wait_until(lambda: not leftovers(container), "the thaw")
    goes_on(daemon, container)


def test_a_daemon_killed_while_a_container_is_frozen_lets_it_go_on_at_its_next_start(daemon: Daemon):
    container = busy(daemon, megabytes=150)
    client = threading.Thread(target=_try_commit, args=(daemon, container))
    client.start()
    wait_until(lambda: frozen(daemon, container), "the freeze")
    daemon.kill()
    client.join(60)
    daemon.start()
    assert leftovers(container) == []
    goes_on(daemon, container)
    assert "half" not in str(daemon.api.ok("GET", "/images/json?all=1"))
    commit(daemon, container, repo="half")


def _try_commit(daemon: Daemon, container: str) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        commit(daemon, container, repo="half")


def test_a_volume_of_the_image_begins_with_what_the_image_has_there(daemon: Daemon):
    api = daemon.api
    container = api.create("sh", "-c", "mkdir /data; echo seed > /data/seed; chown -R 1000:50 /data; chmod 750 /data")
    api.start(container)
    assert api.wait(container) == 0
    commit(daemon, container, {"Volumes": {"/data": {}, "/absent": {}}}, repo="voluminous")
    command = "cat /data/seed; stat -c '%u %g %a' /data; echo more > /data/more; ls /absent | wc -l"
    first = api.create("sh", "-c", command, image="voluminous")
    api.start(first)
    assert api.wait(first) == 0
    assert api.logs(first) == b"seed\n1000 50 750\n0\n"
    places = [os.listdir(f"{daemon.root}/volumes/{volume}") for volume in api.inspect(first)["Volumes"].values()]
    assert sorted(map(sorted, places)) == [[], ["more", "seed"]]
    api.start(first)
    assert api.wait(first) == 0
    assert [each["Path"] for each in api.ok("GET", f"/containers/{first}/changes")] == [
        "/absent"
    ]  # where it is mounted


def test_the_stop_signal_working_directory_and_entrypoint_of_the_image_count(daemon: Daemon):
    api = daemon.api
    container = api.create("true")
    script = "trap 'echo quit; exit 3' QUIT; echo $0 $(pwd); while :; do sleep 0.05; done"
    body = {"Entrypoint": ["sh", "-c", script], "Cmd": ["zero"], "WorkingDir": "/tmp/deep", "StopSignal": "SIGQUIT"}
    commit(daemon, container, body, repo="served")
    child = api.create(image="served")
    api.start(child)
    wait_until(lambda: api.logs(child), "the first line")
    api.ok("POST", f"/containers/{child}/stop?t=30")
    assert api.logs(child) == b"zero /tmp/deep\nquit\n"
    assert api.wait(child) == 3


@pytest.mark.parametrize("query", ["container=nope", "container={0}&repo=a:b", "container={0}&repo=x&tag=a/b"])
def test_a_commit_that_cannot_be_is_refused(daemon: Daemon, query: str):
    container = daemon.api.create("true")
    answer = daemon.api.call("POST", f"/commit?{query.format(container)}")
    assert answer.status in (400, 404)
