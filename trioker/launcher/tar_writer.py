"""One member's header of a tar archive, written: ustar, and a pax header before it where ustar has no room (POSIX.1-2017, pax)."""

import os
import struct
from collections.abc import Mapping
from types import MappingProxyType

from trioker.launcher.tar_header import BLOCK, Entry
from trioker.launcher.tar_pax import XATTR, Records

END = bytes(2 * BLOCK)
"""What closes an archive."""

_HEADER = struct.Struct("100s 8s 8s 8s 12s 12s 8s c 100s 8s 32s 32s 8s 8s 155s 12x")
_MAGIC = b"ustar\x0000"
_CHECKSUM = 148
_NAME, _PREFIX = 100, 155


def padding(size: int) -> bytes:
    """What follows ``size`` bytes of data, up to a whole block."""
    return bytes(-size % BLOCK)


def encode_sparse_header(entry: Entry) -> bytes:
    """The blocks that go before the data of a file with ``pieces``, which follow one upon the other (the GNU tar manual, "PAX Format, 1.0").

    Who cannot read that finds a file of another name, with the map before the data.
    """
    pieces = entry.pieces or ()
    table = b"%d\n" % len(pieces) + b"".join(b"%d\n%d\n" % piece for piece in pieces)
    table += padding(len(table))
    records = {
        b"GNU.sparse.major": b"1",
        b"GNU.sparse.minor": b"0",
        b"GNU.sparse.name": entry.name,
        b"GNU.sparse.realsize": b"%d" % entry.size,
    }
    directory, _, base = entry.name.rpartition(b"/")
    name = b"/".join(part for part in (directory, b"GNUSparseFile.0", base) if part)
    stored = len(table) + sum(length for _, length in pieces)
    return encode_header(entry._replace(name=name, size=stored, pieces=None), records) + table


def encode_header(entry: Entry, further: Mapping[bytes, bytes] = MappingProxyType({})) -> bytes:
    """The blocks that go before the entry's data, with ``further`` pax records."""
    split = _split(entry.name)
    name, prefix = split or (entry.name, b"")
    block = _block(entry, name, prefix)
    records = _records(entry, further, whole_name=split is not None)
    if not records:
        return block
    data = b"".join(_record(keyword, value) for keyword, value in records.items())
    extension = Entry(b"././@PaxHeader", b"x", 0o644, 0, 0, 0, len(data), len(data), b"", 0)
    return _block(extension, extension.name, b"") + data + padding(len(data)) + block


def _block(entry: Entry, name: bytes, prefix: bytes) -> bytes:
    block = _HEADER.pack(
        name,  # struct cuts what is too long: then a pax header before it has it whole
        _octal(entry.mode, 8),
        _octal(entry.uid, 8),
        _octal(entry.gid, 8),
        _octal(entry.size, 12),
        _octal(entry.mtime_ns // 10**9, 12),
        b" " * 8,
        entry.kind,
        entry.link,
        _MAGIC,
        b"",  # no names of owners: they would be the host's
        b"",
        _octal(os.major(entry.device), 8),
        _octal(os.minor(entry.device), 8),
        prefix,
    )
    return block[:_CHECKSUM] + b"%06o\0 " % sum(block) + block[_CHECKSUM + 8 :]


def _octal(value: int, width: int) -> bytes:
    """Octal digits and a NUL; 0 for what does not fit, which a pax record then tells."""
    return b"%0*o\0" % (width - 1, value if _fits(value, width) else 0)


def _fits(value: int, width: int) -> bool:
    return 0 <= value < 1 << 3 * (width - 1)


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """Name and prefix that together are the path; None where no slash divides it so that both have room, or where it is not ASCII."""
    if not name.isascii():
        return None
    if len(name) <= _NAME:
        return name, b""
    slash = name.find(b"/", max(1, len(name) - _NAME - 1), _PREFIX + 1)
    return (name[slash + 1 :], name[:slash]) if 0 < slash < len(name) - 1 else None


def _records(entry: Entry, further: Mapping[bytes, bytes], *, whole_name: bool) -> Records:
    """What the header cannot hold."""
    records: Records = {}
    if not whole_name:
        records[b"path"] = entry.name
    if not entry.link.isascii() or len(entry.link) > _NAME:
        records[b"linkpath"] = entry.link
    records |= further  # behind the path: Python lets the last name win
    if not all(map(_is_text, records.values())):  # pax is UTF-8 unless this is said first; either way we keep the bytes
        records = {b"hdrcharset": b"BINARY", **records}
    for keyword, value, width in ((b"uid", entry.uid, 8), (b"gid", entry.gid, 8), (b"size", entry.size, 12)):
        if not _fits(value, width):
            records[keyword] = b"%d" % value
    seconds, fraction = divmod(entry.mtime_ns, 10**9)
    if fraction or not _fits(seconds, 12):
        records[b"mtime"] = _time(entry.mtime_ns)
    return records | {XATTR + name: value for name, value in entry.xattrs.items()}


def _time(nanoseconds: int) -> bytes:
    """Decimal seconds, with a fraction where there is one."""
    seconds, fraction = divmod(abs(nanoseconds), 10**9)
    text = b"%d.%09d" % (seconds, fraction)
    return b"-" * (nanoseconds < 0) + text.rstrip(b"0").rstrip(b".")


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _record(keyword: bytes, value: bytes) -> bytes:
    r"""``"<length> <keyword>=<value>\n"``, the length counting its own digits."""
    rest = len(keyword) + len(value) + len(b" =\n")
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, keyword, value)
