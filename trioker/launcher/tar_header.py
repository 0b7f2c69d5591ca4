"""One member's header of a tar archive: the 512 bytes of v7, ustar and GNU tar, read into an Entry.

Sources: POSIX.1-2017, pax, "ustar Interchange Format"; the GNU tar manual, "Basic Tar Format" (base-256 numbers, GNU's own magic).
Names stay bytes: an archive says nothing about their encoding, and the kernel asks for none.
"""

import functools
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

BLOCK = 512

FILE = b"0"
HARD_LINK = b"1"
SYMLINK = b"2"
CHARACTER_DEVICE = b"3"
BLOCK_DEVICE = b"4"
DIRECTORY = b"5"
FIFO = b"6"
SPARSE = b"S"

NAME_LIMIT = 4096
"""Longest name and link target in bytes: the kernel's PATH_MAX."""

_FILE_TYPES = {b"0": FILE, b"\0": FILE, b"7": FILE}  # of now, of v7, and "contiguous", which nobody lays out any more
_DEVICES = (CHARACTER_DEVICE, BLOCK_DEVICE)
_LAST_ID = 2**32 - 2  # 2**32 - 1 is (uid_t)-1, which tells chown(2) to change nothing
_TIME_LIMIT = (
    2**34 * 10**9
)  # nanoseconds, 544 years: far enough for ext4 and xfs, and near enough for time_t everywhere
_FIELDS = struct.Struct("100s 24s 12s 12s 8s c 100s 6s 2x 64x 8s 8s 155s 12x")
_BLANK_CHECKSUM = 8 * ord(" ")
_ADLER_BASE = 65521
_NONE: Mapping[bytes, bytes] = MappingProxyType({})


class BadArchive(Exception):
    """The bytes are no archive we take; the text says which rule they break, and where."""


class NoRoom(BadArchive):
    """The archive may be sound, but the disk has no room for it."""


class Entry(NamedTuple):
    """One member."""

    name: bytes
    """As the archive has it."""
    kind: bytes
    """One of the constants above, else the type byte as it stands."""
    mode: int
    """Permission bits, the set-id bits and the sticky bit."""
    uid: int
    gid: int
    mtime_ns: int
    size: int
    """Bytes of the file, holes included; 0 for all else."""
    stored: int
    """Bytes that follow the header in the archive, without padding."""
    link: bytes
    """Target of a symbolic link, name of the file a hard link is another name of."""
    device: int
    xattrs: Mapping[bytes, bytes] = _NONE
    pieces: Sequence[tuple[int, int]] | None = None
    """Where a sparse file is not a hole: (offset, length), rising."""


def shown(name: bytes) -> str:
    """A name from a stranger, fit for a message: short, and nothing in it that a terminal obeys."""
    text = name[:256].decode("utf-8", "backslashreplace")
    return text if text.isprintable() else ascii(text)


def cut(field: bytes) -> bytes:
    """A text field up to its NUL."""
    end = field.find(b"\0")
    return field if end < 0 else field[:end]


def number(field: bytes) -> int:
    """A numeric field: octal digits between blanks and NULs, or big-endian base-256 where the first byte's top bit is set.

    Raises ValueError for anything else.
    """
    if field[:-1].isdigit():
        return int(field[:-1] if field[-1] in b" \0" else field, 8)
    if field[0] & 0x80:
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") & (1 << bits) - 1
        return value - (1 << bits) if value >> bits - 1 else value
    digits = cut(field).strip(b" ")
    if digits.strip(b"01234567"):  # int() would take 0o17, 1_7 and -17
        raise ValueError(f"bad number {shown(digits)}")
    return int(digits or b"0", 8)


def owner(value: int) -> int:
    """A user or group id. Raises ValueError where it cannot be one."""
    if not 0 <= value <= _LAST_ID:
        raise ValueError(f"bad user or group id {value}")
    return value


def length(value: int) -> int:
    """A file's size. Raises ValueError for a negative one."""
    if value < 0:
        raise ValueError(f"negative size {value}")
    return value


def timestamp(nanoseconds: int) -> int:
    """A modification time brought into the range the kernel takes."""
    return max(-_TIME_LIMIT, min(nanoseconds, _TIME_LIMIT))


def parse_header(block: bytes) -> Entry:
    """Read one header block. Raises ValueError.

    Twenty thousand of them are the price of an image: hence the caches (modes, owners and times repeat) and the few calls.
    """
    name, permissions, size, mtime, checksum, kind, link, magic, major, minor, prefix = _FIELDS.unpack(block)
    _verify(block, checksum)
    # GNU's magic ends in a blank, and its headers keep other things where POSIX has the prefix.
    name = cut(prefix) + b"/" + cut(name) if prefix[0] and magic == b"ustar\0" else cut(name)
    mode, uid, gid = _permissions(permissions)
    stored = length(number(size))
    return Entry(
        name,
        _FILE_TYPES.get(kind, kind),
        mode,
        uid,
        gid,
        _mtime(mtime),
        stored,
        stored,
        cut(link) if link[0] else b"",
        _device(major, minor) if kind in _DEVICES else 0,
    )


@functools.lru_cache(256)
def _permissions(field: bytes) -> tuple[int, int, int]:
    """Mode, user and group."""
    return number(field[:8]) & 0o7777, owner(number(field[8:16])), owner(number(field[16:]))


@functools.lru_cache(1024)
def _mtime(field: bytes) -> int:
    return timestamp(number(field) * 10**9)


def _device(major: bytes, minor: bytes) -> int:
    numbers = number(major), number(minor)
    if not (0 <= numbers[0] < 2**12 and 0 <= numbers[1] < 2**20):  # Linux's dev_t: include/linux/kdev_t.h
        raise ValueError(f"no such device: {numbers[0]}, {numbers[1]}")
    return os.makedev(*numbers)


def _verify(block: bytes, field: bytes) -> None:
    """Compare the checksum: the sum of all bytes, its own eight taken as blanks. Raises ValueError.

    The lower half of Adler-32 is that sum plus one, modulo a prime, and takes a sixth of the time of ``sum``.
    """
    try:
        stated = number(field)
    except ValueError:
        stated = -1
    expected = stated + sum(field) - _BLANK_CHECKSUM
    if zlib.adler32(block) & 0xFFFF != (expected + 1) % _ADLER_BASE and expected != _signed_sum(block, field):
        raise ValueError("not a tar archive: bad header checksum")


def _signed_sum(block: bytes, field: bytes) -> int:
    """The sum as ancient tars made it, of signed bytes; the checksum's own are digits and stay as they are."""
    return sum(block) - 256 * (sum(byte > 127 for byte in block) - sum(byte > 127 for byte in field))
