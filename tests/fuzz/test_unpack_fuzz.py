"""Archives with their bytes changed, unpacked by the confined helper: it answers, in little memory, and what is beside the root stays as it was.

The corpus is in files (``grow_corpus.py`` tells what they are); each is also unpacked as it is.
"""

import bz2
import gzip
import lzma
import os
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from archives import unpack_bytes
from hostile_archives import CORPUS as GROWN
from hostile_archives import mutated
from hypothesis import given, settings
from hypothesis import strategies as st

from trioker.linux.trees import remove_tree

pytestmark = pytest.mark.root

FILES = {path.name: path.read_bytes() for path in sorted((Path(__file__).parent / "corpus").iterdir())}
MEMORY = 2**26  # an eighth of what a window of xz or zstd may take
DECOMPRESSORS = (gzip.decompress, bz2.decompress, lzma.decompress)
COMPRESSORS = (bytes, bytes, gzip.compress, bz2.compress, lzma.compress)


def opened(data):
    """The tar in a compressed file, to be changed itself."""
    for decompress in DECOMPRESSORS:
        with suppress(OSError, EOFError, zlib.error, lzma.LZMAError):
            return decompress(data)
    return data


TARS = [*GROWN, *map(opened, FILES.values())]
CHANGED = st.one_of(
    st.tuples(mutated(TARS), st.sampled_from(COMPRESSORS)).map(lambda pair: pair[1](pair[0])),
    mutated(list(FILES.values())),
)


@pytest.mark.parametrize("name", FILES)
def test_each_file_of_the_corpus_is_unpacked(name, tmp_path):
    answer = unpack_bytes(FILES[name], tmp_path, "overlay", memory=MEMORY)
    assert answer["event"] == "done", answer
    assert answer["entries"] > 0


@settings(max_examples=120, deadline=None)
@given(CHANGED, st.sampled_from(("remove", "overlay")))
def test_the_unpacker_answers_and_touches_nothing_beside_its_root(data, whiteouts):
    with tempfile.TemporaryDirectory() as place:
        root = Path(place, "root")
        root.mkdir()
        answer = unpack_bytes(data, root, whiteouts, room=2**22, max_bytes=2**30, max_entries=200, memory=MEMORY)
        assert answer["event"] in ("done", "failed")
        message = answer.get("message", "")
        assert message.isprintable()
        assert "Error: " not in message, "an exception nobody thought of"
        assert "killed" not in message
        assert os.listdir(place) == ["root"]
        remove_tree(root)
