import io
import os
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioker.launcher.tar_header import BLOCK_DEVICE, DIRECTORY, FILE, SYMLINK, Entry
from trioker.launcher.tar_reader import Stream, TarReader
from trioker.launcher.tar_writer import END, encode_header, padding

PLAIN = Entry(b"./etc/motd", FILE, 0o644, 0, 0, 10**9, 0, 0, b"", 0)


def read_back(entry):
    archive = io.BytesIO(encode_header(entry) + END)
    with tarfile.open(fileobj=archive, errors="surrogateescape") as made:
        (found,) = made
    return found


def test_a_plain_entry_is_one_block_of_ustar():
    block = encode_header(PLAIN)
    assert len(block) == 512
    assert block[257:265] == b"ustar\x0000"
    assert block[265:329] == bytes(64)


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        (b"./" + b"n" * 98, 1),
        (b"./" + b"p" * 100 + b"/" + b"n" * 100, 1),
        (b"p" * 155 + b"/" + b"n" * 100, 1),
        (b"p" * 156 + b"/" + b"n" * 100, 3),
        (b"n" * 101, 3),
        (b"d" * 120 + b"/", 3),
        ("ünïcode".encode(), 3),
        (b"\xff\xfe", 3),
        (b"a/" * 1000, 6),
    ],
)
def test_a_name_of_any_length_and_bytes_is_kept(name, blocks):
    assert len(encode_header(PLAIN._replace(name=name))) == blocks * 512
    assert os.fsencode(read_back(PLAIN._replace(name=name)).name).rstrip(b"/") == name.rstrip(b"/")


@pytest.mark.parametrize("link", [b"short", b"t" * 100, b"t" * 101, "ünï".encode(), b"\xff" * 200])
def test_a_target_of_any_length_and_bytes_is_kept(link):
    assert os.fsencode(read_back(PLAIN._replace(kind=SYMLINK, link=link)).linkname) == link


@pytest.mark.parametrize("value", [0, 2**21 - 1, 2**21, 2**32 - 2])
def test_owners_beyond_the_headers_room_are_kept(value):
    found = read_back(PLAIN._replace(uid=value, gid=value))
    assert (found.uid, found.gid, found.uname, found.gname) == (value, value, "", "")


@pytest.mark.parametrize(
    ("nanoseconds", "record"),
    [
        (0, None),
        (5 * 10**9, None),
        (-5 * 10**9, "-5"),
        (1_999_999_999, "1.999999999"),
        (1_500_000_000, "1.5"),
        (-1, "-0.000000001"),
        (-1_500_000_000, "-1.5"),
        (2**33 * 10**9, str(2**33)),
    ],
)
def test_a_time_that_is_no_whole_second_is_a_record(nanoseconds, record):
    assert read_back(PLAIN._replace(mtime_ns=nanoseconds)).pax_headers.get("mtime") == record


def test_a_size_beyond_eight_gibibytes_is_kept():
    header = encode_header(PLAIN._replace(size=2**33))
    with tarfile.open(fileobj=io.BytesIO(header)) as made:
        assert made.next().size == 2**33


def test_devices_keep_their_numbers():
    found = read_back(PLAIN._replace(kind=BLOCK_DEVICE, device=os.makedev(4095, 2**20 - 1)))
    assert (found.devmajor, found.devminor) == (4095, 2**20 - 1)


def test_padding_fills_the_block():
    assert [len(padding(size)) for size in (0, 1, 511, 512, 513)] == [0, 511, 1, 0, 511]


NAMES = st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name and not name.endswith(b"/"))
ENTRIES = st.builds(
    Entry,
    name=NAMES,
    kind=st.sampled_from((FILE, SYMLINK)),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 2),
    gid=st.integers(0, 2**32 - 2),
    mtime_ns=st.integers(-(2**33) * 10**9, 2**33 * 10**9),
    size=st.just(0),
    stored=st.just(0),
    link=NAMES,
    device=st.just(0),
    xattrs=st.dictionaries(
        NAMES.map(lambda name: b"user." + name.replace(b"=", b"")), st.binary(max_size=600), max_size=3
    ),
    pieces=st.none(),
)


@settings(max_examples=50, deadline=None)
@given(ENTRIES)
def test_our_own_reader_reads_every_entry_back_as_it_was(entry):
    (found,) = TarReader(Stream(iter((encode_header(entry) + END, b"", b"")).__next__, 2**20))
    assert found == entry


def test_a_directory_is_read_back_as_one():
    assert read_back(PLAIN._replace(name=b"./etc/", kind=DIRECTORY)).isdir()
