import os

import pytest

from trioker.linux.extents import extents, next_data

STEP = 2**16
"""At least a block of any filesystem."""


@pytest.fixture
def file(tmp_path):
    """A hole, data, a hole, data, a hole."""
    with (tmp_path / "file").open("w+b") as file:
        for place in (1, 3):
            os.pwrite(file.fileno(), b"x" * STEP, place * STEP)
        file.truncate(5 * STEP)
        yield file.fileno()


def test_data_is_found_between_holes(file):
    assert list(extents(file, 5 * STEP)) == [(STEP, 2 * STEP), (3 * STEP, 4 * STEP)]


def test_what_is_behind_the_size_is_left_out(file):
    assert list(extents(file, 3 * STEP + 1)) == [(STEP, 2 * STEP), (3 * STEP, 3 * STEP + 1)]
    assert list(extents(file, STEP)) == []


@pytest.mark.parametrize(("place", "found"), [(0, 1), (1, 1), (2, 3), (4, 5)])
def test_data_begins_here_or_behind_a_hole_or_never(file, place, found):
    assert next_data(file, place * STEP, 5 * STEP) == found * STEP


def test_a_file_that_cannot_be_asked_is_an_error():
    reader, writer = os.pipe()
    with pytest.raises(OSError, match="Illegal seek"):
        list(extents(reader, 1))
    os.close(reader)
    os.close(writer)
