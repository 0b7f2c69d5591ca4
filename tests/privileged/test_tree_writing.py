"""Archives written into trees by confined helpers, on both drivers: what COPY, ADD, WORKDIR and insert stand on."""

import contextlib
import io
import tarfile

import pytest
import trio
from archives import END, archive, member
from busybox import busybox_tar
from tree_lab import names, tree_lab

from trioker.model.errors import InvalidParameter

pytestmark = pytest.mark.root

ROOT = archive(
    member("usr/bin/", kind=tarfile.DIRTYPE, mode=0o755),
    member("usr/bin/tool", b"tool", mode=0o755),
    member("bin", kind=tarfile.SYMTYPE, linkname="usr/bin"),
    member("abs", kind=tarfile.SYMTYPE, linkname="/usr/bin"),
    member("up", kind=tarfile.SYMTYPE, linkname="../../../../usr"),
    member("dangling", kind=tarfile.SYMTYPE, linkname="run/later"),
    member("loop", kind=tarfile.SYMTYPE, linkname="loop"),
    member("file", b"old", mode=0o4755),
    member("link", kind=tarfile.SYMTYPE, linkname="file"),
    member("full/", kind=tarfile.DIRTYPE, mode=0o711, uid=5, gid=6, mtime=77),
    member("full/x", b"x"),
    member("empty/", kind=tarfile.DIRTYPE, mode=0o711),
    member("etc/", kind=tarfile.DIRTYPE, mode=0o755),
    member("etc/passwd", b"root:x:0:0::/:/bin/sh\nbob:x:1000:1001::/:/bin/sh\n"),
    member("etc/group", b"root:x:0:\nbob:x:1001:\nstaff:x:50:bob\n"),
)


@pytest.fixture(params=["overlay", "vfs"])
async def lab(request, tmp_path):
    async with tree_lab(tmp_path, request.param) as lab:
        yield lab


@pytest.fixture
async def key(lab):
    """A layer over ROOT."""
    return await lab.child(await lab.base(ROOT))


async def changed(lab, key):
    return {path: kind.name for path, kind in await lab.layers.changes(key)}


def one(name="f", data=b"new", **fields):
    return archive(member(name, data, mode=0o640, **fields))


@pytest.mark.parametrize(
    ("directory", "place"),
    [
        ("/bin", "usr/bin/f"),
        ("/abs/", "usr/bin/f"),
        ("/up", "usr/f"),
        ("/up/../../bin", "usr/bin/f"),
        ("/dangling", "run/later/f"),
        ("/dangling/deeper", "run/later/deeper/f"),
        ("/new/and/deep", "new/and/deep/f"),
        ("/", "f"),
        ("", "f"),
    ],
)
async def test_the_destination_is_resolved_inside_the_tree_and_made(lab, key, directory, place):
    done = await lab.write(key, one(), directory)
    assert (done.size, done.entries) == (3, 1)
    tree = await lab.tree(key)
    assert tree[f"./{place}"][1:6] == (0o640, 0, 0, 0, b"new")
    for each in ("./bin", "./abs", "./up", "./dangling"):
        assert tree[each][0][0] == tarfile.SYMTYPE


@pytest.mark.parametrize(
    ("directory", "place"),
    [
        ("/full", "full/name"),
        ("/full/", "full/name"),
        ("/bin", "usr/bin/name"),
        ("/fresh", "fresh"),
        ("/fresh/", "fresh/name"),
        ("/a/b/fresh", "a/b/fresh"),
        ("/file", "file"),
        ("/link", "file"),
        ("/dangling", "run/later"),
    ],
)
async def test_one_file_becomes_the_destination_or_goes_into_it(lab, key, directory, place):
    await lab.write(key, one("whatever/it/is/called"), directory, single="name")
    tree = await lab.tree(key)
    assert tree[f"./{place}"][1:6] == (0o640, 0, 0, 0, b"new")
    assert tree["./link"][0][:2] == (tarfile.SYMTYPE, "file")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ((one("../f"), "/"), r'"\.\." in the path in \.\./f'),
        ((one("a/../../f"), "/"), r'"\.\." in the path'),
        ((one("d/.wh.f"), "/"), r"no layer can hold, in d/\.wh\.f"),
        ((one(".wh..wh..opq"), "/"), "no layer can hold"),
        ((one("f"), "/etc/.wh.f", "f"), "no layer can hold"),
        ((one(), "/file"), "Not a directory in /file"),
        ((one(), "/loop/x"), "Too many levels of symbolic links in /loop/x"),
        ((one("full"), "/"), "a directory that is not empty is in the way in full"),
        ((one("x/y"), "/", "full"), "a directory that is not empty is in the way"),
        ((END, "/", "name"), "the archive is empty"),
        ((archive(member("a"), member("b")), "/", "name"), "one file was expected in b"),
        ((archive(member("d/", kind=tarfile.DIRTYPE)), "/", "name"), "one file was expected in d/"),
        ((archive(member("n", kind=tarfile.CHRTYPE)), "/"), "forged whiteout"),
        ((archive(member("l", kind=tarfile.LNKTYPE, linkname="nope")), "/"), "No such file or directory in l"),
        ((one()[:700], "/"), "unexpected end of archive in entry f"),
        ((b"", "/"), "empty archive"),
        ((b"x" * 2000, "/"), "at byte 0"),
    ],
)
async def test_what_cannot_be_written_is_refused_by_name(lab, key, wanted, message):
    tar, directory, *single = wanted
    with pytest.raises(InvalidParameter, match=message):
        await lab.write(key, tar, directory, single="".join(single))


async def test_a_directory_that_is_found_is_merged_into(lab, key):
    tar = archive(
        member("full/", kind=tarfile.DIRTYPE, mode=0o700, uid=1, gid=2, mtime=99),
        member("full/y", b"y"),
        member("bin/", kind=tarfile.DIRTYPE, mode=0o700),
        member("bin/z", b"z"),
        member("empty", b"a file now"),
        member("file/", kind=tarfile.DIRTYPE, mode=0o750),
    )
    await lab.write(key, tar, "/")
    tree = await lab.tree(key)
    assert tree["./full"][1:5] == (0o700, 1, 2, 99)
    assert (tree["./full/x"][5], tree["./full/y"][5], tree["./usr/bin/z"][5]) == (b"x", b"y", b"z")
    assert (tree["./bin"][0][0], tree["./usr/bin"][1]) == (tarfile.SYMTYPE, 0o755)
    assert (tree["./empty"][5], tree["./file"][1]) == (b"a file now", 0o750)


async def test_the_destination_keeps_what_it_is_when_found_and_takes_the_archives_root_when_made(lab, key):
    root = member("./", kind=tarfile.DIRTYPE, mode=0o700, uid=1, gid=2, mtime=99)
    await lab.write(key, archive(root, member("y", b"y")), "/full")
    await lab.write(key, archive(root, member("y", b"y")), "/made/here")
    tree = await lab.tree(key)
    assert tree["./full"][1:4] == (0o711, 5, 6)
    assert tree["./made"][1:4] == (0o755, 0, 0)
    assert tree["./made/here"][1:5] == (0o700, 1, 2, 99)


@pytest.mark.parametrize(
    ("owner", "ids"),
    [
        ("bob", (1000, 1001)),
        ("bob:staff", (1000, 50)),
        ("7", (7, 7)),
        ("7:bob", (7, 1001)),
        ("bob:8", (1000, 8)),
        ("0:0", (0, 0)),
    ],
)
async def test_an_owner_is_looked_up_in_the_tree_and_owns_all_that_is_made(lab, key, owner, ids):
    tar = archive(member("d/", kind=tarfile.DIRTYPE, mode=0o755, uid=9), member("d/f", b"", uid=9, mode=0o4755))
    await lab.write(key, tar, "/made/here", owner=owner)
    tree = await lab.tree(key)
    for each in ("made", "made/here", "made/here/d", "made/here/d/f"):
        assert tree[f"./{each}"][2:4] == ids
    assert tree["./made/here/d/f"][1] == 0o4755


@pytest.mark.parametrize("owner", ["nobody", "bob:nogroup", "99999999999", ":x"])
async def test_an_unknown_owner_is_an_error(lab, key, owner):
    with pytest.raises(InvalidParameter, match=r"unable to find|range"):
        await lab.write(key, one(), owner=owner)


async def test_a_hostile_account_file_is_not_followed_out(lab):
    tar = archive(
        member("etc/", kind=tarfile.DIRTYPE, mode=0o755),
        member("etc/passwd", kind=tarfile.SYMTYPE, linkname="/../../../../../../etc/passwd"),
        member("etc/group", kind=tarfile.FIFOTYPE),
    )
    key = await lab.child(await lab.base(tar))
    with pytest.raises(InvalidParameter, match="unable to find user daemon"), trio.fail_after(10):
        await lab.write(await lab.child(await lab.base(archive(member("x")))), one(), owner="daemon")
    with pytest.raises(Exception, match=r"Too many levels|not a regular file"), trio.fail_after(10):
        await lab.write(key, one(), owner="daemon")


async def test_an_empty_archive_makes_the_directory(lab, key):
    done = await lab.write(key, END, "/work/here")
    assert (done.size, done.entries) == (0, 0)
    assert (await lab.tree(key))["./work/here"][1:4] == (0o755, 0, 0)
    before = await changed(lab, key)
    await lab.write(key, END, "/full")
    assert await changed(lab, key) == before


async def test_links_devices_attributes_and_holes_come_out_as_they_are(lab, key):
    attributes = {"SCHILY.xattr.user.colour": "red"}
    tar = archive(
        member("a", b"a", pax_headers=attributes, mode=0o6755, uid=3),
        member("b", kind=tarfile.LNKTYPE, linkname="./a"),
        member("a", kind=tarfile.LNKTYPE, linkname="a"),
        member("null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
        member("pipe", kind=tarfile.FIFOTYPE, mode=0o600, mtime=5),
        member("s", kind=tarfile.SYMTYPE, linkname="/etc/passwd", uid=4),
    )
    await lab.write(key, tar, "/put")
    tree = await lab.tree(key)
    assert tree["./put/a"][1:4] == (0o6755, 3, 0)
    assert tree["./put/a"][6] == attributes
    assert tree["./put/b"][0][:2] == (tarfile.LNKTYPE, "./put/a")
    assert tree["./put/null"][0][2:] == (1, 3)
    assert tree["./put/pipe"][4] == 5
    assert tree["./put/s"][0][1] == "/etc/passwd"
    assert tree["./put/s"][2] == 4


async def test_the_layer_holds_the_difference_and_nothing_else(lab, key):
    await lab.write(key, archive(member("full/x", b"newer"), member("added", b"a")), "/")
    expected = {"/added": "ADDED", "/full/x": "MODIFIED"}
    found = await changed(lab, key)
    assert {path: found.get(path) for path in expected} == expected
    assert found.keys() - expected.keys() <= {"/full"}


async def test_a_compressed_archive_is_taken_too(lab, key):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as tar:
        tar.addfile(tarfile.TarInfo("f"))
    await lab.write(key, buffer.getvalue(), "/z")
    assert "./z/f" in await lab.tree(key)


async def test_nothing_is_mounted_on_the_host_and_no_process_is_left(lab, key):
    with open("/proc/self/mountinfo", encoding="utf-8") as before:
        text = before.read()
    await lab.write(key, busybox_tar(), "/box")
    assert "./box/bin/busybox" in names(await lab.pack(key))
    with open("/proc/self/mountinfo", encoding="utf-8") as after:
        assert after.read() == text


async def test_a_tree_can_be_removed_as_soon_as_a_writing_into_it_was_cancelled(lab, key):
    async def endless():
        number = 0
        while True:
            yield member(f"{number % 97}/{number}", b"x")
            number += 1

    async with contextlib.aclosing(endless()) as chunks:
        with trio.move_on_after(0.2):
            await lab.runtime.write(await lab.layers.mounts(key, readonly=False), chunks, directory="/")
    await lab.layers.remove(key)
    assert key not in lab.layers.keys()  # noqa: SIM118  no mapping
