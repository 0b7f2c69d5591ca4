import pytest

from trioker.launcher.tar_header import FILE, BadArchive, Entry
from trioker.launcher.tar_pax import decimal, member_records, overrule, parse_records, simple_records

PLAIN = Entry(b"short", FILE, 0o644, 1, 2, 3, 4, 4, b"", 0)


def test_records_are_read_by_their_length():
    data = b"30 mtime=1321711775.972059463\n24 path=with = and\nline\n"
    assert list(parse_records(data)) == [(b"mtime", b"1321711775.972059463"), (b"path", b"with = and\nline")]


@pytest.mark.parametrize(
    "data",
    [
        b"garbage",
        b"11 path=a",
        b"8 path=a\n",
        b"99 path=a\n",
        b"0 path=a\n",
        b"2 \n",
        b"10 path=a\nno blank\n",
        b"-9 path=a\n",
        b"10 path=a\nx",
        b"10 path a\n",
        b"\xb2 a=b\n",
        b"9" * 5000 + b" a=b\n",
    ],
)
def test_a_record_that_lies_about_its_length_is_refused(data):
    with pytest.raises(BadArchive, match="bad pax record at byte"):
        list(parse_records(data))


def test_records_overrule_the_header():
    records = {
        b"path": b"long",
        b"linkpath": b"l",
        b"size": b"99",
        b"uid": b"5",
        b"gid": b"6",
        b"mtime": b"7.5",
        b"comment": b"x",
    }
    expected = PLAIN._replace(name=b"long", link=b"l", size=99, stored=99, uid=5, gid=6, mtime_ns=7_500_000_000)
    assert overrule(PLAIN, records) == expected


def test_an_empty_value_leaves_the_headers():
    assert overrule(PLAIN, {b"path": b"", b"size": b""}) == PLAIN


@pytest.mark.parametrize(
    ("value", "nanoseconds"),
    [
        (b"1", 10**9),
        (b"1.", 10**9),
        (b"1.5", 1_500_000_000),
        (b"0.1234567899", 123_456_789),
        (b"-1.25", -1_250_000_000),
        (b"-0.5", -500_000_000),
        (b"1e-09", 1),
        (b"-2.5e-05", -25_000),
    ],
)
def test_times_have_fractions_and_signs(value, nanoseconds):
    assert overrule(PLAIN, {b"mtime": value}).mtime_ns == nanoseconds


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        (b"size", b"-1"),
        (b"size", b"1e3"),
        (b"size", b"1_0"),
        (b"size", b" 1"),
        (b"size", b"9" * 5000),
        (b"uid", b"-1"),
        (b"gid", b"4294967295"),
        (b"mtime", b"nan"),
        (b"mtime", b"1.-5"),
        (b"mtime", b"1e9"),
        (b"SCHILY.acl.access", b"user:lisa:rwx"),
        (b"SCHILY.acl.access", b"user::rwxx"),
        (b"SCHILY.acl.default", b"u:4294967295:rwx"),
        (b"path", b"a\0b"),
        (b"linkpath", b"x" * 4097),
    ],
)
def test_a_value_that_can_not_be_is_refused(keyword, value):
    with pytest.raises(ValueError, match=r"bad|negative|NUL|4097 bytes|without a number"):
        overrule(PLAIN, {keyword: value})


def test_attributes_are_raw_bytes():
    entry = overrule(PLAIN, {b"SCHILY.xattr.user.x": b"\0\n=", b"SCHILY.xattr.user.empty": b""})
    assert entry.xattrs == {b"user.x": b"\0\n=", b"user.empty": b""}


def test_a_global_header_keeps_only_what_any_member_may_have():
    assert simple_records(b"9 uid=12\n19 comment=abcdefg\n25 SCHILY.xattr.user.x=y\n") == {b"uid": b"12"}


def test_the_repeated_keywords_of_the_first_sparse_format_are_joined():
    data = b"23 GNU.sparse.offset=1\n25 GNU.sparse.numbytes=2\n23 GNU.sparse.offset=3\n25 GNU.sparse.numbytes=4\n"
    assert member_records(data) == {b"GNU.sparse.map": b"1,2,3,4"}


def test_a_decimal_number_has_at_most_twenty_digits():
    assert decimal(b"-" + b"9" * 20) == -(10**20) + 1
    with pytest.raises(ValueError, match="bad number"):
        decimal(b"9" * 21)
