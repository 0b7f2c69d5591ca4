"""What a container did to its files: changes and export (page; behaviour.md section 4)."""

import io
import tarfile
from typing import Any

import pytest
from api_client import Api, dial, read_head
from busybox import BUSYBOX

pytestmark = pytest.mark.root

SCRIPT = r"""
echo new > /made; mkdir -p /tree/deep; echo x > /tree/deep/file; ln -s ../made /tree/link; ln /made /tree/hard
echo changed >> /etc/motd; rm /etc/group; rm /bin/yes; chmod 700 /var; chown 1000:50 /made; mkfifo /fifo 2>/dev/null
printf 'sparse' | dd of=/sparse bs=1 seek=1000000 2>/dev/null; touch -d '2001-02-03 04:05:06' /made; chmod 4755 /tree/deep/file
"""


@pytest.fixture(scope="module")
def busy(api: Api) -> Any:
    """A container that added, changed and deleted."""
    with api.container("sh", "-c", SCRIPT) as container:
        api.wait(container)
        yield container


def changes(api: Api, container: str) -> dict[str, int]:
    return {each["Path"]: each["Kind"] for each in api.ok("GET", f"/containers/{container}/changes")}


def test_changes_tell_what_was_modified_added_and_deleted(either: Api, busy: str) -> None:
    found = changes(either, busy)
    expected = {
        "/made": 1, "/tree": 1, "/tree/deep": 1, "/tree/deep/file": 1, "/tree/link": 1, "/tree/hard": 1, "/sparse": 1,
        "/etc": 0, "/etc/motd": 0, "/etc/group": 2, "/bin": 0, "/bin/yes": 2, "/var": 0,
    }  # fmt: skip
    assert expected.items() <= found.items(), found
    assert not {"/etc/passwd", "/bin/busybox", "/root", "/tmp"} & found.keys()


def test_changes_are_in_lexical_order_of_the_walk(api: Api, busy: str) -> None:
    paths = [each["Path"] for each in api.ok("GET", f"/containers/{busy}/changes")]
    assert paths == sorted(paths, key=lambda path: path.split("/"))


def test_a_container_that_changed_nothing_has_no_changes(api: Api) -> None:
    with api.container("true") as container:
        api.wait(container)
        assert changes(api, container) == {}


def test_changes_of_a_running_container_are_seen(api: Api) -> None:
    with api.container("sh", "-c", "echo > /now; echo done; exec sleep 1000", start=False) as container:
        with api.attach(container) as stream:
            api.start(container)
            stream.read_until(b"done\n")
        assert changes(api, container)["/now"] == 1


def test_a_directory_made_anew_is_told_with_what_is_gone(api: Api) -> None:
    with api.container("sh", "-c", "rm -r /etc; mkdir /etc; echo > /etc/fresh") as container:
        api.wait(container)
        found = changes(api, container)
    assert found["/etc/fresh"] == 1
    assert found["/etc/motd"] == 2


def exported(api: Api, container: str) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(api.ok("GET", f"/containers/{container}/export"))) as tar:
        return {name(member.name): member for member in tar}


def name(path: str) -> str:
    return path.removeprefix("./").strip("/") or "."


def test_an_export_is_the_whole_tree(either: Api, busy: str) -> None:
    members = exported(either, busy)
    assert {"bin/busybox", "bin/sh", "etc/passwd", "etc/motd", "made", "tree/deep/file", "tmp"} <= members.keys()
    assert not {"etc/group", "bin/yes"} & members.keys()
    assert not [each for each in members if each.startswith((".wh.", "proc/", "sys/", "dev/")) or "/.wh." in each]
    assert members["bin/sh"].linkname == "busybox"
    assert members["tree/link"].linkname == "../made"
    made, hard = members["made"], members["tree/hard"]
    assert (made.isreg() and hard.islnk()) or (hard.isreg() and made.islnk())
    assert {(each.uid, each.gid, each.mtime) for each in (made, hard)} == {(1000, 50, 981173106)}
    assert members["tree/deep/file"].mode & 0o7777 == 0o4755
    assert members["tmp"].mode & 0o7777 == 0o1777
    assert members["var"].mode & 0o7777 == 0o700


def test_an_export_has_the_contents(api: Api, busy: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(api.ok("GET", f"/containers/{busy}/export"))) as tar:
        contents = {name(each.name): tar.extractfile(each).read() for each in tar if each.isreg() or each.islnk()}
    with open(BUSYBOX, "rb") as file:
        assert contents["bin/busybox"] == file.read()
    assert contents["made"] == contents["tree/hard"] == b"new\n"
    assert contents["etc/motd"] == b"hello from the image\nchanged\n"
    assert contents["sparse"] == bytes(1_000_000) + b"sparse"


def test_an_export_imported_again_runs(api: Api, busy: str) -> None:
    image = api.import_image(api.ok("GET", f"/containers/{busy}/export"), "again")
    assert api.run("cat", "/tree/link", image=image) == (0, b"new\n")
    api.ok("DELETE", "/images/again")


def test_a_container_that_never_started_exports_its_image(api: Api) -> None:
    with api.container("true", start=False) as container:
        assert exported(api, container)["etc/motd"].size == len("hello from the image\n")


def test_a_running_container_is_exported(api: Api) -> None:
    with api.container("sleep", "1000") as container:
        assert "bin/busybox" in exported(api, container)
        assert api.inspect(container)["State"]["Running"]


def test_volumes_are_no_part_of_an_export(api: Api) -> None:
    with api.container("sh", "-c", "echo > /data/file", Volumes={"/data": {}}) as container:
        api.wait(container)
        assert "data/file" not in exported(api, container)


def test_an_export_that_nobody_reads_on_is_given_up(api: Api) -> None:
    with api.container("true", start=False) as container:
        with dial(api.address) as connected:
            connected.sendall(f"GET /containers/{container}/export HTTP/1.1\r\nHost: \r\n\r\n".encode())
            assert b" 200 " in read_head(connected)
        api.start(container)
        assert api.wait(container) == 0
