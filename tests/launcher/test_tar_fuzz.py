"""Whatever bytes come, reading ends with entries or with BadArchive. (Unpacking them: tests/privileged, where a root confines it.)"""

import bz2
import gzip
import lzma
import tempfile
from contextlib import suppress

import pytest
from archives import pieces
from hostile_archives import CORPUS, mutated
from hypothesis import given, settings
from hypothesis import strategies as st

from trioker.launcher.decompress import open_blocks
from trioker.launcher.tar_header import BadArchive
from trioker.launcher.tar_reader import Stream, TarReader

LIMIT = 2**22


@settings(max_examples=400, deadline=None)
@given(mutated(), st.sampled_from((1, 100, 512, 2**16)))
def test_the_reader_ends_with_entries_or_a_clear_error(data, size):
    reader = TarReader(Stream(pieces(data, size), LIMIT))
    with suppress(BadArchive):
        for entry in reader:
            assert entry.name
            assert min(entry.size, entry.stored) >= 0
            sum(map(len, reader.data(min(entry.stored, 100))))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_in_compressed_data_is_found_or_harmless(compress, data):
    whole = bytearray(compress(CORPUS[0]))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryFile() as file:
        file.write(whole)
        file.seek(0)
        with suppress(BadArchive):
            out = b"".join(iter(open_blocks(file.fileno()), b""))
            assert len(out) <= max(len(CORPUS[0]), len(whole))
