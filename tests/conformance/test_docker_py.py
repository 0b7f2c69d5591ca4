"""docker-py 0.3.2, a client of the time, drives whole lives of containers (``version="1.2"``)."""

import collections
import collections.abc
import contextlib
import gc
import io
import json
import re
import socket
import tarfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from busybox import small_tar
from daemon import Daemon


def lend_old_names(patch: pytest.MonkeyPatch) -> None:
    """Where requests 2.2.1, which docker-py 0.3.2 pins, looks for them; Python 3.10 took them away."""
    for name in ("Callable", "Mapping", "MutableMapping"):
        patch.setattr(collections, name, getattr(collections.abc, name), raising=False)


with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
    lend_old_names(patch)
    warnings.simplefilter("ignore")  # of 2014: deprecated modules, invalid escapes
    import docker
    import docker.errors

pytestmark = [
    pytest.mark.root,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # it leaves its sockets to the garbage collector
]


@pytest.fixture(params=["unix", "tcp"])
def client(request: pytest.FixtureRequest, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    lend_old_names(monkeypatch)
    address = f"unix://{daemon.socket}" if request.param == "unix" else f"http://127.0.0.1:{daemon.port}"
    client = docker.Client(base_url=address, version="1.2", timeout=20)
    client.trust_env = False  # no proxy of this machine
    yield client
    client.close()
    gc.collect()  # while its unclosed sockets are still this test's own and ignored


def test_the_life_of_a_container(client: Any) -> None:
    created = client.create_container("base", ["sh", "-c", "echo hello; echo oops >&2; touch /made; exit 3"])
    container = created["Id"]
    assert created["Warnings"] in ([], None)
    assert client.inspect_container(container)["State"]["Running"] is False
    client.start(container)
    assert client.wait(container) == 3
    assert client.logs(container) == b"hello\noops\n"
    assert client.logs(container, stderr=False) == b"hello\n"
    assert client.attach(container, logs=True) == b"hello\noops\n"
    assert {"Path": "/made", "Kind": 1} in client.diff(container)
    shown = client.inspect_container(container)
    assert shown["ID"] == shown["Id"]
    assert shown["State"]["ExitCode"] == 3
    with tarfile.open(fileobj=io.BytesIO(client.export(container).read())) as tar:
        assert any(member.name.endswith("made") for member in tar)
    client.remove_container(container)
    with pytest.raises(docker.errors.APIError) as missing:
        client.inspect_container(container)
    assert missing.value.response.status_code == 404


def test_a_running_container_is_followed_stopped_restarted_and_killed(client: Any) -> None:
    container = client.create_container("base", "sh -c 'trap \"exit 7\" TERM; echo ready; sleep 1000 & wait'")["Id"]
    client.start(container)
    lines = client.attach(container, stream=True, logs=True)
    assert next(lines) in ("ready", b"ready")
    (row,) = [row for row in client.containers() if row["Id"].startswith(container)]
    assert row["Image"] == "base:latest"
    assert row["Status"].startswith("Up ")
    assert len(client.containers(limit=1)) == len(client.containers(latest=True)) == 1
    assert client.containers(quiet=True, limit=1)[0]["Id"].startswith(container)
    client.restart(container, timeout=5)
    again = client.attach(container, stream=True, logs=True)
    assert next(again) in ("ready", b"ready")
    assert next(again) in ("ready", b"ready")
    client.stop(container, timeout=5)
    assert client.wait(container) == 7
    client.start(container)
    client.kill(container)
    assert client.wait(container) == 137
    assert not [row for row in client.containers() if row["Id"].startswith(container)]
    assert [row for row in client.containers(all=True) if row["Id"].startswith(container)]
    client.remove_container(container, v=True)


@contextlib.contextmanager
def attach_socket(client: Any, container: str) -> Iterator[socket.socket]:
    """What its method of that name does, but the reply is held: on Python 3 the socket would be closed with it."""
    url = client._url(f"/containers/{container}/attach")
    reply = client.post(url, None, params={"stdin": 1, "stdout": 1, "stream": 1}, stream=True)
    with client._get_raw_response_socket(reply) as sock:
        sock.settimeout(20)
        yield sock
    reply.close()


def test_a_socket_carries_stdin_and_output(client: Any) -> None:
    container = client.create_container("base", "cat", stdin_open=True)["Id"]
    with attach_socket(client, container) as sock:
        client.start(container)
        sock.sendall(b"hello\n")
        assert sock.recv(100) == b"hello\n"
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == b""
    assert client.wait(container) == 0
    client.remove_container(container)


def test_images_are_imported_tagged_shown_and_removed(client: Any, tmp_path: Path) -> None:
    tar = tmp_path / "image.tar"
    tar.write_bytes(small_tar(file=b"1"))
    imported = json.loads(client.import_image(str(tar), repository="made", tag="v1"))["status"]
    another = json.loads(client.import_image(str(tar), repository="another"))["status"]
    assert {imported, another} == {
        row["Id"][:12] for row in client.images() if row.get("Repository") in ("made", "another")
    }
    assert client.images("made")[0]["Tag"] == "v1"
    assert any(each.startswith(imported) for each in client.images(quiet=True))
    assert client.inspect_image(imported)["id"].startswith(imported)
    assert client.tag(imported, "other", tag="v2") is True
    assert client.tag(imported, "another", force=True) is True
    (generation,) = json.loads(client.history("made:v1"))
    assert generation["Tags"] == ["another:latest", "made:v1", "other:v2"]
    assert client.images(viz=True).startswith("digraph docker {")
    for name in ("made:v1", "other:v2", "another"):
        client.remove_image(name)
    client.remove_image(another)
    with pytest.raises(docker.errors.APIError) as missing:
        client.inspect_image(imported)
    assert missing.value.response.status_code == 404


def test_a_missing_image_and_a_running_container_are_errors_with_a_status(client: Any) -> None:
    with pytest.raises(docker.errors.APIError) as missing:
        client.create_container("none", "true")
    assert missing.value.response.status_code == 404
    container = client.create_container("base", "sleep 1000")["Id"]
    client.start(container)
    with pytest.raises(docker.errors.APIError) as running:
        client.remove_container(container)
    assert running.value.response.status_code == 406
    client.kill(container)
    client.remove_container(container)


def test_configuration_is_honoured(client: Any) -> None:
    first = client.create_container(
        "base", ["sh", "-c", "id -un; hostname; echo $WORD; echo data > /data/file; cat /etc/resolv.conf"],
        user="root", hostname="here", environment={"WORD": "spoken"}, volumes=["/data"], dns=["10.9.8.7"], mem_limit=64 << 20, cpu_shares=512,
    )["Id"]  # fmt: skip
    client.start(first)
    assert client.wait(first) == 0
    assert client.logs(first).splitlines() == [b"root", b"here", b"spoken", b"nameserver 10.9.8.7"]
    second = client.create_container("base", "cat /data/file", volumes_from=first)["Id"]
    client.start(second)
    assert client.wait(second) == 0
    assert client.logs(second) == b"data\n"
    for each in (first, second):
        client.remove_container(each, v=True)


def test_info_and_version_are_what_its_own_tests_expect(client: Any) -> None:
    assert {"Containers", "Images", "Debug"} <= client.info().keys()
    version = client.version()
    assert "GoVersion" in version
    assert re.fullmatch(r"\d+\.\d+\.\d+", version["Version"])
