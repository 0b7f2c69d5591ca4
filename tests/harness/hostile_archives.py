"""A small corpus of archives of every kind, and what becomes of them in a stranger's hands."""

import subprocess
import tarfile
import tempfile

from archives import FORMATS, archive, grow_tree, member
from hypothesis import strategies as st


def _corpus():
    sparse_0 = {"GNU.sparse.size": "9999", "GNU.sparse.map": "0,5,4096,5"}
    yield archive(
        member("f", b"x" * 700),
        member("d/", kind=tarfile.DIRTYPE),
        member("d/l", kind=tarfile.SYMTYPE, linkname="../f"),
    )
    yield archive(
        member("long/" * 60, pax_headers={"mtime": "1.5", "SCHILY.xattr.user.a": "b"}),
        member("h", kind=tarfile.LNKTYPE, linkname="f"),
    )
    yield archive(member("sparse", b"0123456789", pax_headers=sparse_0), member("after", b"y"))
    yield archive(member("n" * 300, b"z", form=tarfile.GNU_FORMAT), member(".wh.f"), member("d/.wh..wh..opq"))
    with tempfile.TemporaryDirectory() as source:
        grow_tree(source, 1)
        for form in FORMATS:
            tar = ["tar", f"--format={form}", "--sparse", "-C", source, "-c", "."]
            made = subprocess.run(tar, check=False, capture_output=True).stdout
            yield made[:20_480]


CORPUS = list(_corpus())


@st.composite
def mutated(draw, corpus=CORPUS):
    """An archive with some bytes changed, moved or cut off, and (mostly) its checksums made right again."""
    data = bytearray(draw(st.sampled_from(corpus)))
    for _ in range(draw(st.integers(1, 6))):
        header = draw(st.integers(0, max(0, len(data) // 512 - 1))) * 512
        at = header + draw(
            st.one_of(st.integers(0, 511), st.sampled_from((0, 100, 108, 124, 136, 156, 157, 257, 345, 386, 482, 483)))
        )
        field = draw(
            st.one_of(
                st.binary(max_size=16),
                st.sampled_from((b"\xff" * 12, b"\x80" + b"\xff" * 11, b"7" * 11, b"../", b"x", b"L", b"S", b"g")),
            )
        )
        data[at : at + len(field)] = field
        if draw(st.integers(0, 9)):
            data[header : header + 512] = _checked(data[header : header + 512])
    return bytes(data[: draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))])


def _checked(block):
    block = bytes(block).ljust(512, b"\0")
    blank = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(blank) + block[156:]
