"""The extended headers of the pax format: records that overrule a member's header (POSIX.1-2017, pax, "pax Extended Header")."""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from trioker.launcher.tar_header import NAME_LIMIT, BadArchive, Entry, length, owner, timestamp
from trioker.launcher.xattrs import parse_acl

Records = dict[bytes, bytes]

XATTR = b"SCHILY.xattr."
"""What star, GNU tar, libarchive and Docker put before an extended attribute's name; the value is raw bytes."""

RECORD_LIMIT = 2**16
"""Records of one extended header. Real ones have a few; a sparse map of format 0.0 takes two for each of its pieces."""

_LIBARCHIVE_XATTR = b"LIBARCHIVE.xattr."  # name as in a URL, value in base64; libarchive writes both forms (its archive_write_set_format_pax.c)
_ACLS = {b"SCHILY.acl.access": b"system.posix_acl_access", b"SCHILY.acl.default": b"system.posix_acl_default"}
_EXPONENT = re.compile(
    rb"-?[0-9](\.[0-9]{1,20})?e-[0-9]{1,2}"
)  # how Python's tarfile writes the first instants of 1970
_DIGITS = 20  # of a record's length and the blank behind: more than any header is long


def parse_records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    r"""The keywords and values of one extended header, ``"<length> <keyword>=<value>\n"`` each. Raises BadArchive."""
    start = count = 0
    while start < len(data):
        count += 1
        if count > RECORD_LIMIT:
            raise BadArchive(f"more than {RECORD_LIMIT} records in one extended header")
        blank = data.find(b" ", start, start + _DIGITS)
        digits = data[start : max(start, blank)]
        end = start + int(digits) if digits.isdigit() else 0
        keyword, equals, value = data[blank + 1 : max(0, end - 1)].partition(b"=")
        if not start < blank < end <= len(data) or not equals or data[end - 1] != ord("\n"):
            raise BadArchive(f"bad pax record at byte {start} of the extended header")
        yield keyword, value
        start = end


def simple_records(data: bytes) -> Records:
    """The records of a global header that count: what any member may have. A bound on what a row of such headers can pile up."""
    return {keyword: value for keyword, value in parse_records(data) if keyword in _FIELDS}


def member_records(data: bytes) -> Records:
    """The records of one member's header. The sparse map of format 0.0 is its only repeated keyword: joined as format 0.1 has it."""
    records: Records = {}
    pairs = []
    for keyword, value in parse_records(data):
        if keyword in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            pairs.append(value)
        else:
            records[keyword] = value
    if pairs:
        records[b"GNU.sparse.map"] = b",".join(pairs)
    return records


def overrule(entry: Entry, records: Mapping[bytes, bytes]) -> Entry:
    """The entry as the records have it; an empty value leaves the header's. Raises ValueError."""
    fields: dict[str, Any] = {}
    for keyword, (field, decode) in _FIELDS.items():
        value = records.get(keyword)
        if value:
            fields[field] = decode(value)
    if "stored" in fields:
        fields["size"] = fields["stored"]
    return entry._replace(**fields, xattrs=_xattrs(records))


def _xattrs(records: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The extended attributes, in whichever form they are told; the one with raw bytes counts most. Raises ValueError."""
    found = {}
    for keyword, value in records.items():
        if keyword.startswith(_LIBARCHIVE_XATTR):
            name = unquote_to_bytes(keyword[len(_LIBARCHIVE_XATTR) :])
            found[name] = base64.b64decode(value + b"=" * (-len(value) % 4))  # libarchive leaves the padding out
        elif keyword in _ACLS and value:
            found[_ACLS[keyword]] = parse_acl(value)
    return found | {keyword[len(XATTR) :]: value for keyword, value in records.items() if keyword.startswith(XATTR)}


def decimal(value: bytes) -> int:
    """A decimal number, at most 20 digits. Raises ValueError; int() would also take blanks, underscores and a million digits."""
    digits = value.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 20:
        raise ValueError(f"bad number {value[:40]!r} in the extended header")
    return int(value)


def _path(value: bytes) -> bytes:
    if len(value) > NAME_LIMIT:
        raise ValueError(f"a name of {len(value)} bytes, more than {NAME_LIMIT},")
    if b"\0" in value:
        raise ValueError("a NUL in a name of the extended header")
    return value


def _time(value: bytes) -> int:
    """Seconds with a fraction of any length, as nanoseconds, rounded down."""
    if _EXPONENT.fullmatch(value):
        return timestamp(round(float(value) * 10**9))
    whole, _, fraction = value.partition(b".")
    nanoseconds = decimal(b"0" + fraction[:9].ljust(9, b"0"))  # the leading 0 lets no sign pass
    return timestamp(decimal(whole) * 10**9 + (-nanoseconds if whole.startswith(b"-") else nanoseconds))


_FIELDS: Mapping[bytes, tuple[str, Callable[[bytes], Any]]] = {
    b"path": ("name", _path),
    b"linkpath": ("link", _path),
    b"size": ("stored", lambda value: length(decimal(value))),
    b"uid": ("uid", lambda value: owner(decimal(value))),
    b"gid": ("gid", lambda value: owner(decimal(value))),
    b"mtime": ("mtime_ns", _time),
}
