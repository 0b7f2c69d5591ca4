"""The log of a container's output on disk: positions, rotation, torn ends."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioker.launcher.logfile import OVERHEAD, LogSnapshot, LogWriter, log_end, log_files

BOTH = (1, 2)


@pytest.fixture
def directory(tmp_path):
    return str(tmp_path / "log")


def read(directory, streams=BOTH, begin=0, end=None):
    snapshot = LogSnapshot(directory, begin, end)
    try:
        return b"".join(snapshot.read(streams))
    finally:
        snapshot.close()


def write(directory, *pieces, size=2**20, files=5):
    writer = LogWriter(directory, size, files)
    positions = [writer.append(stream, data, 1) for stream, data in pieces]
    writer.close()
    return positions


def test_an_empty_log_is_at_position_zero(directory):
    assert log_files(directory) == []
    assert log_end(directory) == 0
    assert read(directory) == b""
    writer = LogWriter(directory, 100, 1)
    assert writer.position == 0
    writer.close()
    assert stat_mode(directory) == 0o700


def stat_mode(path):
    return os.stat(path).st_mode & 0o777


def test_streams_are_read_apart_and_together_in_the_order_written(directory):
    write(directory, (1, b"one "), (2, b"two "), (1, b""), (1, b"three"))
    assert read(directory) == b"one two three"
    assert read(directory, (1,)) == b"one three"
    assert read(directory, (2,)) == b"two "


def test_a_position_counts_every_byte_with_its_record(directory):
    assert write(directory, (1, b"abc"), (1, b"")) == [OVERHEAD + 3, 2 * OVERHEAD + 3]
    assert log_end(directory) == 2 * OVERHEAD + 3


def test_reading_between_two_positions_gives_what_was_written_between_them(directory):
    first, second, third = write(directory, (1, b"a"), (1, b"b"), (1, b"c"))
    assert read(directory, begin=first) == b"bc"
    assert read(directory, begin=first, end=second) == b"b"
    assert read(directory, end=first) == b"a"
    assert read(directory, begin=third) == b""


def test_a_writer_goes_on_where_the_last_one_ended(directory):
    write(directory, (1, b"first "))
    before = log_end(directory)
    assert write(directory, (1, b"second")) == [before + OVERHEAD + 6]
    assert read(directory) == b"first second"


def test_rotation_keeps_the_newest_files_and_names_them_by_position(directory):
    pieces = [(1, b"%02d" % each) for each in range(20)]
    positions = write(directory, *pieces, size=3 * (OVERHEAD + 2), files=2)
    files = log_files(directory)
    assert len(files) == 2
    assert read(directory) == b"1516171819"
    assert [start for start, _ in files] == [positions[14], positions[17]]


def test_a_record_larger_than_a_file_gets_one_of_its_own(directory):
    write(directory, (1, b"small"), (1, b"x" * 1000), (1, b"small"), size=100, files=5)
    assert [os.stat(path).st_size for _, path in log_files(directory)] == [OVERHEAD + 5, OVERHEAD + 1000, OVERHEAD + 5]


def test_a_reader_loses_nothing_to_rotation(directory):
    writer = LogWriter(directory, 100, 1)
    writer.append(1, b"old", 1)
    snapshot = LogSnapshot(directory)
    for _ in range(10):
        writer.append(1, b"x" * 90, 1)
    writer.close()
    assert b"".join(snapshot.read(BOTH)) == b"old"
    snapshot.close()
    assert len(log_files(directory)) == 1


@pytest.mark.parametrize("lost", range(1, OVERHEAD + 5))
def test_a_torn_end_is_cut_off_and_written_over(directory, lost):
    write(directory, (1, b"whole"), (2, b"torn"))
    ((_, path),) = log_files(directory)
    os.truncate(path, os.stat(path).st_size - lost)
    (position,) = write(directory, (1, b" again"))
    assert position == 2 * OVERHEAD + 5 + 6
    assert read(directory) == b"whole again"


def test_an_end_of_zeros_is_cut_off(directory):
    """What a power cut leaves of a file that had grown before its blocks were written."""
    write(directory, (1, b"whole"))
    ((_, path),) = log_files(directory)
    os.truncate(path, 4096)
    write(directory, (1, b" again"))
    assert read(directory) == b"whole again"


def test_reading_a_torn_log_gives_its_whole_records(directory):
    write(directory, (1, b"whole"), (1, b"torn"))
    ((_, path),) = log_files(directory)
    os.truncate(path, os.stat(path).st_size - 3)
    assert read(directory) == b"whole"


def test_a_full_disk_is_an_error_and_leaves_the_log_as_it_was(directory):
    writer = LogWriter(directory, 100, 1)
    writer.append(1, b"before", 1)
    position = writer.position
    kept = os.dup(writer._fd)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, writer._fd)
    with pytest.raises(OSError, match="No space left"):
        writer.append(1, b"lost", 1)
    assert writer.position == position
    os.dup2(kept, writer._fd)
    writer.append(1, b" after", 1)
    writer.close()
    os.close(kept)
    os.close(full)
    assert read(directory) == b"before after"


@given(
    pieces=st.lists(st.tuples(st.sampled_from(BOTH), st.binary(max_size=300)), max_size=30),
    size=st.integers(1, 2000),
    cut=st.integers(0, 400),
)
def test_whatever_is_written_is_read_back_up_to_a_cut(tmp_path_factory, pieces, size, cut):
    directory = str(tmp_path_factory.mktemp("log"))
    positions = write(directory, *pieces, size=size, files=1000)
    assert read(directory) == b"".join(data for _, data in pieces)
    end = max(0, log_end(directory) - cut)
    whole = sum(position <= end for position in positions)
    assert read(directory, end=end) == b"".join(data for _, data in pieces[:whole])
