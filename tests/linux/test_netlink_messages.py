import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioker.linux import netlink
from trioker.linux.netlink import Message


def test_an_attribute_is_padded_and_tells_its_length_without_the_padding():
    assert netlink.attribute(3, b"abc") == struct.pack("=HH", 7, 3) + b"abc\0"
    assert netlink.text(3, "eth0") == struct.pack("=HH", 9, 3) + b"eth0\0\0\0\0"
    assert netlink.be32(2, -100) == struct.pack("=HH", 8, 2) + b"\xff\xff\xff\x9c"


def test_an_attribute_too_long_for_its_length_is_refused():
    with pytest.raises(ValueError, match="65536 bytes"):
        netlink.attribute(1, bytes(65532))


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=50))))
def test_what_was_written_is_read_again(pairs):
    data = b"".join(netlink.attribute(kind, value) for kind, value in pairs)
    assert list(netlink.each_attribute(data)) == pairs


@given(st.binary())
def test_no_bytes_upset_the_reader(data):
    list(netlink.each_attribute(data))
    list(netlink.decode(data))


def test_attributes_inside_one_are_found():
    data = netlink.nested(18, netlink.text(1, "veth"), netlink.u32(2, 7))
    inside = netlink.attributes(netlink.attributes(data)[18])
    assert netlink.string(inside[1]) == "veth"
    assert netlink.number(inside[2]) == 7


def test_messages_come_out_as_they_went_in():
    first, second = Message(16, 4, b"abcde"), Message(20, 0, b"")
    data = netlink.encode(first, 1) + netlink.encode(second, 2)
    assert len(data) % 4 == 0
    requested = [(1, first._replace(flags=4 | netlink.REQUEST)), (2, second._replace(flags=netlink.REQUEST))]
    assert list(netlink.decode(data)) == requested


def test_an_agreement_is_no_refusal():
    assert netlink.refusal(Message(2, 0, struct.pack("=i", 0) + bytes(16))) is None


def test_a_refusal_has_the_kernels_number_and_words():
    body = struct.pack("=i", -17) + bytes(16) + netlink.text(1, "already there")
    error = netlink.refusal(Message(2, 0x300, body))
    assert isinstance(error, FileExistsError)
    assert "already there" in str(error)


def test_a_refusal_without_words_has_the_usual_ones():
    assert "File exists" in str(netlink.refusal(Message(2, 0x100, struct.pack("=i", -17) + bytes(16))))


def test_the_kernel_is_asked_without_any_rights():
    with netlink.Netlink(netlink.ROUTE) as sock:
        found = sock.dump(Message(18, 0, bytes(16)))
        assert {each.kind for each in found} == {16}
        with pytest.raises(OSError, match=r"No such device|not permitted"):
            sock.request(Message(17, 0, struct.pack("=BxHiII", 0, 0, 2**30, 0, 0)))
        assert sock.dump(Message(18, 0, bytes(16))), "the refusal was read to its end"
