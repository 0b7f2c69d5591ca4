"""Archives with their bytes changed, unpacked by the confined helper: it answers, and what is beside the root stays as it was."""

import os
import tempfile
from pathlib import Path

import pytest
from archives import unpack_bytes
from hostile_archives import mutated
from hypothesis import given, settings
from hypothesis import strategies as st

from trioker.linux.trees import remove_tree

pytestmark = pytest.mark.root


@settings(max_examples=100, deadline=None)
@given(mutated(), st.sampled_from(("remove", "overlay")))
def test_the_unpacker_answers_and_touches_nothing_beside_its_root(data, whiteouts):
    with tempfile.TemporaryDirectory() as place:
        root = Path(place, "root")
        root.mkdir()
        answer = unpack_bytes(data, root, whiteouts, max_bytes=2**22, max_entries=200)
        assert answer["event"] in ("done", "failed")
        message = answer.get("message", "")
        assert message.isprintable()
        assert "Error: " not in message, "an exception nobody thought of"
        assert os.listdir(place) == ["root"]
        remove_tree(root)
