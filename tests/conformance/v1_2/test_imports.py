"""Making images: ``POST /images/create`` with ``fromSrc`` (page, "Create an image"; behaviour.md section 5)."""

import bz2
import gzip
import http.server
import io
import lzma
import re
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from api_client import Api, dial, objects
from busybox import small_tar
from daemon import Daemon
from polling import wait_until

pytestmark = pytest.mark.root

HELLO = small_tar(hello=b"hello\n")
COMPRESSIONS = {"plain": bytes, "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


@pytest.fixture(autouse=True)
def images_as_before(api: Api) -> Iterator[None]:
    """Every test begins with ``base`` alone, and what it made is removed."""
    yield
    for row in api.ok("GET", "/images/json"):
        if row.get("Repository") != "base":
            api.ok(
                "DELETE", f"/images/{row['Repository']}:{row['Tag']}" if "Repository" in row else f"/images/{row['Id']}"
            )


def files_of(api: Api, image: str) -> dict[str, bytes]:
    """The regular files of an image, by an export; without the places in /etc that every container has files of its own bound on."""
    with api.container("none", image=image, start=False) as container:
        with tarfile.open(fileobj=io.BytesIO(api.ok("GET", f"/containers/{container}/export"))) as tar:
            return {
                each.name.removeprefix("./"): tar.extractfile(each).read()
                for each in tar
                if each.isreg() and "etc/" not in each.name
            }


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("query", ["fromSrc=-&repo=made", "repo=made", "fromSrc=-&repo=made&tag=latest"])
def test_a_tar_in_the_body_becomes_an_image(either: Api, compression: str, query: str) -> None:
    answer = either.call("POST", f"/images/create?{query}", COMPRESSIONS[compression](HELLO))
    assert answer.status == 200, answer.text
    assert re.fullmatch(r'\{"status":"[0-9a-f]{12}"\}', answer.text)
    assert files_of(either, "made:latest") == {"hello": b"hello\n"}


def test_a_chunked_upload_becomes_an_image(api: Api) -> None:
    pieces = iter([HELLO[:1], HELLO[1:700], HELLO[700:]])
    api.ok(
        "POST",
        "/images/create?fromSrc=-&repo=made",
        pieces,
        encode_chunked=True,
        headers={"Transfer-Encoding": "chunked"},
    )
    assert files_of(api, "made") == {"hello": b"hello\n"}


def test_an_upload_that_calls_itself_a_form_is_a_tar(api: Api) -> None:
    """curl's ``--data-binary`` does."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert api.call("POST", "/images/create?fromSrc=-&repo=made", HELLO, headers).status == 200
    assert files_of(api, "made") == {"hello": b"hello\n"}


def test_an_import_has_the_name_it_was_given(api: Api) -> None:
    api.import_image(HELLO, "my/made", "v1.0")
    names = {(row.get("Repository"), row.get("Tag")) for row in api.ok("GET", "/images/json")}
    assert ("my/made", "v1.0") in names


def test_an_import_without_a_repository_has_no_name(api: Api) -> None:
    short = api.ok("POST", "/images/create?fromSrc=-", HELLO)["status"]
    (row,) = [row for row in api.ok("GET", "/images/json") if row["Id"].startswith(short)]
    assert not {"Repository", "Tag"} & row.keys()


def test_an_import_takes_a_name_over(api: Api) -> None:
    first, second = api.import_image(HELLO, "made"), api.import_image(small_tar(other=b""), "made")
    assert api.ok("GET", "/images/made/json")["id"].startswith(second)
    assert api.ok("GET", f"/images/{first}/json")["id"].startswith(first)


def test_an_imported_image_is_inspected_as_in_2013(either: Api) -> None:
    short = either.import_image(HELLO, "made")
    image = either.ok("GET", "/images/made/json")
    assert re.fullmatch(short + r"[0-9a-f]{52}", image["id"])
    assert image["comment"] == "Imported from -"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", image["created"])
    assert image["Size"] == 6
    assert not {"parent", "container", "config"} & image.keys()
    assert image["container_config"]["Cmd"] is None


# -- from a URL ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A web server on loopback with ``hello.tar``, ``hello.tar.xz``, ``broken.tar``, ``moved`` and ``short.tar``; its address."""
    root = tmp_path_factory.mktemp("site")
    for name, content in {
        "hello.tar": HELLO,
        "hello.tar.xz": lzma.compress(HELLO),
        "broken.tar": b"x" * 10_000,
    }.items():
        Path(root, name).write_bytes(content)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(root))

        def do_GET(self) -> None:
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "/hello.tar")
                self.end_headers()
            elif self.path == "/short.tar":
                self.send_response(200)
                self.send_header("Content-Length", str(len(HELLO)))
                self.end_headers()
                self.wfile.write(HELLO[:1000])
            else:
                super().do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["hello.tar", "hello.tar.xz", "moved"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_a_tar_at_a_url_becomes_an_image(either: Api, site: str, scheme: str, path: str) -> None:
    answer = either.call("POST", f"/images/create?fromSrc={scheme}{site}/{path}&repo=made&tag=v1")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Transfer-Encoding"] == "chunked"
    first, *progress, end, last = objects(answer.text)
    assert first["status"].startswith("Downloading from")
    assert {each["status"] for each in progress} == {"Importing"}
    assert all(each["progress"] for each in progress)
    assert end == {}
    assert either.ok("GET", "/images/made:v1/json")["id"].startswith(last["status"])
    assert len(last["status"]) == 12
    assert files_of(either, "made:v1") == {"hello": b"hello\n"}


@pytest.mark.parametrize("path", ["none.tar", "broken.tar", "short.tar"])
def test_a_url_that_gives_no_tar_is_told_as_the_last_object(api: Api, site: str, path: str) -> None:
    before = api.ok("GET", "/images/json?all=1")
    answer = api.call("POST", f"/images/create?fromSrc=http://{site}/{path}&repo=made")
    assert answer.status == 200
    *_, last = objects(answer.text)
    assert last == {"error": last["error"], "errorDetail": {"message": last["error"]}}
    assert last["error"]
    assert api.ok("GET", "/images/json?all=1") == before


def test_a_server_that_is_not_there_is_told(api: Api) -> None:
    answer = api.call("POST", "/images/create?fromSrc=http://127.0.0.1:1/x.tar&repo=made")
    *_, last = objects(answer.text)
    assert "127.0.0.1:1" in last["error"]


# -- what is no image -----------------------------------------------------------------------------------------------------------


def tar_of(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for each in members:
            tar.addfile(each, io.BytesIO(b"x" * each.size))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


def damaged(data: bytes) -> bytes:
    return data[:120] + bytes([data[120] ^ 1]) + data[121:]


BROKEN: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "no tar": lambda: b"this is no tar at all" * 100,
    "one block": lambda: HELLO[:512],
    "half a file": lambda: tar_of(member("f", size=5000))[:3000],
    "bad checksum": lambda: damaged(HELLO),
    "half a gzip": lambda: gzip.compress(tar_of(member("f", size=50_000)))[:-20],
    "half an xz": lambda: lzma.compress(HELLO)[:-20],
    "gzip of nothing sound": lambda: gzip.compress(b"x" * 5000),
    "a way up": lambda: tar_of(member("../trioker-escape", size=1)),
    "a hidden way up": lambda: tar_of(member("a/../../trioker-escape", size=1)),
    "a hard link out": lambda: tar_of(member("a", tarfile.LNKTYPE, "../../../../../etc/hostname")),
    "a hard link to nothing": lambda: tar_of(member("a", tarfile.LNKTYPE, "none")),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_tar_is_refused_and_leaves_nothing(daemon: Daemon, name: str) -> None:
    api = daemon.api
    before, files = api.ok("GET", "/images/json?all=1"), stored(daemon)
    answer = api.call("POST", "/images/create?fromSrc=-&repo=made", BROKEN[name]())
    assert 400 <= answer.status <= 500, answer.text
    assert answer.text.strip()
    assert "internal error" not in answer.text
    assert api.ok("GET", "/images/json?all=1") == before
    assert stored(daemon) == files


def stored(daemon: Daemon) -> set[str]:
    """The root's directories, three deep: enough to see a layer that was left."""
    return {str(path) for pattern in ("*", "*/*", "*/*/*") for path in daemon.root.glob(pattern) if path.is_dir()}


def test_a_symlink_leads_nowhere_outside(api: Api, tmp_path: Path) -> None:
    """Unpacked or refused, but nothing is written through it on the host."""
    target = tmp_path / "host"
    target.mkdir()
    tar = tar_of(
        member("way", tarfile.SYMTYPE, str(target)),
        member("way/file", size=3),
        member("up", tarfile.SYMTYPE, "../../../../.."),
    )
    api.call("POST", "/images/create?fromSrc=-&repo=made", tar)
    assert list(target.iterdir()) == []


def test_an_upload_that_breaks_off_leaves_nothing(daemon: Daemon) -> None:
    before, files = daemon.api.ok("GET", "/images/json?all=1"), stored(daemon)
    with dial(daemon.api.address) as connected:
        head = f"POST /images/create?fromSrc=-&repo=made HTTP/1.1\r\nHost: \r\nContent-Length: {len(HELLO)}\r\n\r\n"
        connected.sendall(head.encode() + HELLO[:-1000])
    wait_until(lambda: stored(daemon) == files, "the end of the unpacked layer")
    assert daemon.api.ok("GET", "/images/json?all=1") == before


def test_many_imports_at_once_all_arrive(api: Api) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: api.import_image(small_tar(name=str(n).encode()), f"made{n}"), range(8)))
    assert len(set(made)) == 8
    assert files_of(api, "made5") == {"name": b"5"}
