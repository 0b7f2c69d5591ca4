"""The unpacker as the launcher runs it: a forked helper in the target's root, with real owners, devices and attributes."""

import io
import os
import shutil
import stat
import struct
import subprocess
import tarfile
from pathlib import Path

import pytest
from archives import FORMATS, archive, grow_tree, member, snapshot, unpack_bytes

from trioker.linux.mounts import MS_BIND, MS_RDONLY, Mount

pytestmark = pytest.mark.root

DONE = "done"
OPAQUE = "trusted.overlay.opaque"


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "target"
    path.mkdir(mode=0o755)
    return path


def failure(data, target, **options):
    answer = unpack_bytes(data, target, **options)
    assert answer["event"] == "failed"
    return answer["message"]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("seed", range(4))
def test_a_tree_comes_out_as_gnu_tar_extracts_it(form, seed, tmp_path, target):
    source, theirs = tmp_path / "source", tmp_path / "theirs"
    source.mkdir()
    theirs.mkdir()
    grow_tree(source, seed, privileged=form != "v7")
    made = tmp_path / "made.tar"
    sparse = ["--sparse"] if form in ("gnu", "oldgnu", "posix") else []
    # v7 and ustar leave out, with a complaint, what they have no room for
    tar = ["tar", f"--format={form}", *sparse, *FORMATS[form], "-C", source, "-cf", made, "."]
    subprocess.run(tar, check=form not in ("v7", "ustar"), capture_output=True)
    extract = ["tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-p", "-C", theirs, "-xf", made]
    subprocess.run(extract, check=True, capture_output=True)
    assert unpack_bytes(made.read_bytes(), target)["event"] == DONE
    assert snapshot(target) == snapshot(theirs)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("seed", range(4, 7))
def test_a_tree_comes_out_as_pythons_tarfile_extracts_it(form, seed, tmp_path, target):
    source, theirs = tmp_path / "source", tmp_path / "theirs"
    for each in (source, theirs):
        each.mkdir()
    grow_tree(source, seed, privileged=True)
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=form) as made:
        for name in sorted(os.listdir(source)):
            made.add(source / name, name)
    data.seek(0)
    with tarfile.open(fileobj=data) as made:
        made.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
        made.extractall(theirs, numeric_owner=True)
    os.utime(theirs, (7, 7))
    os.chmod(theirs, 0o755)
    answer = unpack_bytes(data.getvalue(), target)
    assert answer["event"] == DONE, answer
    os.utime(target, (7, 7))
    assert as_tarfile_extracts(target) == as_tarfile_extracts(theirs)


def as_tarfile_extracts(root):
    """It makes floating point numbers of times, and sets none of a symbolic link."""
    return {
        name: (mode, *ids, 0 if mode.startswith("0o12") else time // 10**4, *rest, link)
        for name, ((mode, *ids, time, content, attributes), link) in snapshot(root).items()
        for rest in [(content, attributes)]
    }


@pytest.mark.parametrize("version", ["0.0", "0.1", "1.0"])
def test_every_pax_sparse_format_comes_out_whole(version, tmp_path, target):
    source = tmp_path / "source"
    source.mkdir()
    with (source / "holes").open("wb") as file:
        for number in range(300):
            file.seek(number * 12_288 + 4096)
            file.write(b"%d" % number)
        file.truncate(300 * 12_288 + 99_999)
    tar = ["tar", "--format=posix", "--sparse", f"--sparse-version={version}", "-C", source, "-c", "."]
    made = subprocess.run(tar, check=True, capture_output=True).stdout
    answer = unpack_bytes(made, target)
    assert (answer["event"], answer["size"], answer["entries"]) == (DONE, 300 * 12_288 + 99_999, 2)
    assert (target / "holes").read_bytes() == (source / "holes").read_bytes()
    assert (target / "holes").stat().st_blocks * 512 < 2**21


def test_owners_modes_and_set_id_bits_are_exact(target):
    answer = unpack_bytes(
        archive(
            member("d/", kind=tarfile.DIRTYPE, mode=0o2775, uid=3, gid=4),
            member("d/su", b"x", mode=0o4711, uid=5, gid=6),
            member("d/mine", b"x", mode=0o664, uid=0, gid=0),
            member("link", kind=tarfile.SYMTYPE, linkname="d", uid=7, gid=8),
        ),
        target,
    )
    assert answer["event"] == DONE
    found = {name: os.lstat(target / name) for name in ("d", "d/su", "d/mine", "link")}
    assert [(oct(each.st_mode & 0o7777), each.st_uid, each.st_gid) for each in found.values()] == [
        ("0o2775", 3, 4),
        ("0o4711", 5, 6),
        ("0o664", 0, 0),
        ("0o777", 7, 8),
    ]


def test_a_file_in_a_set_group_id_directory_of_a_lower_layer_keeps_its_own_group(target):
    (target / "d").mkdir()
    os.chown(target / "d", 0, 50)
    os.chmod(target / "d", 0o2775)
    assert unpack_bytes(archive(member("d/file", b"x", uid=0, gid=0)), target)["event"] == DONE
    assert (target / "d/file").stat().st_gid == 0


def test_devices_and_pipes_are_made(target):
    answer = unpack_bytes(
        archive(
            member("null", kind=tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3),
            member("disk", kind=tarfile.BLKTYPE, mode=0o660, devmajor=259, devminor=70_000),
            member("pipe", kind=tarfile.FIFOTYPE, mode=0o1600),
        ),
        target,
    )
    assert (answer["event"], answer["size"], answer["entries"]) == (DONE, 0, 3)
    assert (target / "null").stat().st_rdev == os.makedev(1, 3)
    assert (target / "disk").stat().st_rdev == os.makedev(259, 70_000)
    assert (target / "pipe").stat().st_mode == stat.S_IFIFO | 0o1600


def test_only_attributes_of_the_file_itself_are_restored(target):
    capability = struct.pack("<5I", 0x02000001, 0x2000, 0, 0, 0)
    wanted = {"security.capability": capability, "user.colour": b"\0red\n"}
    refused = {"trusted.overlay.redirect": b"/etc", "user.overlay.opaque": b"y", "security.selinux": b"x"}
    records = {
        f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape") for name, value in (wanted | refused).items()
    }
    assert unpack_bytes(archive(member("file", b"x", pax_headers=records)), target, "overlay")["event"] == DONE
    found = {name: os.getxattr(target / "file", name) for name in os.listxattr(target / "file")}
    assert found == wanted


def acl(*entries):
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *each) for each in entries)


NOBODY = 2**32 - 1
OF_THE_FILE = [(1, 6, NOBODY), (2, 4, 70_000), (4, 4, NOBODY), (8, 5, 50), (0x10, 7, NOBODY), (0x20, 0, NOBODY)]
OF_THE_DIRECTORY = [(1, 7, NOBODY), (2, 7, 1000), (4, 5, NOBODY), (0x10, 5, NOBODY), (0x20, 5, NOBODY)]
ACLS = {
    "attributes": [
        {"SCHILY.xattr.system.posix_acl_access": acl(*OF_THE_FILE).decode("latin-1")},
        {"SCHILY.xattr.system.posix_acl_default": acl(*OF_THE_DIRECTORY).decode("latin-1")},
    ],
    "text": [
        {"SCHILY.acl.access": "user::rw-,user:lisa:r--:70000,group::r--,group:50:r-x,mask::rwx,other::---"},
        {"SCHILY.acl.default": "u::rwx\nuser:1000:rwx\t#effective:r-x\ng::r-x\nm::r-x\no::r-x\n"},
    ],
}


@pytest.mark.parametrize("form", ACLS)
def test_access_control_lists_come_out_as_they_were(form, target):
    of_the_file, of_the_directory = map(raw_records, ACLS[form])
    answer = unpack_bytes(
        archive(
            member("d/", kind=tarfile.DIRTYPE, mode=0o755, form=tarfile.USTAR_FORMAT).join([of_the_directory, b""]),
            of_the_file + member("d/file", b"x", mode=0o670),
            member("d/plain", b"x", mode=0o666),
            member("d/e/", kind=tarfile.DIRTYPE, mode=0o777),
        ),
        target,
    )
    assert answer["event"] == DONE
    assert os.getxattr(target / "d/file", "system.posix_acl_access") == acl(*OF_THE_FILE)
    assert os.getxattr(target / "d", "system.posix_acl_default") == acl(*OF_THE_DIRECTORY)
    for name, mode in (("d/plain", 0o666), ("d/e", 0o777)):
        assert os.listxattr(target / name) == []
        assert stat.S_IMODE(os.stat(target / name).st_mode) == mode


def raw_records(records):
    """A pax header of bytes that need be no text."""
    data = b"".join(record(name.encode(), value.encode("latin-1")) for name, value in records.items())
    return member("x", data, kind=b"x", form=tarfile.USTAR_FORMAT)


def record(name, value):
    rest = len(name) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, name, value)


def test_what_is_made_in_a_directory_of_a_lower_layer_inherits_no_access_control_list(target):
    (target / "d").mkdir()
    os.setxattr(target / "d", "system.posix_acl_default", acl(*OF_THE_DIRECTORY))
    answer = unpack_bytes(
        archive(
            member("d/file", b"x", mode=0o4666),
            member("d/e/", kind=tarfile.DIRTYPE, mode=0o777),
            member("d/pipe", kind=tarfile.FIFOTYPE, mode=0o666),
            member("d/implied/x", b"x", mode=0o640),
        ),
        target,
    )
    assert answer["event"] == DONE
    for name, mode in (("file", 0o4666), ("e", 0o777), ("pipe", 0o666), ("implied", 0o755), ("implied/x", 0o640)):
        assert os.listxattr(target / "d" / name) == []
        assert stat.S_IMODE(os.stat(target / "d" / name).st_mode) == mode


def test_attributes_in_the_form_of_libarchive_are_restored(target):
    records = {"LIBARCHIVE.xattr.user.a%20b": "AHJlZAo", "LIBARCHIVE.xattr.user.c": "eA=="}
    assert unpack_bytes(archive(member("file", b"x", pax_headers=records)), target)["event"] == DONE
    found = {name: os.getxattr(target / "file", name) for name in os.listxattr(target / "file")}
    assert found == {"user.a b": b"\0red\n", "user.c": b"x"}


def test_an_access_control_list_with_a_name_alone_is_refused(target):
    data = archive(
        member("file", b"x", pax_headers={"SCHILY.acl.access": "user::rw-,user:lisa:r--,group::r--,other::---"})
    )
    assert failure(data, target) == "an ACL entry without a number, b'user:lisa:r--' in entry file"


@pytest.mark.parametrize("name", ["../outside/x", "a/../../outside/x", "..", "a/..", "x/../y"])
def test_a_name_with_two_dots_is_refused_and_named(name, tmp_path, target):
    (tmp_path / "outside").mkdir()
    message = failure(archive(member(name, b"x")), target)
    assert '".."' in message
    assert name in message
    assert list((tmp_path / "outside").iterdir()) == []


def test_an_absolute_name_lands_in_the_root(tmp_path, target):
    name = str(tmp_path / "outside")
    assert unpack_bytes(archive(member(name, b"x")), target)["event"] == DONE
    assert not os.path.lexists(name)
    assert Path(f"{target}{name}").read_bytes() == b"x"


@pytest.mark.parametrize("link", ["../..", "{outside}", "../../../../../../../../{outside}"])
def test_a_symlinked_parent_leads_nowhere_but_into_the_root(link, tmp_path, target):
    outside = tmp_path / "outside"
    outside.mkdir()
    escape = member("door", kind=tarfile.SYMTYPE, linkname=link.format(outside=outside))
    unpack_bytes(archive(escape, member("door/x", b"evil"), member("door/outside/x", b"evil")), target)
    assert list(outside.iterdir()) == []
    assert sorted(os.listdir(tmp_path)) == ["outside", "target"]


def test_a_hard_link_reaches_no_file_of_the_host(tmp_path, target):
    secret = tmp_path / "secret"
    secret.write_text("host")
    for link in (str(secret), "../secret"):
        failure(archive(member("copy", kind=tarfile.LNKTYPE, linkname=link)), target)
    door = member("door", kind=tarfile.SYMTYPE, linkname=str(tmp_path))
    failure(archive(door, member("copy", kind=tarfile.LNKTYPE, linkname="door/secret")), target)
    assert secret.stat().st_nlink == 1


def test_a_file_written_over_a_symlink_replaces_it(tmp_path, target):
    (tmp_path / "passwd").write_text("host")
    link = member("etc", kind=tarfile.SYMTYPE, linkname=str(tmp_path / "passwd"))
    assert unpack_bytes(archive(link, member("etc", b"mine")), target)["event"] == DONE
    assert (target / "etc").read_bytes() == b"mine"
    assert not (target / "etc").is_symlink()
    assert (tmp_path / "passwd").read_text() == "host"


def test_overlay_whiteouts_become_its_own_marks(target):
    answer = unpack_bytes(
        archive(
            member(".wh.gone"), member("d/", kind=tarfile.DIRTYPE), member("d/.wh..wh..opq"), member("d/new", b"x")
        ),
        target,
        "overlay",
    )
    assert answer["event"] == DONE
    mark = (target / "gone").stat()
    assert (stat.S_ISCHR(mark.st_mode), mark.st_rdev) == (True, 0)
    assert os.getxattr(target / "d", OPAQUE) == b"y"


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0)])
def test_a_directory_put_back_by_the_layer_that_hid_it_hides_the_lower_one(order, target):
    members = (member(".wh.d"), member("d/", kind=tarfile.DIRTYPE), member("d/new", b"x"))
    assert unpack_bytes(archive(*(members[each] for each in order)), target, "overlay")["event"] == DONE
    assert os.getxattr(target / "d", OPAQUE) == b"y"
    assert os.listdir(target / "d") == ["new"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_file_in_a_directory_that_the_layer_hid_is_in_a_new_one(order, target):
    members = (member(".wh.d"), member("d/e/new", b"x"))
    assert unpack_bytes(archive(*(members[each] for each in order)), target, "overlay")["event"] == DONE
    assert os.getxattr(target / "d", OPAQUE) == b"y"
    assert os.listdir(target / "d") == ["e"]
    assert OPAQUE not in os.listxattr(target / "d/e")


def test_a_forged_whiteout_is_refused(target):
    forged = member("etc", kind=tarfile.CHRTYPE, devmajor=0, devminor=0)
    assert "forged whiteout" in failure(archive(forged), target, whiteouts="overlay")


def test_the_overlay_that_results_shows_what_the_layer_says(tmp_path):
    """The marks mean to the kernel what we think they do."""
    lower, upper, work, merged = (tmp_path / name for name in ("lower", "upper", "work", "merged"))
    for each in (lower / "d", lower / "opaque", upper, work, merged):
        each.mkdir(parents=True)
    for name in ("stays", "gone", "d/old", "opaque/old"):
        (lower / name).write_text("lower")
    layer = archive(
        member(".wh.gone"), member("d/new", b"x"), member("opaque/.wh..wh..opq"), member("opaque/new", b"x")
    )
    assert unpack_bytes(layer, upper, "overlay")["event"] == DONE
    show = f"mount -t overlay -o lowerdir={lower},upperdir={upper},workdir={work} none {merged} && cd {merged} && find . -type f | sort"
    seen = subprocess.run(["unshare", "--mount", "sh", "-c", show], check=True, capture_output=True, text=True).stdout
    assert seen.split() == ["./d/new", "./d/old", "./opaque/new", "./stays"]
    shutil.rmtree(work)


def test_files_that_aufs_kept_beside_the_tree_come_out_under_their_own_names(target):
    answer = unpack_bytes(
        archive(
            member(".wh..wh.aufs", b""),
            member(".wh..wh.plnk/", kind=tarfile.DIRTYPE),
            member(".wh..wh.plnk/26.44", b"twice", mode=0o640),
            member("d/a", kind=tarfile.LNKTYPE, linkname=".wh..wh.plnk/26.44"),
            member("b", kind=tarfile.LNKTYPE, linkname="./.wh..wh.plnk/26.44"),
        ),
        target,
        "overlay",
    )
    assert answer["event"] == DONE
    assert sorted(os.listdir(target)) == ["b", "d"]
    assert (target / "b").read_bytes() == b"twice"
    assert (target / "b").samefile(target / "d/a")
    assert (target / "b").stat().st_nlink == 2


@pytest.fixture
def over(tmp_path, target):
    """A function that unpacks members over a lower layer; it has the lower layer's path."""
    lower, mount_point = tmp_path / "lower", tmp_path / "mount point"
    for each in (lower, mount_point):
        each.mkdir()

    def unpack(*members, whiteouts="overlay", **limits):
        below = [Mount(str(lower), "none", MS_BIND, ""), Mount("", "none", MS_BIND | MS_RDONLY | 0x20, "")]
        return unpack_bytes(archive(*members), target, whiteouts, below=below, mount_point=str(mount_point), **limits)

    unpack.lower = lower
    return unpack


def test_a_hard_link_to_a_file_of_a_lower_layer_brings_it_up(over, target):
    (over.lower / "d").mkdir(mode=0o1777)
    os.chmod(over.lower / "d", 0o1777)
    with (over.lower / "d/old").open("wb") as file:
        file.write(b"old")
        file.truncate(2**40)
        file.seek(2**39)
        file.write(b"amid")
    os.chown(over.lower / "d/old", 3, 4)
    os.chmod(over.lower / "d/old", 0o4750)
    os.setxattr(over.lower / "d/old", "user.colour", b"red")
    os.utime(over.lower / "d/old", ns=(5, 6))
    os.utime(over.lower / "d", ns=(7, 8))
    answer = over(
        member("e/new", kind=tarfile.LNKTYPE, linkname="./d/old"),
        member("e/again", kind=tarfile.LNKTYPE, linkname="d/old"),
    )
    assert answer["event"] == DONE, answer
    new, old = (target / "e/new").stat(), (target / "d/old").stat()
    assert os.path.samestat(new, old)
    assert (new.st_nlink, new.st_uid, new.st_gid, oct(new.st_mode), new.st_mtime_ns) == (3, 3, 4, "0o104750", 6)
    assert (new.st_size, new.st_blocks < 100) == (2**40, True)
    with (target / "e/new").open("rb") as file:
        assert file.read(4) == b"old\0"
        file.seek(2**39)
        assert file.read(4) == b"amid"
    assert os.getxattr(target / "e/new", "user.colour") == b"red"
    assert (stat.S_IMODE((target / "d").stat().st_mode), (target / "d").stat().st_mtime_ns) == (0o1777, 8)


def test_files_of_lower_layers_cannot_be_brought_up_again_and_again(over):
    (over.lower / "d").mkdir()
    (over.lower / "d/big").write_bytes(bytes(2**20))
    again = [
        each
        for number in range(100)
        for each in (
            member(f"copy{number}", kind=tarfile.LNKTYPE, linkname="d/big"),
            member("d", b""),
            member("d/", kind=tarfile.DIRTYPE),
        )
    ]
    answer = over(*again, room=2**23)
    assert (
        "holds more than the 8388608 bytes there is room for (No space left on device), in entry copy7"
        in answer["message"]
    )


def test_a_path_through_a_directory_that_only_lower_layers_describe_leaves_it_as_it_is(over, target):
    (over.lower / "tmp/deep").mkdir(parents=True)
    os.chmod(over.lower / "tmp", 0o1777)
    os.chown(over.lower / "tmp/deep", 5, 6)
    assert over(member("tmp/deep/file", b"x"))["event"] == DONE
    assert stat.S_IMODE((target / "tmp").stat().st_mode) == 0o1777
    assert ((target / "tmp/deep").stat().st_uid, (target / "tmp/deep").stat().st_gid) == (5, 6)


@pytest.mark.parametrize("hidden", [[".wh.d"], [".wh.d", "d/x"], ["d/.wh.old"], ["d/.wh..wh..opq"], [".wh..wh..opq"]])
def test_a_hard_link_to_what_this_layer_has_taken_away_is_refused(hidden, over):
    (over.lower / "d").mkdir()
    (over.lower / "d/old").write_bytes(b"old")
    answer = over(*map(member, hidden), member("new", kind=tarfile.LNKTYPE, linkname="d/old"))
    assert answer["message"] == "No such file to link to: d/old in entry new"


@pytest.mark.parametrize("link", ["missing", "door/secret", "link", "pipe", "d", "../secret"])
def test_a_hard_link_reaches_only_files_of_the_lower_layers(link, over, tmp_path):
    (tmp_path / "secret").write_text("host")
    (over.lower / "door").symlink_to(tmp_path)
    (over.lower / "link").symlink_to("/etc/passwd")
    (over.lower / "d").mkdir()
    os.mkfifo(over.lower / "pipe")
    answer = over(member("new", kind=tarfile.LNKTYPE, linkname=link))
    assert answer["event"] == "failed"
    assert "in entry new" in answer["message"]


def test_the_helper_keeps_only_what_unpacking_needs(target):
    """Seen from inside: the tree's /proc is the host's, bound there for the test, and the archive reads nothing of it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _write_status_after_confinement(str(target), writer)
    os.close(writer)
    with open(reader) as file:
        status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
    os.waitpid(pid, 0)
    needed = sum(1 << number for number in (0, 1, 3, 4, 27, 31))
    assert int(status["CapEff"], 16) == needed
    assert int(status["CapPrm"], 16) == needed | 1 << 21
    assert status["NoNewPrivs"] == "1"
    assert status["Umask"] == "0000"


def _write_status_after_confinement(root, writer):
    from trioker.launcher import confine, helper

    try:
        proc = os.open("/proc/self/status", os.O_RDONLY)
        confine.isolate()
        confine.confine(root, helper._UNPACK, reserve=helper._TRUSTED)
        os.write(writer, os.pread(proc, 2**16, 0))
    finally:
        os._exit(0)


def test_a_full_disk_is_told_with_the_entry(tmp_path):
    script = f"mount -t tmpfs -o size=64k none {tmp_path} && exec {shutil.which('sleep')} 60"
    with subprocess.Popen(["unshare", "--mount", "sh", "-c", script]) as holder:
        try:
            root = _wait_for_tmpfs(holder.pid, tmp_path)
            assert failure(archive(member("large", bytes(10**6))), root) == "No space left on device in entry large"
        finally:
            holder.kill()


def _wait_for_tmpfs(pid, path):
    mounts = Path(f"/proc/{pid}/mounts")
    while f"none {path} tmpfs" not in mounts.read_text():
        assert Path(f"/proc/{pid}").exists()
    return f"/proc/{pid}/root{path}"
