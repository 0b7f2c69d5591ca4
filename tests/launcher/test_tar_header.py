import os
import tarfile

import pytest
from archives import member

from trioker.launcher.tar_header import (
    CHARACTER_DEVICE,
    FILE,
    HARD_LINK,
    SYMLINK,
    number,
    parse_header,
    shown,
    timestamp,
)


def signed(block):
    """The header with its checksum made right."""
    block = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def changed(block, at, field):
    return signed(block[:at] + field + block[at + len(field) :])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"0000644\0", 0o644),
        (b"000644 \0", 0o644),
        (b"   644 \0", 0o644),
        (b"00000644", 0o644),
        (b"\0" * 8, 0),
        (b" " * 8, 0),
        (b"7\0junk89", 7),
        (b"\x80" + bytes(9) + b"\x01\x00", 256),
        (b"\xff" * 12, -1),
        (b"\xff" * 11 + b"\x00", -256),
        (b"\xbf" + b"\xff" * 7, 2**62 - 1),
    ],
)
def test_numbers_are_octal_or_base_256(field, value):
    assert number(field) == value


@pytest.mark.parametrize(
    "field", [b"0000648\0", b"-000644\0", b"0o00644\0", b"000_644\0", b"64 4\0\0\0\0", b"garbage\0"]
)
def test_anything_else_is_no_number(field):
    with pytest.raises(ValueError, match=r"bad number|invalid literal"):
        number(field)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
def test_a_header_is_read_whole(form):
    block = member("etc/motd", form=form, mode=0o4644, uid=1000, gid=50, size=1234, mtime=99)[:512]
    entry = parse_header(block)
    assert entry == (b"etc/motd", FILE, 0o4644, 1000, 50, 99 * 10**9, 1234, 1234, b"", 0, {}, None)


def test_a_ustar_prefix_goes_before_the_name():
    name = "p" * 60 + "/" + "n" * 80
    assert parse_header(member(name, form=tarfile.USTAR_FORMAT)[:512]).name == name.encode()


def test_what_gnu_keeps_where_the_prefix_is_does_not_join_the_name():
    block = changed(member("name", form=tarfile.GNU_FORMAT)[:512], 345, b"13572467\0")
    assert parse_header(block).name == b"name"


@pytest.mark.parametrize("type_byte", [b"0", b"\0", b"7"])
def test_files_of_all_ages_are_files(type_byte):
    assert parse_header(changed(member("name")[:512], 156, type_byte)).kind == FILE


def test_links_have_a_target_and_devices_a_number():
    assert parse_header(member("a", kind=tarfile.SYMTYPE, linkname="b")[:512])[1:9:7] == (SYMLINK, b"b")
    assert parse_header(member("a", kind=tarfile.LNKTYPE, linkname="b")[:512])[1:9:7] == (HARD_LINK, b"b")
    device = parse_header(member("a", kind=tarfile.CHRTYPE, devmajor=1, devminor=3)[:512])
    assert (device.kind, device.device) == (CHARACTER_DEVICE, os.makedev(1, 3))


@pytest.mark.parametrize(
    ("at", "field", "message"),
    [
        (108, b"\xff" * 8, "bad user or group id -1"),
        (116, b"\x80\0\0\0\xff\xff\xff\xff", "bad user or group id 4294967295"),
        (124, b"\xff" * 12, "negative size -1"),
        (100, b"rw-r--r-", "bad number"),
    ],
)
def test_a_field_that_can_not_be_is_told(at, field, message):
    with pytest.raises(ValueError, match=message):
        parse_header(changed(member("name")[:512], at, field))


def test_a_device_beyond_the_kernels_numbers_is_told():
    block = changed(member("a", kind=tarfile.CHRTYPE)[:512], 329, b"7777777\0")
    with pytest.raises(ValueError, match="no such device: 2097151, 0"):
        parse_header(block)


@pytest.mark.parametrize("at", [0, 99, 124, 148, 257, 511])
def test_a_flipped_bit_breaks_the_checksum(at):
    block = bytearray(member("name")[:512])
    block[at] ^= 1
    with pytest.raises(ValueError, match="not a tar archive: bad header checksum"):
        parse_header(bytes(block))


def test_a_checksum_of_signed_bytes_is_taken_as_well():
    block = member("ünïcode", form=tarfile.GNU_FORMAT)[:512]
    blank = block[:148] + b" " * 8 + block[156:]
    total = sum(byte - 256 if byte > 127 else byte for byte in blank)
    assert total != sum(blank)
    assert parse_header(block[:148] + b"%06o\0 " % total + block[156:]).name == "ünïcode".encode()


def test_times_stay_in_the_kernels_range():
    assert timestamp(-1) == -1
    assert timestamp(10**40) == 2**34 * 10**9
    assert timestamp(-(10**40)) == -(2**34) * 10**9


def test_a_name_in_a_message_can_not_move_the_cursor():
    assert shown(b"plain/name") == "plain/name"
    assert shown("ünï".encode()) == "ünï"
    assert shown(b"\x1b[2J\xff") == r"'\x1b[2J\\xff'"
    assert len(shown(b"x" * 10_000)) == 256
