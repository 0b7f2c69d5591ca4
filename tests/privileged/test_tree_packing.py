"""Parts of trees packed by confined helpers, on both drivers: layers as differences, and the sources of COPY --from."""

import io
import os
import stat
import tarfile

import pytest
from archives import archive, grow_tree, member
from busybox import busybox_tar
from forked import in_child
from tree_lab import names, tree_lab

from trioker.launcher import helper
from trioker.launcher.pack import pack
from trioker.model.errors import InvalidParameter

pytestmark = pytest.mark.root


@pytest.fixture(params=["overlay", "vfs"])
async def lab(request, tmp_path):
    async with tree_lab(tmp_path, request.param) as lab:
        yield lab


CHANGES = """
echo changed > /etc/motd
rm /etc/group
rm -r /var; echo file > /var
rm /bin/ls; mkdir /bin/ls; echo x > /bin/ls/x
rm -r /root; mkdir -m 711 /root; echo new > /root/new
mkdir -p /a/b/c; echo deep > /a/b/c/d; ln /a/b/c/d /a/hard; ln -s ../etc /a/soft
chmod 700 /tmp; chmod 4755 /bin/busybox; chown 1000:50 /a/b
mknod /a/pipe p; mknod /a/null c 1 3
touch -d '2001-02-03 04:05:06' /a/b
chmod 750 /
"""


async def test_a_difference_gives_an_equal_tree_over_the_same_parent(lab):
    base = await lab.base()
    before = await lab.child(base)
    await lab.write(before, archive(member("root/old", b"old"), member("root/.hidden/deep/x", b"x")))
    changed = await lab.child(before)
    assert await lab.sh(changed, CHANGES) == ("", 0)
    tar = await lab.difference(changed)
    assert await lab.difference(changed) == tar
    again = await lab.apply(before, tar)
    assert await lab.tree(again) == await lab.tree(changed)
    assert await lab.difference(again) == tar
    other = await lab.child(again)
    assert await lab.difference(other) == bytes(1024)


@pytest.mark.parametrize("seed", range(2))
async def test_a_grown_tree_over_another_survives(lab, seed, tmp_path):
    trees = []
    for number in (seed, seed + 10):
        source = tmp_path / f"source {number}"
        source.mkdir()
        grow_tree(source, number, privileged=True)
        made = tmp_path / f"{number}.tar"
        with made.open("wb") as out:
            pack(str(source), out.fileno())
        trees.append(made.read_bytes())
    lower = await lab.base(trees[0])
    upper = await lab.apply(lower, trees[1])
    assert await lab.tree(await lab.apply(lower, await lab.difference(upper))) == await lab.tree(upper)


async def test_a_layer_has_its_directories_and_its_whiteouts_first_and_nothing_else(lab):
    tree = archive(member("d/e/gone", b"1"), member("d/e/kept", b"2"), member("d/other", b"3"))
    key = await lab.child(await lab.base(tree))
    tar = await lab.pack(key, only=["/d/e/kept"], deleted=["/d/e/a", "/d/e/zzz"])
    assert names(tar) == [".", "./d", "./d/e", "./d/e/.wh.a", "./d/e/.wh.zzz", "./d/e/kept"]
    with tarfile.open(fileobj=io.BytesIO(tar)) as layer:
        assert [(each.mode, each.mtime) for each in layer if "/.wh." in each.name] == [(0, 0), (0, 0)]
    assert await lab.pack(key, only=[]) == bytes(1024)
    assert names(await lab.pack(key, only=["/d/not there", "/d/other/not a directory"])) == [".", "./d", "./d/other"]


async def test_a_name_no_layer_can_hold_is_left_out(lab):
    key = await lab.child(await lab.base())
    assert await lab.sh(key, "echo x > /.wh.etc; echo y > /plain") == ("", 0)
    assert names(await lab.difference(key)) == [".", "./plain"]


async def test_names_that_are_not_text_survive(lab):
    key = await lab.child(await lab.base())
    assert await lab.sh(key, r"echo x > $(printf '/\377\376'); echo y > '/new  line'; rm /etc/motd") == ("", 0)
    assert "./" + os.fsdecode(b"\xff\xfe") in await lab.tree(
        await lab.apply(await lab.base(), await lab.difference(key))
    )


SOURCES = archive(
    member("usr/lib/liba.so", b"a"),
    member("usr/lib/libb.so", b"b"),
    member("usr/lib/libc.a", b"c"),
    member("usr/lib/sub/x", b"x"),
    member("usr/lib/link", kind=tarfile.SYMTYPE, linkname="liba.so"),
    member("lib", kind=tarfile.SYMTYPE, linkname="/usr/lib"),
    member("out", kind=tarfile.SYMTYPE, linkname="../../../../etc/hostname"),
    member("etc/hostname", b"inside"),
    member("nowhere", kind=tarfile.SYMTYPE, linkname="/none"),
    member("loop", kind=tarfile.SYMTYPE, linkname="loop"),
    member("star*", b"*"),
    member("hard1", b"h"),
    member("hard2", kind=tarfile.LNKTYPE, linkname="hard1"),
)


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["/usr/lib/*.so"], ["usr/lib/liba.so", "usr/lib/libb.so"]),
        (["usr/lib/lib[^ab].?"], ["usr/lib/libc.a"]),
        (["/lib/sub"], ["lib/sub", "lib/sub/x"]),
        (["/lib/sub/"], ["lib/sub", "lib/sub/x"]),
        (["/l*b/s*b/x"], ["lib/sub/x"]),
        (["/lib/link"], ["lib/link"]),
        (["/out"], ["out"]),
        (["/usr/../etc/./hostname"], ["etc/hostname"]),
        (["../../../etc/hostname"], ["etc/hostname"]),
        ([r"/star\*", "/star[*]", "/star*"], ["star*"]),
        (["/hard1", "/hard2"], ["hard1", "hard2"]),
    ],
)
async def test_sources_are_found_inside_the_tree_and_named_as_asked(lab, sources, expected):
    key = await lab.base(SOURCES)
    assert names(await lab.pack(key, sources=sources)) == expected


async def test_a_source_that_is_a_link_is_followed_and_links_below_a_directory_are_kept(lab):
    key = await lab.base(SOURCES)
    with tarfile.open(fileobj=io.BytesIO(await lab.pack(key, sources=["/lib", "/out", "/lib/link"]))) as tar:
        found = {each.name: each for each in tar}
        assert found["lib"].isdir()
        assert tar.extractfile("out").read() == b"inside"
        assert found["lib/link"].isreg()  # the later of two
        assert [each.issym() for each in tar.getmembers() if each.name == "lib/link"] == [True, False]


async def test_the_root_is_a_source_too(lab):
    key = await lab.base()
    assert names(await lab.pack(key, sources=["/"])) == names(await lab.pack(key))


@pytest.mark.parametrize("source", ["/none", "/usr/none*", "/nowhere", "/loop", "/usr/lib/liba.so/x", "/usr/lib/x["])
async def test_a_source_without_a_match_is_named(lab, source):
    key = await lab.base(SOURCES)
    with pytest.raises(InvalidParameter) as caught:
        await lab.pack(key, sources=["/usr/lib/liba.so", source])
    assert source.removeprefix("/usr/lib/") in str(caught.value)


async def test_a_directory_is_packed_as_a_root_and_a_missing_one_is_an_empty_archive(lab):
    key = await lab.base(SOURCES)
    assert names(await lab.pack(key, directory="/lib/sub")) == [".", "./x"]
    for each in ("/none", "/etc/hostname", "/loop"):
        assert await lab.pack(key, directory=each) == bytes(1024)


async def test_what_a_running_step_sees_of_a_huge_hole_is_not_written_out(lab):
    key = await lab.child(await lab.base(busybox_tar()))
    assert await lab.sh(
        key, "dd if=/dev/zero of=/sparse bs=1 count=1 seek=$((2**38 - 1)) 2>/dev/null; echo end >> /sparse"
    ) == (
        "",
        0,
    )
    tar = await lab.difference(key)
    assert len(tar) < 2**16
    again = await lab.apply(await lab.base(), tar)
    assert await lab.difference(await lab.child(again)) == bytes(1024)
    with tarfile.open(fileobj=io.BytesIO(tar)) as layer:
        (sparse,) = [each for each in layer if each.name == "./sparse"]
        assert sparse.size == 2**38 + 4


def test_no_device_that_a_running_container_slips_in_is_opened(tmp_path):
    device = tmp_path / "zero"
    os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 5))

    def look():
        helper._enter_root_of(os.pidfd_open(os.getpid()))
        try:
            os.open(f".{device}", os.O_RDONLY)
        except PermissionError:
            return "refused"

    assert in_child(look) == "refused"
