"""Writes the corpus: one small archive for each thing that a layer can hold. ``python grow_corpus.py`` with tests/harness on the path.

What a fuzzer or a user finds that was taken wrongly goes beside them, under a name that says what it was.
"""

import bz2
import gzip
import lzma
import subprocess
import tarfile
import tempfile
from pathlib import Path

from archives import END, archive, member

CORPUS = Path(__file__).parent / "corpus"
GNU, USTAR, DIRECTORY = tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.DIRTYPE
SMALL = archive(member("d/", kind=DIRECTORY), member("d/file", b"some bytes " * 60, mode=0o4755, uid=70_000))
HOLES = {"GNU.sparse.size": "9999", "GNU.sparse.map": "0,5,4096,5"}


def compressed():
    zstd = subprocess.run(["zstd", "-qc"], input=SMALL, check=True, capture_output=True).stdout
    yield "gzip", gzip.compress(SMALL, mtime=0)
    yield "gzip-members", gzip.compress(SMALL[:512], mtime=0) + gzip.compress(SMALL[512:], mtime=0) + b"\0junk"
    yield "bzip2", bz2.compress(SMALL)
    yield "xz", lzma.compress(SMALL)
    yield "zstd", b"\x50\x2a\x4d\x18\x04\0\0\0skip" + zstd


def members():
    yield "plain", SMALL + b"behind the end"
    yield (
        "long-names",
        archive(member("n" * 200 + "/" + "n" * 200, b"x", form=GNU), member("l" * 200, kind=b"2", linkname="t" * 300)),
    )
    yield "numbers", archive(member("big", uid=2**31, gid=2**22, mtime=-5, form=GNU))
    yield "pax", archive(member("a" * 200, pax_headers={"mtime": "1.5", "SCHILY.xattr.user.a": "b", "uid": "77"}))
    yield "global", archive(member("g", b"11 uid=123\n", kind=b"g"), member("f", b"x"))
    yield "libarchive", archive(member("f", pax_headers={"LIBARCHIVE.xattr.user.a%20b": "AHJlZAo"}))
    yield "acl", archive(member("f", pax_headers={"SCHILY.acl.access": "user::rw-,group::r--,other::---"}))
    yield (
        "links",
        archive(member("f", b"x"), member("h", kind=b"1", linkname="f"), member("s", kind=b"2", linkname="/f")),
    )
    yield (
        "devices",
        archive(member("n", kind=b"3", devmajor=1, devminor=3), member("b", kind=b"4"), member("p", kind=b"6")),
    )
    yield "whiteouts", archive(member(".wh.f"), member("d/.wh..wh..opq"), member("d/new", b"x"), member(".wh.d"))
    yield "aufs", archive(member(".wh..wh.plnk/1.2", b"x"), member("h", kind=b"1", linkname=".wh..wh.plnk/1.2"))
    yield "replaced", archive(member("x/y", b"x"), member("x", b"file"), member("x/", kind=DIRECTORY))
    yield "sparse-pax", archive(member("s", b"0123456789", pax_headers=HOLES), member("after", b"y"))


def sparse():
    with tempfile.TemporaryDirectory() as place:
        with Path(place, "holes").open("wb") as file:
            for number in range(30):
                file.seek(number * 20_000)
                file.write(b"%d" % number)
        for name, options in {
            "sparse-old": ["--format=gnu"],
            "sparse-0.0": ["--format=posix", "--sparse-version=0.0"],
            "sparse-1.0": ["--format=posix", "--sparse-version=1.0"],
        }.items():
            tar = ["tar", *options, "--sparse", "--numeric-owner", "--mtime=@5", "-b1", "-C", place, "-c", "holes"]
            yield name, gzip.compress(subprocess.run(tar, check=True, capture_output=True).stdout, mtime=0)


def old():
    info = tarfile.TarInfo("v7")
    block = bytearray(info.tobuf(USTAR))
    block[257:265] = bytes(8)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    yield "v7", bytes(block) + END


if __name__ == "__main__":
    CORPUS.mkdir(exist_ok=True)
    for make in (compressed, members, sparse, old):
        for name, data in make():
            (CORPUS / name).write_bytes(data)
