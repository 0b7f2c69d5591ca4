import tarfile

import pytest
from archives import END, archive, member, pieces

from trioker.launcher.tar_header import DIRECTORY, FILE, BadArchive
from trioker.launcher.tar_pax import RECORD_LIMIT
from trioker.launcher.tar_reader import EXTENSION_LIMIT, Stream, TarReader

LONG = "d/" * 150 + "name"


def read(data, size=1000, limit=2**30):
    """Entries, each with its data."""
    reader = TarReader(Stream(pieces(data, size), limit))
    return [(entry, b"".join(map(bytes, reader.data(entry.stored)))) for entry in reader]


def refusal(data, **options):
    with pytest.raises(BadArchive) as caught:
        read(data, **options)
    return str(caught.value)


@pytest.mark.parametrize("size", [1, 7, 511, 512, 513, 2**20])
def test_entries_come_out_whatever_pieces_the_archive_comes_in(size):
    data = archive(
        member("a", b"x" * 700), member("d/", kind=tarfile.DIRTYPE), member(LONG, b"y" * 1024), member("empty")
    )
    found = [(entry.name, entry.kind, content) for entry, content in read(data, size)]
    assert found == [
        (b"a", FILE, b"x" * 700),
        (b"d/", DIRECTORY, b""),
        (LONG.encode(), FILE, b"y" * 1024),
        (b"empty", FILE, b""),
    ]


def test_data_nobody_takes_is_skipped():
    reader = TarReader(Stream(pieces(archive(member("a", b"x" * 5000), member("b", b"y"))), 2**20))
    assert [entry.name for entry in reader] == [b"a", b"b"]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_targets_belong_to_the_next_entry_only(form):
    data = archive(member(LONG, kind=tarfile.SYMTYPE, linkname="t" * 300, form=form), member("next"))
    assert [(entry.name, entry.link) for entry, _ in read(data)] == [(LONG.encode(), b"t" * 300), (b"next", b"")]


def test_a_global_header_goes_for_all_that_follow_and_yields_to_their_own():
    glob = tarfile.TarInfo.create_pax_global_header({"uid": "77", "mtime": "5.5"})
    data = archive(glob + member("a", uid=1), member("b", pax_headers={"uid": "88"}))
    assert [(entry.uid, entry.mtime_ns) for entry, _ in read(data)] == [(77, 5_500_000_000), (88, 5_500_000_000)]


def test_a_file_whose_name_ends_in_a_slash_is_a_directory_and_its_data_is_skipped():
    found = read(archive(member("old/", b"x" * 600), member("b")))
    assert [(entry.name, entry.kind, entry.size) for entry, _ in found] == [(b"old/", DIRECTORY, 0), (b"b", FILE, 0)]


def test_a_link_that_states_a_size_has_no_data():
    data = archive(member("link", kind=tarfile.LNKTYPE, linkname="a", size=700), member("b", b"y"))
    assert [entry.size for entry, _ in read(data)] == [0, 1]


def test_an_archive_of_nothing_but_zeros_is_empty():
    assert read(END) == []
    assert read(bytes(10_240)) == []


def test_no_bytes_at_all_are_no_archive():
    assert refusal(b"") == "empty archive"


@pytest.mark.parametrize("end", [b"", bytes(512), END + b"garbage" * 1000, bytes(512) + END])
def test_an_archive_may_end_anyhow_behind_a_whole_entry(end):
    assert len(read(member("a", b"x") + end)) == 1


def test_a_lone_block_of_zeros_inside_is_told():
    assert refusal(member("a") + bytes(512) + member("b")) == "a lone block of zeros at byte 512"


def test_an_archive_cut_off_in_a_file_names_it():
    data = archive(member("etc/motd", b"x" * 5000), member("etc/passwd", b"x" * 5000))
    assert refusal(data[:7500]) == "unexpected end of archive in entry etc/passwd"


def test_an_archive_cut_off_in_a_sparse_map_names_the_entry():
    records = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "disk", "GNU.sparse.realsize": "9"}
    data = member("GNUSparseFile.0/disk", b"9\n".ljust(5000, b"\n"), pax_headers=records)
    assert refusal(data[:-5000]) == "unexpected end of archive in entry GNUSparseFile.0/disk"


def test_an_archive_cut_off_in_its_padding_names_the_entry():
    assert refusal(member("etc/passwd", b"x")[:700]) == "unexpected end of archive in entry etc/passwd"


def test_an_archive_cut_off_in_a_header_says_where():
    assert refusal((member("a") + member("b"))[:800]) == "unexpected end of archive at byte 800"


def test_an_archive_that_ends_behind_an_extended_header_says_so():
    whole = member(LONG)
    for end in (b"", END):
        assert "after an extended header" in refusal(whole[:1024] + end)


@pytest.mark.parametrize("garbage", [b"<html>" * 500, bytes(range(256)) * 8, b"\0" * 511 + b"x" + bytes(512)])
def test_garbage_is_not_an_archive(garbage):
    assert refusal(garbage) == "not a tar archive: bad header checksum at byte 0"
    assert refusal(member("a", b"x") + garbage) == "not a tar archive: bad header checksum at byte 1024"


def test_an_unknown_type_is_refused_and_named():
    assert refusal(archive(member("dump", kind=b"D"))) == "unknown type D in entry dump"


def test_an_entry_without_a_name_is_refused():
    assert refusal(archive(member("a"), member(""))) == "an entry without a name at byte 1024"


def test_an_extended_header_is_bounded():
    refused = refusal(member("x", kind=b"L", size=EXTENSION_LIMIT + 1))
    assert refused == f"extended headers of {EXTENSION_LIMIT + 1} bytes, more than {EXTENSION_LIMIT}, in entry x"


def test_the_extended_headers_of_one_entry_are_bounded_together():
    half = member("x", b"n" * (EXTENSION_LIMIT // 2), kind=b"L")
    refused = refusal(archive(half, half, member("again", b"n", kind=b"L"), member("a")))
    assert refused == f"extended headers of {EXTENSION_LIMIT + 1} bytes, more than {EXTENSION_LIMIT}, in entry again"


def test_the_records_of_an_extended_header_are_counted():
    records = b"5 a=\n" * (RECORD_LIMIT + 1)
    assert refusal(archive(member("x", records, kind=b"x"), member("a"))) == (
        f"more than {RECORD_LIMIT} records in one extended header in entry x"
    )


def test_a_bad_extended_header_is_told():
    assert "bad pax record at byte 0" in refusal(archive(member("x", b"nonsense", kind=b"x"), member("a")))
    assert "a name of 5000 bytes" in refusal(archive(member("x", b"n" * 5000, kind=b"L"), member("a")))


def test_more_bytes_than_allowed_are_refused():
    assert "more than the 5000 bytes allowed" in refusal(archive(member("a", bytes(6000))), limit=5000)


def test_a_row_of_extended_headers_counts_as_well():
    bomb = member("x", b"13 comment=x\n", kind=b"x")[:1024] * 1000
    assert "bytes allowed" in refusal(bomb, limit=100_000)
