"""DESIGN.md, "Attacks", number 6: each of them in a layer, through the helper that unpacks layers, and what is left of it."""

import gzip
import io
import os
import resource
import stat
import tarfile

import pytest
from archives import archive, member, unpack_bytes

pytestmark = pytest.mark.root

MIB = 2**20
DIRECTORY, SYMLINK, LINK, DEVICE = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE


@pytest.fixture(params=["remove", "overlay"])
def layer(request, tmp_path):
    """A function that unpacks these members into a tree with a secret beside it, and checks that the secret is as it was."""
    secret, target = tmp_path / "secret", tmp_path / "target"
    target.mkdir()
    secret.write_text("host")
    os.chmod(secret, 0o600)

    def unpack(*members, **limits):
        answer = unpack_bytes(archive(*members), target, request.param, **limits)
        found = secret.stat()
        assert (secret.read_text(), found.st_nlink, stat.S_IMODE(found.st_mode), found.st_uid) == ("host", 1, 0o600, 0)
        assert sorted(os.listdir(tmp_path)) == ["secret", "target"]
        return answer

    unpack.path = target
    return unpack


def refused(answer, *words):
    assert answer["event"] == "failed"
    assert answer["archive"]
    for word in words:
        assert word in answer["message"]


@pytest.mark.parametrize("name", ["../secret", "d/../../secret", "./../secret", "..", "d/.."])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, DIRECTORY, SYMLINK, tarfile.FIFOTYPE])
def test_two_dots(layer, name, kind):
    refused(layer(member(name, kind=kind, linkname="x")), '".."', name)


def test_an_absolute_name(layer):
    outside = os.path.join(os.path.dirname(layer.path), "secret")
    assert layer(member(outside, b"mine"))["event"] == "done"
    with open(f"{layer.path}{outside}", "rb") as file:
        assert file.read() == b"mine"


@pytest.mark.parametrize("target", ["..", "../..", "/", "/..", "{outside}", "../../../../../../../..{outside}"])
def test_a_symlink_to_walk_out_by(layer, target):
    outside = os.path.dirname(layer.path)
    door = member("door", kind=SYMLINK, linkname=target.format(outside=outside))
    for entry in (member("door/secret", b"mine"), member("door/secret", kind=DIRECTORY, mode=0o777, uid=1000)):
        layer(door, entry)
    layer(door, member("door/.wh.secret"))
    layer(door, member("door/.wh..wh..opq"))


def test_a_symlink_that_a_directory_entry_would_change_what_it_points_to(layer):
    outside = os.path.dirname(layer.path)
    layer(member("door", kind=SYMLINK, linkname=outside), member("door", kind=DIRECTORY, mode=0o777, uid=1000))
    assert os.stat(outside).st_uid == os.geteuid()


def test_a_row_of_symlinks_that_leads_round(layer):
    links = [member(f"l{number}", kind=SYMLINK, linkname=f"l{number + 1}") for number in range(60)]
    refused(layer(*links, member("l60", kind=SYMLINK, linkname="l0"), member("l0/x", b"x")), "in entry l0/x")


@pytest.mark.parametrize("link", ["../secret", "{outside}/secret", "door/secret"])
def test_a_hard_link_out(layer, link):
    outside = os.path.dirname(layer.path)
    door = member("door", kind=SYMLINK, linkname=outside)
    refused(layer(door, member("mine", kind=LINK, linkname=link.format(outside=outside))), "in entry mine")


def test_a_hard_link_to_a_symlink_is_one_to_the_link_itself(layer):
    outside = os.path.join(os.path.dirname(layer.path), "secret")
    entries = (member("l", kind=SYMLINK, linkname=outside), member("h", kind=LINK, linkname="l"))
    assert layer(*entries, member("h", b"over it"))["event"] == "done"
    assert os.readlink(layer.path / "l") == outside


def test_a_device_is_made_as_a_device_and_never_opened(layer):
    tty = member("tty", kind=DEVICE, mode=0o666, devmajor=5, devminor=0)
    assert layer(tty, member("tty", b"a file in its place"))["event"] == "done"
    assert stat.S_ISREG(os.lstat(layer.path / "tty").st_mode)


def test_a_pipe_in_the_place_of_a_file_holds_nobody_up(layer):
    pipe = member("pipe", kind=tarfile.FIFOTYPE)
    assert layer(pipe, member("pipe", b"x"), pipe, member("d/", kind=DIRECTORY), pipe)["event"] == "done"


@pytest.mark.parametrize("name", [".wh...", ".wh..", ".wh.", "d/.wh...", "d/.wh.."])
def test_a_whiteout_of_a_parent(layer, name):
    refused(layer(member("d/x", b"x"), member(name)), "a whiteout of a parent directory", name)


@pytest.mark.parametrize("name", ["../.wh.secret", "d/../../.wh.secret"])
def test_a_whiteout_outside(layer, name):
    refused(layer(member(name)), '".."')


def test_whiteouts_below_a_whiteout_are_no_way_round_it(layer):
    for name in (".wh.d/.wh.x", ".wh..wh.aufs/../x", ".wh..wh.plnk/../../secret", ".wh..wh.plnk/a/b"):
        layer(member(name, b"x"))
    for name in (".wh..wh.plnk/.wh..wh..opq", ".wh..wh..opq/x", ".wh..wh.aufs/.wh.x", ".wh..wh.plnk/.wh..wh.y"):
        assert layer(member(name, b"x"))["event"] == "done"
    assert not [name for name in os.listdir(layer.path) if name.startswith(".wh..wh.")]


def used(path):
    return sum(
        os.lstat(os.path.join(place, name)).st_blocks * 512 for place, _, names in os.walk(path) for name in names
    )


def test_a_sparse_bomb(layer):
    records = {"GNU.sparse.size": str(2**60), "GNU.sparse.map": "0,0"}
    refused(layer(member("huge", pax_headers=records)), "bytes allowed, at entry huge")
    assert used(layer.path) == 0


def test_many_sparse_files_that_are_a_bomb_together(layer):
    records = {"GNU.sparse.size": str(2**28), "GNU.sparse.map": "0,0"}
    huge = [member(f"huge{number}", pax_headers=records) for number in range(5)]
    refused(layer(*huge), "bytes allowed, at entry huge4")
    assert used(layer.path) == 0


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_pax_bomb(layer, kind):
    claims = member("bomb", kind=kind, size=2**40, form=tarfile.GNU_FORMAT)
    refused(layer(claims), "extended headers of 1099511627776 bytes", "in entry bomb")


def test_a_row_of_pax_headers_takes_no_memory(layer):
    layer(member("a"))
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    rows = [_global(number) + member("a") for number in range(100)]
    assert layer(*rows)["event"] == "done"
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < before + 16_384  # KiB


def _global(number):
    """A global header with 240 KiB of records, none of them like another."""
    records = b"".join(b"24 VENDOR.k%07d=aaaa\n" % (number * 10_000 + each) for each in range(10_000))
    return member("bomb", records, kind=b"g")


def test_a_gzip_bomb_leaves_the_disk_alone(tmp_path):
    big = tarfile.TarInfo("zeros")
    big.size = 2**33
    squeezed = io.BytesIO()
    with gzip.GzipFile(fileobj=squeezed, mode="wb", compresslevel=1) as file:
        file.write(big.tobuf())
        for _ in range(64):
            file.write(bytes(MIB))
    answer = unpack_bytes(squeezed.getvalue(), tmp_path, room=8 * MIB, max_bytes=2**40)
    assert "archive" not in answer  # which may be sound: it is the disk
    assert (
        f"more than the {8 * MIB} bytes there is room for (No space left on device), in entry zeros"
        in answer["message"]
    )
    assert used(tmp_path) <= 8 * MIB


def test_more_entries_than_there_is_room_for(layer):
    refused(layer(*(member(f"f{number}") for number in range(20)), max_entries=10), "at entry f10")


def test_a_name_longer_than_any_path(layer):
    refused(layer(member("d/" * 4000 + "f")), "more than 4096", "in entry d/d/")


def test_a_component_longer_than_any_name(layer):
    refused(layer(member("d/" + "n" * 256)), "File name too long in entry d/nnn")
