"""The packets of the launcher and the sockets that carry them."""

import os
import socket
import struct

import pytest

from trioker.launcher import wire


@pytest.fixture
def pair():
    ours, theirs = wire.pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_a_message_arrives_with_its_descriptors_by_name(pair):
    ours, theirs = pair
    reader, writer = os.pipe()
    wire.send(ours, {"event": "started", "pid": 4711}, {"stdin": writer, "other": reader})
    message, fds = wire.receive(theirs)
    assert message == {"event": "started", "pid": 4711}
    os.write(fds["stdin"], b"through")
    assert os.read(fds["other"], 10) == b"through"
    assert not any(os.get_inheritable(fd) for fd in fds.values())
    for fd in (reader, writer, *fds.values()):
        os.close(fd)


def test_the_end_is_no_message(pair):
    ours, theirs = pair
    ours.close()
    assert wire.receive(theirs) is None


def test_last_words_are_heard_although_the_peer_did_not_listen(pair):
    """The kernel reports ECONNRESET before what a peer sent that closed with unread packets."""
    ours, theirs = pair
    wire.send(theirs, {"op": "unread"})
    wire.send(ours, {"event": "failed"})
    ours.close()
    assert wire.receive(theirs) == ({"event": "failed"}, {})
    assert wire.receive(theirs) is None


def test_output_carries_its_stream_position_and_bytes():
    packet = wire.output_head(2, 2**40) + b"J\0data"
    assert wire.decode(packet) == wire.Output(2, 2**40, b"J\0data")


@pytest.mark.parametrize("packet", [b"", b"1short", b"X{}", b"J", b"J[1]", b"J{", b'J"x"', b"J\xff"])
def test_nonsense_is_a_bad_packet(packet):
    with pytest.raises(wire.BadPacket):
        wire.decode(packet)


def test_output_where_only_messages_are_expected_is_a_bad_packet(pair):
    ours, theirs = pair
    ours.send(wire.output_head(1, 0) + b"text")
    with pytest.raises(wire.BadPacket):
        wire.receive(theirs)


def send_with(sock, data, count):
    null = [os.open("/dev/null", os.O_RDONLY) for _ in range(count)]
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{count}i", *null))])
    for fd in null:
        os.close(fd)


@pytest.mark.parametrize(
    ("data", "count"),
    [(b'J{"fds": ["one"]}', 2), (b"J{}", 1), (b'J{"fds": "x"}', 1), (b"rubbish", 3), (b'J{"fds": []}', 20)],
)
def test_descriptors_of_a_bad_packet_are_closed(pair, data, count):
    ours, theirs = pair
    before = set(os.listdir("/proc/self/fd"))
    send_with(ours, data, count)
    with pytest.raises(wire.BadPacket):
        wire.receive(theirs)
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_packet_too_long_is_a_bad_packet(pair):
    ours, theirs = pair
    ours.send(b"J" + b" " * wire.MAX_PACKET)
    with pytest.raises(wire.BadPacket):
        wire.receive(theirs)


def test_a_spec_is_read_from_its_beginning_however_often():
    fd = os.memfd_create("spec")
    os.write(fd, b'{"id": "x"}')
    assert wire.read_spec(fd) == wire.read_spec(fd) == {"id": "x"}
    os.close(fd)
