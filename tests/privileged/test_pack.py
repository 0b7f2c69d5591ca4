"""The packer as the launcher runs it: a forked helper with the tree's mounts in a namespace of its own."""

import os
import stat
import struct
import subprocess
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest
from archives import grow_tree, run_job, snapshot, unpack_bytes

from trioker.linux.mounts import MS_BIND, MS_RDONLY, Mount

pytestmark = pytest.mark.root


def packed(mounts, tmp_path):
    """What the helper wrote, and its answer."""
    mount_point = tmp_path / "mount point"
    mount_point.mkdir(exist_ok=True)
    with (tmp_path / "made.tar").open("w+b") as out:
        answer = run_job("pack", {"mounts": mounts, "mount_point": str(mount_point)}, out.fileno())
        out.seek(0)
        return out.read(), answer


def bind(path):
    return [Mount(str(path), "none", MS_BIND | MS_RDONLY)]


@pytest.mark.parametrize("seed", range(3))
def test_a_tree_survives_packing_and_unpacking(seed, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir(mode=0o755)
    grow_tree(source, seed, privileged=True)
    (source / "ping").write_bytes(b"x")
    os.setxattr(source / "ping", "security.capability", struct.pack("<5I", 0x02000001, 0x2000, 0, 0, 0))
    os.setxattr(source, "user.colour", b"\0red")
    os.utime(source / "ping", (5, 5))
    os.utime(source, (6, 6))
    made, answer = packed(bind(source), tmp_path)
    assert answer["event"] == "done"
    done = unpack_bytes(made, target)
    assert done.pop("diff") == f"sha256:{sha256(made).hexdigest()}"
    assert done == answer
    assert snapshot(target) == snapshot(source)
    compare = ["tar", "--numeric-owner", "--xattrs", "-C", source, "--compare", "-f", "-"]
    subprocess.run(compare, input=made, check=True)


def test_an_overlay_is_packed_as_it_shows_and_no_mount_is_left(tmp_path):
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    for each in (lower / "d", upper / "d"):
        each.mkdir(parents=True)
    (lower / "gone").touch()
    (lower / "d/old").write_text("old")
    (upper / "d/new").write_text("new")
    os.mknod(upper / "gone", stat.S_IFCHR, 0)
    before = Path("/proc/self/mountinfo").read_text()
    overlay = Mount("overlay", "overlay", MS_RDONLY, "lowerdir=upper:lower", str(tmp_path))
    made, answer = packed([overlay], tmp_path)
    assert answer == {"event": "done", "size": 6, "entries": 4}
    names = subprocess.run(["tar", "-t"], input=made, check=True, capture_output=True).stdout.decode().split()
    assert names == ["./", "./d/", "./d/new", "./d/old"]
    assert Path("/proc/self/mountinfo").read_text() == before


def test_a_whiteout_of_a_bottom_layer_that_is_shown_bare_is_left_out(tmp_path):
    (tmp_path / "layer").mkdir()
    os.mknod(tmp_path / "layer/gone", stat.S_IFCHR, 0)
    assert packed(bind(tmp_path / "layer"), tmp_path)[1]["entries"] == 1


def test_a_link_out_of_the_tree_is_packed_as_a_link(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/link").symlink_to("/etc")
    made, _ = packed(bind(tmp_path / "tree"), tmp_path)
    listing = subprocess.run(["tar", "-tv"], input=made, check=True, capture_output=True).stdout.decode()
    assert "./link -> /etc" in listing
    assert len(listing.splitlines()) == 2


def test_a_mount_that_fails_is_told(tmp_path):
    made, answer = packed([Mount("/no/such/place", "none", MS_BIND)], tmp_path)
    assert made == b""
    assert answer["event"] == "failed"
    assert "No such file or directory" in answer["message"]


def test_a_reader_that_goes_away_ends_the_helper(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_bytes(bytes(2**22))
    mount_point = tmp_path / "mount point"
    mount_point.mkdir()
    reader, writer = os.pipe()
    os.close(reader)
    answer = run_job("pack", {"mounts": bind(tmp_path / "tree"), "mount_point": str(mount_point)}, writer)
    os.close(writer)
    assert answer == {"event": "failed", "message": "Broken pipe", "full": False}


def test_owners_are_numbers_only(tmp_path):
    (tmp_path / "tree").mkdir()
    packed(bind(tmp_path / "tree"), tmp_path)
    with tarfile.open(tmp_path / "made.tar") as archive:
        assert {(each.uid, each.gid, each.uname, each.gname) for each in archive} == {(0, 0, "", "")}
