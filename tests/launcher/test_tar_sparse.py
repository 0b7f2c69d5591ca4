import pytest
from archives import pieces

from trioker.launcher.tar_header import FILE, SPARSE, Entry
from trioker.launcher.tar_reader import Stream
from trioker.launcher.tar_sparse import old_sparse, pax_sparse

PLAIN = Entry(b"GNUSparseFile.0/name", FILE, 0o644, 1, 2, 3, 30, 30, b"", 0)
VERSION_1 = {
    b"GNU.sparse.major": b"1",
    b"GNU.sparse.minor": b"0",
    b"GNU.sparse.name": b"name",
    b"GNU.sparse.realsize": b"9000",
}


def take(data=b""):
    return Stream(pieces(data), 2**20).take


def padded(data):
    return data + bytes(-len(data) % 512)


def octal(*numbers):
    return b"".join(b"%011o\0" % number for number in numbers)


def test_an_entry_without_sparse_records_comes_back_as_it_is():
    assert pax_sparse(PLAIN, {b"path": b"x"}, take()) is PLAIN


def test_a_map_in_the_extended_header_is_read():
    records = {b"GNU.sparse.size": b"100", b"GNU.sparse.map": b"0,10,50,20,100,0"}
    entry = pax_sparse(PLAIN, records, take())
    assert (entry.size, entry.pieces) == (100, [(0, 10), (50, 20), (100, 0)])


def test_a_map_before_the_data_is_read_and_not_part_of_it():
    text = padded(b"2\n0\n10\n8000\n20\n")
    entry = pax_sparse(PLAIN._replace(stored=len(text) + 30), VERSION_1, take(text))
    assert (entry.name, entry.size, entry.stored, entry.pieces) == (b"name", 9000, 30, [(0, 10), (8000, 20)])


def test_a_map_of_many_blocks_is_read():
    text = padded(b"1000\n" + b"".join(b"%d\n0\n" % (number * 8) for number in range(1000)))
    entry = pax_sparse(PLAIN._replace(stored=len(text)), VERSION_1, take(text))
    assert len(text) > 4 * 512
    assert entry.pieces[-1] == (7992, 0)


def test_an_old_map_goes_on_in_the_next_blocks():
    header = bytes(386) + octal(0, 10, 100, 10, 200, 5, 300, 5) + b"\1" + octal(1000)
    extension = octal(400, 0) + bytes(504 - 24) + bytes(8)
    entry = old_sparse(PLAIN._replace(kind=SPARSE), header.ljust(512, b"\0"), take(extension))
    assert (entry.kind, entry.size) == (FILE, 1000)
    assert entry.pieces == [(0, 10), (100, 10), (200, 5), (300, 5), (400, 0)]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ({b"GNU.sparse.map": b"0,10,5,20"}, "does not rise"),
        ({b"GNU.sparse.map": b"0,-1,5,31"}, "does not rise"),
        ({b"GNU.sparse.map": b"0,10,90,20"}, "beyond the file's end"),
        ({b"GNU.sparse.map": b"0,10,50,19"}, "does not match the stored size"),
        ({b"GNU.sparse.map": b"0,10,50"}, "odd"),
        ({b"GNU.sparse.map": b"0,x"}, "bad number"),
        ({b"GNU.sparse.size": b"-5"}, "negative size"),
        ({b"GNU.sparse.major": b"2", b"GNU.sparse.minor": b"0"}, "unknown sparse format"),
    ],
)
def test_a_map_that_can_not_be_is_refused(records, message):
    with pytest.raises(ValueError, match=message):
        pax_sparse(PLAIN, {b"GNU.sparse.size": b"100", **records}, take())


@pytest.mark.parametrize("text", [b"9" * 19 + b"\n", b"0" * 512, b"3\n0\n10\n8000\n20\n"])
def test_a_map_that_never_ends_is_refused(text):
    with pytest.raises(ValueError, match=r"too long|bad number"):
        pax_sparse(PLAIN._replace(stored=2**30), VERSION_1, take(padded(text) + b"\n" * 2**19 + bytes(2**19 - 512)))


def test_an_old_map_that_never_ends_is_refused():
    header = bytes(386) + octal(0, 0, 0, 0, 0, 0, 0, 0) + b"\1" + octal(1000)
    endless = Stream(lambda: (octal(*[0] * 42) + b"\1").ljust(512, b"\0"), 2**40)
    with pytest.raises(ValueError, match="too long"):
        old_sparse(PLAIN, header.ljust(512, b"\0"), endless.take)
