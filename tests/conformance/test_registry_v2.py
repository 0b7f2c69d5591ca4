"""The whole daemon and registries of today: Debian's docker-registry, skopeo, and one of our own that misbehaves."""

import base64
import contextlib
import gzip
import json
import re
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
import trustme
from api_client import Api, objects
from busybox import busybox_tar
from daemon import Daemon, running_daemon
from oci import OciImage, digest_of, layer_tar, oci_image, write_layout
from polling import wait_until
from registry_debian import PASSWORD, USER, DebianRegistry, debian_registry, skopeo
from registry_v2 import Exchange, Fault, Registry, cut_blobs, serving
from tars import hard_link, tar_of

pytestmark = pytest.mark.root

CREDENTIALS = {"username": USER, "password": PASSWORD, "email": ""}
IMAGE = oci_image(busybox_tar(), layer_tar(first=b"1\n"), layer_tar(second=b"2\n"), Cmd=["cat", "/first", "/second"])


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DebianRegistry]:
    with debian_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """IMAGE for skopeo."""
    directory = tmp_path_factory.mktemp("layout") / "oci"
    write_layout(directory, "x", IMAGE)
    return directory


@pytest.fixture(scope="module")
def daemon(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running_daemon(pyz, tmp_path_factory.mktemp("v2")) as daemon:
        yield daemon


@pytest.fixture
def api(daemon: Daemon) -> Iterator[Api]:
    """Without images before and after."""
    yield daemon.api
    delete_all(daemon.api)


@pytest.fixture
def own() -> Iterator[Registry]:
    with serving(Registry()) as registry:
        yield registry


def delete_all(api: Api) -> None:
    for row in api.ok("GET", "/images/json"):
        api.call(
            "DELETE", f"/images/{row['Repository']}:{row['Tag']}" if "Repository" in row else f"/images/{row['Id']}"
        )
    assert api.ok("GET", "/images/json?all=1") == []


def told(api: Api, path: str, body: Any = None, **options: Any) -> list[dict[str, Any]]:
    """The objects of a stream; an answer that is an error is one."""
    answer = api.call("POST", path, body, **options)
    if answer.status != 200:
        return [{"error": answer.text.strip()}]
    return objects(answer.text)


def pull(api: Api, name: str, **options: Any) -> list[dict[str, Any]]:
    return told(api, f"/images/create?fromImage={name}", **options)


def push(api: Api, name: str, tag: str = "", credentials: Any = None) -> list[dict[str, Any]]:
    return told(api, f"/images/{name}/push" + (f"?tag={tag}" if tag else ""), credentials or {"username": ""})


def done(objects: list[dict[str, Any]]) -> list[str]:
    """What was told, none of which is an error."""
    assert not [each for each in objects if "error" in each], objects
    return [each["status"] for each in objects]


def auth(credentials: dict[str, str]) -> dict[str, str]:
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(credentials).encode()).decode()}


def test_what_skopeo_pushed_is_pulled_and_runs(api: Api, registry: DebianRegistry, layout: Path) -> None:
    skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}:x", registry.reference("app:1"))
    said = done(pull(api, f"{registry.host}/app:1"))
    assert said[-1] == f"Status: Downloaded newer image for {registry.host}/app:1"
    assert api.run(image=f"{registry.host}/app:1") == (0, b"1\n2\n")
    assert api.ok("GET", f"/images/{registry.host}/app:1/json")["id"] == IMAGE.config_digest[7:]


def test_pull_push_pull_is_byte_identical(api: Api, registry: DebianRegistry, layout: Path, tmp_path: Path) -> None:
    skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}:x", registry.reference("first:1"))
    done(pull(api, f"{registry.host}/first:1"))
    with debian_registry(tmp_path) as other:
        api.ok("POST", f"/images/{registry.host}/first:1/tag?repo={other.host}/second&tag=2")
        done(push(api, f"{other.host}/second", "2"))
        raw = skopeo("inspect", "--tls-verify=false", "--raw", other.reference("second:2"))
        assert digest_of(raw.encode()) == IMAGE.digest
        skopeo("copy", "--src-tls-verify=false", other.reference("second:2"), f"dir:{tmp_path / 'copied'}")
        for digest, blob in IMAGE.blobs.items():
            assert (tmp_path / "copied" / digest[7:]).read_bytes() == blob
        delete_all(api)
        assert f"Digest: {IMAGE.digest}" in done(pull(api, f"{other.host}/second:2"))


def test_what_was_made_here_is_pushed_and_skopeo_takes_it(api: Api, registry: DebianRegistry, tmp_path: Path) -> None:
    api.import_image(busybox_tar(), f"{registry.host}/made")
    first = done(push(api, f"{registry.host}/made"))[-1]
    assert first.startswith("latest: digest: sha256:")
    assert done(push(api, f"{registry.host}/made"))[-1] == first
    skopeo("copy", "--src-tls-verify=false", registry.reference("made:latest"), f"oci:{tmp_path}/oci:x")
    delete_all(api)
    done(pull(api, f"{registry.host}/made"))
    assert api.run("echo", "well", image=f"{registry.host}/made") == (0, b"well\n")


def test_a_blob_of_another_repository_is_mounted(api: Api, registry: DebianRegistry, layout: Path) -> None:
    skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}:x", registry.reference("some/source:1"))
    done(pull(api, f"{registry.host}/some/source:1"))
    api.ok("POST", f"/images/{registry.host}/some/source:1/tag?repo={registry.host}/some/target&tag=1")
    assert done(push(api, f"{registry.host}/some/target")).count("Mounted from some/source") == 4


def test_all_tags_are_pulled_and_pushed_where_none_is_named(api: Api, registry: DebianRegistry, layout: Path) -> None:
    for tag in ("a", "b"):
        skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}:x", registry.reference(f"many:{tag}"))
    done(pull(api, f"{registry.host}/many"))
    assert sorted(row["Tag"] for row in api.ok("GET", "/images/json")) == ["a", "b"]
    assert sum("digest" in each for each in done(push(api, f"{registry.host}/many"))) == 2


def test_a_digest_pulls_what_it_names(api: Api, registry: DebianRegistry, layout: Path) -> None:
    skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}:x", registry.reference("app:1"))
    done(pull(api, f"{registry.host}/app@{IMAGE.digest}"))
    assert api.run(image=f"{registry.host}/app@{IMAGE.digest}") == (0, b"1\n2\n")
    api.ok("DELETE", f"/images/{registry.host}/app@{IMAGE.digest}")


def test_what_is_not_there_is_said_in_the_words_users_know(api: Api, registry: DebianRegistry) -> None:
    (failure,) = [each["error"] for each in pull(api, f"{registry.host}/nothing:1") if "error" in each]
    assert f"manifest for {registry.host}/nothing:1 not found: manifest unknown" in failure
    assert "No such" in push(api, f"{registry.host}/nothing")[-1]["error"]


def test_a_registry_behind_tls_and_a_login(pyz: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    for each in ("registry", "daemon"):
        (tmp_path / each).mkdir()
    with (
        debian_registry(
            tmp_path / "registry", login=True, certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem"
        ) as registry,
        running_daemon(pyz, tmp_path / "daemon", "--registry-ca", str(tmp_path / "ca.pem")) as daemon,
    ):
        api, name = daemon.api, f"{registry.host}/private"
        api.import_image(busybox_tar(), name)
        assert "unauthorized" in push(api, name)[-1]["error"]
        assert "unauthorized" in push(api, name, credentials={**CREDENTIALS, "password": "guess"})[-1]["error"]
        done(push(api, name, credentials=CREDENTIALS))
        delete_all(api)
        assert "unauthorized" in pull(api, name)[-1]["error"]
        done(pull(api, name, headers=auth(CREDENTIALS)))
        assert api.run("true", image=name) == (0, b"")
        delete_all(api)
        assert PASSWORD not in daemon.log_text()
        kept = [path for path in daemon.root.rglob("*") if path.is_file() and "layers" not in path.parts]
        assert not [path for path in kept if PASSWORD.encode() in path.read_bytes()]


# -- broken in the middle --------------------------------------------------------------------------------------------------


def big_image(seed: str = "") -> OciImage:
    """A few megabytes that gzip cannot make smaller, so that a cut falls into the middle."""
    noise = b"".join(digest_of(f"{seed}{place}".encode()).encode() for place in range(100_000))
    return oci_image(busybox_tar(), layer_tar(noise=noise), Cmd=["wc", "-c", "/noise"])


BIG = big_image()
RUN_BIG = (0, b"7100000 /noise\n")


def stall(after: int, stalled: threading.Event) -> Fault:
    """Send so many bytes of the big layer and then nothing, until the client goes."""

    def fault(exchange: Exchange) -> bool:
        if exchange.command != "GET" or BIG.layers[1] not in exchange.path or stalled.is_set():
            return False
        blob = BIG.blobs[BIG.layers[1]]
        exchange.send_response(200)
        exchange.send_header("Content-Length", str(len(blob)))
        exchange.end_headers()
        exchange.wfile.write(blob[:after])
        stalled.set()
        with contextlib.suppress(OSError):
            exchange.connection.settimeout(30)
            exchange.connection.recv(1)
        exchange.close_connection = True
        return True

    return fault


def test_a_connection_that_breaks_is_taken_up_where_it_was(api: Api, own: Registry) -> None:
    own.put("big", "1", BIG)
    own.faults.append(cut_blobs(after=2**20 + 5, times=3))
    done(pull(api, f"{own.host}/big:1"))
    assert own.count(f"GET .*{BIG.layers[1]}") >= 3
    assert api.run(image=f"{own.host}/big:1") == RUN_BIG


def test_a_layer_links_to_a_file_of_the_layer_below(api: Api, own: Registry) -> None:
    image = oci_image(busybox_tar(), layer_tar(low=b"below\n"), tar_of(hard_link("high", "low")), Cmd=["cat", "/high"])
    own.put("linked", "1", image)
    done(pull(api, f"{own.host}/linked:1"))
    assert api.run(image=f"{own.host}/linked:1") == (0, b"below\n")


def test_a_bomb_does_not_go_off(api: Api, own: Registry) -> None:
    """A few megabytes that would be fifty gigabytes of zeros."""
    header = tarfile.TarInfo("zeros")
    header.size = 50 * 2**30
    bomb = gzip.compress(header.tobuf()) + gzip.compress(bytes(2**26), 9, mtime=0) * 100
    honest = oci_image(b"")
    (layer,) = honest.layers
    raw = honest.manifest.replace(layer.encode(), digest_of(bomb).encode())
    raw = raw.replace(f'"size": {len(honest.blobs[layer])}'.encode(), f'"size": {len(bomb)}'.encode())
    own.put("bomb", "1", honest._replace(manifest=raw, blobs={**honest.blobs, digest_of(bomb): bomb}))
    failure = pull(api, f"{own.host}/bomb:1")[-1]["error"]
    assert "zeros" in failure or "compress" in failure, failure


def test_a_killed_daemon_goes_on_where_it_was(pyz: Path, tmp_path: Path, own: Registry) -> None:
    own.put("big", "1", BIG)
    stalled = threading.Event()
    own.faults.append(stall(3 * 2**20, stalled))
    ranges: list[str] = []
    own.faults.append(lambda exchange: ranges.append(exchange.headers.get("Range", "")) or False)
    with running_daemon(pyz, tmp_path) as daemon:
        asking = threading.Thread(target=_pull_in_vain, args=(daemon.api, f"{own.host}/big:1"))
        asking.start()
        assert stalled.wait(20)
        part = daemon.root / "blobs" / "partial" / BIG.layers[1][7:]
        wait_until(lambda: part.exists() and part.stat().st_size >= 2**20, "a part of the layer on the disk")
        daemon.kill()
        asking.join()
        daemon.start()
        assert daemon.api.ok("GET", "/images/json?all=1") == []
        done(pull(daemon.api, f"{own.host}/big:1"))
        assert re.fullmatch(r"bytes=[1-9][0-9]{6,}-", next(each for each in ranges if each))
        assert daemon.api.run(image=f"{own.host}/big:1") == RUN_BIG
        delete_all(daemon.api)


def _pull_in_vain(api: Api, name: str) -> None:
    with contextlib.suppress(OSError, HTTPException):
        pull(api, name)


def test_clients_pulling_the_same_share_the_work(api: Api, own: Registry) -> None:
    image = big_image("another")
    own.put("big", "1", image)
    said: list[list[str]] = []
    threads = [threading.Thread(target=lambda: said.append(done(pull(api, f"{own.host}/big:1")))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 3
    assert [own.count(f"GET .*{digest}") for digest in (image.config_digest, image.layers[1])] == [1, 1]
    assert api.run(image=f"{own.host}/big:1") == RUN_BIG


def test_deleting_and_pulling_at_the_same_time_breaks_nothing(api: Api, own: Registry) -> None:
    own.put("app", "1", IMAGE)
    own.put("app", "2", oci_image(busybox_tar(), layer_tar(other=b"3\n"), Cmd=["cat", "/other"]))
    over = threading.Event()

    def delete() -> None:
        while not over.is_set():
            for tag in "12":
                api.call("DELETE", f"/images/{own.host}/app:{tag}")

    deleting = threading.Thread(target=delete)
    deleting.start()
    try:
        for _ in range(4):
            done(pull(api, f"{own.host}/app"))
    finally:
        over.set()
        deleting.join()
    done(pull(api, f"{own.host}/app"))
    assert api.run(image=f"{own.host}/app:1") == (0, b"1\n2\n")
    assert api.run(image=f"{own.host}/app:2") == (0, b"3\n")


def test_a_disk_that_fills_up_leaves_the_store_clean_and_the_rest_working(
    pyz: Path, tmp_path: Path, own: Registry
) -> None:
    own.put("small", "1", IMAGE)
    noise = layer_tar(noise=b"".join(digest_of(str(place).encode()).encode() for place in range(400_000)))
    own.put("huge", "1", oci_image(busybox_tar(), noise))
    disk, root = tmp_path / "disk", tmp_path / "place" / "root"
    root.mkdir(parents=True)
    subprocess.run(["truncate", "-s", "36M", disk], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", disk], check=True)
    mounted = f'mount -o loop "{disk}" "{root}" && exec "$@"'
    prefix = ("unshare", "--mount", "--propagation", "private", "sh", "-c", mounted, "sh")
    with running_daemon(pyz, tmp_path / "place", prefix=prefix) as daemon:
        done(pull(daemon.api, f"{own.host}/small:1"))
        failure = pull(daemon.api, f"{own.host}/huge:1")[-1]["error"]
        assert re.search("No space left|no space left|room|free", failure), failure
        assert [row["Tag"] for row in daemon.api.ok("GET", "/images/json")] == ["1"]
        assert daemon.api.run(image=f"{own.host}/small:1") == (0, b"1\n2\n")
        own.put("other", "1", oci_image(busybox_tar(), layer_tar(other=b"3\n"), Cmd=["cat", "/other"]))
        done(pull(daemon.api, f"{own.host}/other:1"))
        assert daemon.api.run(image=f"{own.host}/other:1") == (0, b"3\n")
        delete_all(daemon.api)
