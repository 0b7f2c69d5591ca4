import os
import subprocess
import tarfile

import pytest
from archives import pieces as handed_out
from archives import snapshot

from trioker.launcher import holes
from trioker.launcher.pack import pack
from trioker.launcher.tar_header import FILE, Entry
from trioker.launcher.tar_reader import Stream, TarReader
from trioker.launcher.tar_writer import END, encode_sparse_header

MIB = 2**20


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.mkdir()
    return path


def sparse(path, *writes, size):
    with path.open("wb") as file:
        for offset, data in writes:
            file.seek(offset)
            file.write(data)
        file.truncate(size)
    if path.stat().st_blocks * 512 > size // 2:
        pytest.skip("this filesystem keeps no holes")


def packed(source, tmp_path):
    made = tmp_path / "made.tar"
    with made.open("wb") as out:
        counts = pack(str(source), out.fileno())
    return made, counts


SHAPES = [
    ([], 5 * MIB),
    ([(0, b"start")], 5 * MIB),
    ([(5 * MIB - 3, b"end")], 5 * MIB),
    ([(MIB, b"one" * 5000), (3 * MIB, b"two")], 7 * MIB),
]


@pytest.mark.parametrize(("writes", "size"), SHAPES)
@pytest.mark.parametrize("name", ["f", "n" * 200, "d" * 90 + "ü"])
def test_gnu_tar_and_python_read_what_is_packed(writes, size, name, source, tmp_path):
    sparse(source / name, *writes, size=size)
    os.utime(source / name, (5, 5))
    made, counts = packed(source, tmp_path)
    assert made.stat().st_size < MIB
    assert counts.size == size
    target = tmp_path / "target"
    target.mkdir()
    subprocess.run(["tar", "-C", target, "-xpf", made, f"./{name}"], check=True)
    os.utime(target, ns=(0, source.stat().st_mtime_ns))
    assert snapshot(target)[name] == snapshot(source)[name]
    with tarfile.open(made) as archive:
        assert archive.extractfile(f"./{name}").read() == (source / name).read_bytes()


def test_a_terabyte_that_is_a_hole_is_a_few_blocks(source, tmp_path):
    sparse(source / "huge", (2**40, b"!"), size=2**40 + 1)
    made, counts = packed(source, tmp_path)
    assert made.stat().st_size < 16384
    assert counts.size == 2**40 + 1


def test_small_holes_are_written_out(source, tmp_path):
    sparse(source / "f", size=512 * 1024)
    made, _ = packed(source, tmp_path)
    assert made.stat().st_size > 512 * 1024


def test_a_file_of_very_many_pieces_is_packed_with_fewer(source, tmp_path, monkeypatch):
    monkeypatch.setattr(holes, "_MOST", 10)
    sparse(source / "f", *((each * 16384, b"x") for each in range(100)), (4 * MIB, b"y"), size=8 * MIB)
    made, _ = packed(source, tmp_path)
    with tarfile.open(made) as archive:
        assert archive.extractfile("./f").read() == (source / "f").read_bytes()
        assert len(archive.getmember("./f").sparse) <= 11


def test_a_header_is_read_as_it_was_written():
    entry = Entry(
        b"a\xff/b", FILE, 0o644, 1, 2, 3 * 10**9, 10 * MIB, 0, b"", 0, pieces=[(4096, 5), (MIB, 600), (10 * MIB, 0)]
    )
    data = encode_sparse_header(entry) + b"x" * 605 + bytes(-605 % 512) + END
    (read,) = TarReader(Stream(handed_out(data), 2**30))
    assert read._replace(stored=0) == entry
    assert read.stored == 605
