import bz2
import ctypes
import gzip
import io
import lzma
import os
import random
import sys
from contextlib import contextmanager

import pytest

from trioker.launcher import decompress, zstd
from trioker.launcher.decompress import BLOCK, open_blocks
from trioker.launcher.tar_header import BadArchive

TEXT = random.Random(1).randbytes(50_000) + b"compressible " * 50_000


def zstd_compress(data):
    """One frame with a checksum."""
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_compressBound.restype = library.ZSTD_compress2.restype = ctypes.c_size_t
    library.ZSTD_createCCtx.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.ZSTD_createCCtx())
    library.ZSTD_CCtx_setParameter(context, 201, 1)
    room = ctypes.create_string_buffer(library.ZSTD_compressBound(ctypes.c_size_t(len(data))))
    size = library.ZSTD_compress2(context, room, ctypes.c_size_t(len(room)), data, ctypes.c_size_t(len(data)))
    library.ZSTD_freeCCtx(context)
    return room.raw[:size]


COMPRESSORS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd_compress,
}
COMPRESSED = sorted(COMPRESSORS.keys() - {"plain"})
SKIPPABLE = b"\x51\x2a\x4d\x18" + (7).to_bytes(4, "little") + b"comment"


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


@pytest.mark.parametrize("name", COMPRESSED)
def test_several_streams_are_one(name, tmp_path):
    parts = [TEXT[at : at + 70_000] for at in range(0, 350_000, 70_000)]
    assert decompressed(b"".join(map(COMPRESSORS[name], parts)), tmp_path) == b"".join(parts)


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.parametrize("behind", [b"junk", bytes(8), bytes(100_000)])
def test_what_is_behind_the_last_stream_is_left_alone(name, behind, tmp_path):
    assert decompressed(COMPRESSORS[name](TEXT) + behind, tmp_path) == TEXT


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_stream_that_is_cut_off_is_told(name, tmp_path):
    whole = COMPRESSORS[name](TEXT)
    for length in (10, len(whole) // 2, len(whole) - 1):
        with pytest.raises(BadArchive, match=f"the {name} data ends too early"):
            decompressed(whole[:length], tmp_path)


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_damaged_stream_is_told(name, tmp_path):
    whole = bytearray(COMPRESSORS[name](TEXT))
    whole[len(whole) // 2] ^= 0xFF
    with pytest.raises(BadArchive, match=f"damaged {name} data"):
        decompressed(bytes(whole), tmp_path)


def test_zstds_skippable_frames_are_skipped(tmp_path):
    frames = SKIPPABLE + zstd_compress(TEXT) + SKIPPABLE + zstd_compress(b"more")
    assert decompressed(frames, tmp_path) == TEXT + b"more"


def test_a_zstd_frame_that_wants_much_memory_is_refused(tmp_path):
    header = b"\x28\xb5\x2f\xfd" + bytes([0x00, (28 - 10) << 3])  # no content size; a window of 2**28
    with pytest.raises(BadArchive, match=r"damaged zstd data: Frame requires too much memory"):
        decompressed(header + bytes(100), tmp_path)


def test_a_host_without_zstd_is_told_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(zstd, "_LIBRARY", "libnothing.so.1")
    monkeypatch.setitem(sys.modules, "compression", None)
    with pytest.raises(BadArchive, match=r"which takes libnothing.so.1 .* or Python 3.14 on the host"):
        decompressed(zstd_compress(TEXT), tmp_path)


def test_a_bomb_comes_out_a_block_at_a_time(tmp_path):
    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb") as file:
        for _ in range(50):
            file.write(bytes(2**20))
    with opened(bomb.getvalue(), tmp_path) as fd:
        assert max(len(block) for block in iter(open_blocks(fd), b"")) <= BLOCK


@pytest.mark.parametrize("name", COMPRESSED)
def test_what_grows_beyond_all_measure_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.setattr(decompress, "FREE_BYTES", 2**20)
    monkeypatch.setattr(decompress, "RATIO", 500)
    assert decompressed(COMPRESSORS[name](bytes(2**20)), tmp_path) == bytes(2**20)
    with pytest.raises(BadArchive, match=f"a bomb: [0-9]+ bytes of {name} hold more than 500 times as many"):
        decompressed(COMPRESSORS[name](bytes(2**22)), tmp_path)


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
