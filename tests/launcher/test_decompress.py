import bz2
import gzip
import io
import lzma
import os
import random
from contextlib import contextmanager

import pytest

from trioker.launcher.decompress import BLOCK, open_blocks
from trioker.launcher.tar_header import BadArchive

TEXT = random.Random(1).randbytes(50_000) + b"compressible " * 50_000
COMPRESSORS = {"plain": bytes, "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


@contextmanager
def opened(data, tmp_path):
    path = tmp_path / "data"
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def decompressed(data, tmp_path):
    with opened(data, tmp_path) as fd:
        return b"".join(iter(open_blocks(fd), b""))


@pytest.mark.parametrize("name", COMPRESSORS)
def test_each_format_is_told_by_its_first_bytes(name, tmp_path):
    assert decompressed(COMPRESSORS[name](TEXT), tmp_path) == TEXT


@pytest.mark.parametrize("name", COMPRESSORS)
@pytest.mark.parametrize("length", [0, 1, 5, BLOCK, BLOCK + 1])
def test_any_length_comes_out(name, length, tmp_path):
    assert decompressed(COMPRESSORS[name](TEXT[:length]), tmp_path) == TEXT[:length]


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz"])
def test_several_streams_are_one(name, tmp_path):
    parts = [TEXT[at : at + 70_000] for at in range(0, 350_000, 70_000)]
    assert decompressed(b"".join(map(COMPRESSORS[name], parts)), tmp_path) == b"".join(parts)


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz"])
@pytest.mark.parametrize("behind", [b"junk", bytes(8), bytes(100_000)])
def test_what_is_behind_the_last_stream_is_left_alone(name, behind, tmp_path):
    assert decompressed(COMPRESSORS[name](TEXT) + behind, tmp_path) == TEXT


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz"])
def test_a_stream_that_is_cut_off_is_told(name, tmp_path):
    whole = COMPRESSORS[name](TEXT)
    for length in (10, len(whole) // 2, len(whole) - 1):
        with pytest.raises(BadArchive, match=f"the {name} data ends too early"):
            decompressed(whole[:length], tmp_path)


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz"])
def test_a_damaged_stream_is_told(name, tmp_path):
    whole = bytearray(COMPRESSORS[name](TEXT))
    whole[len(whole) // 2] ^= 0xFF
    with pytest.raises(BadArchive, match=f"damaged {name} data"):
        decompressed(bytes(whole), tmp_path)


def test_zstd_is_known_and_refused(tmp_path):
    with pytest.raises(BadArchive, match="zstd is not supported"):
        decompressed(b"\x28\xb5\x2f\xfd" + bytes(100), tmp_path)


def test_a_bomb_comes_out_a_block_at_a_time(tmp_path):
    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb") as file:
        for _ in range(50):
            file.write(bytes(2**20))
    with opened(bomb.getvalue(), tmp_path) as fd:
        assert {len(block) for block in iter(open_blocks(fd), b"")} == {BLOCK}


def test_an_xz_stream_that_wants_much_memory_is_refused(tmp_path):
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**28}]
    with pytest.raises(BadArchive, match=r"damaged xz data: Memory usage limit exceeded"):
        decompressed(lzma.compress(TEXT, filters=filters), tmp_path)


def test_a_first_read_of_one_byte_does_not_hide_the_format():
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        for byte in gzip.compress(b"slow"):
            os.write(writer, bytes([byte]))
        os._exit(0)
    os.close(writer)
    assert b"".join(iter(open_blocks(reader), b"")) == b"slow"
    os.close(reader)
    os.waitpid(pid, 0)
