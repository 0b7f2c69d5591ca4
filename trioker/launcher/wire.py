"""The packets between daemon, zygote and monitor (the table is in ``launcher/__init__.py``), and the sockets that carry them."""

import _socket
import json
import os
import select
import socket
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

PIECE = 64 * 1024
"""Most bytes of output in one packet: what a pipe holds by default."""

MAX_PACKET = PIECE + 1024
"""Output with its head; JSON is kept far below (``MAX_TEXT``)."""

MAX_TEXT = 8 * 1024
"""Most characters of a message in a packet: an error may quote what a container says."""

# Plain numbers and plain sockets: those of the socket module are wrapped in enums and classes, and each wrapper is some pages of memory that
# a process touches, which in a monitor stay its own for as long as its container runs.
_RIGHTS = (int(socket.SOL_SOCKET), int(socket.SCM_RIGHTS))
_CUT_OFF = int(socket.MSG_TRUNC | socket.MSG_CTRUNC)
_UNIX, _SEQPACKET = int(socket.AF_UNIX), int(socket.SOCK_SEQPACKET)
DONTWAIT = int(socket.MSG_DONTWAIT)
ROOM = (MAX_PACKET, socket.CMSG_SPACE(8 * 4), int(socket.MSG_CMSG_CLOEXEC))
"""The arguments of ``recvmsg`` for any packet."""
_OUTPUT = struct.Struct(">cQ")
_JSON = b"J"
_STREAMS = (b"1", b"2")


class BadPacket(Exception):
    """The peer sent what the protocol does not know."""


class Output(NamedTuple):
    """A piece of a container's output and the log position behind it."""

    stream: int
    position: int
    data: bytes


Message = dict[str, Any]
Ancillary = list[tuple[int, int, bytes]]
Socket = _socket.socket
"""The base class of ``socket.socket``."""


def pair() -> tuple[Socket, Socket]:
    """Two connected sockets."""
    return _socket.socketpair(_UNIX, _SEQPACKET)


def adopt(fd: int) -> Socket:
    """The socket behind a descriptor."""
    return Socket(_UNIX, _SEQPACKET, 0, fd)


def polled(sock: Socket, events: int, milliseconds: int = 0) -> bool:
    """Whether one of ``events`` (POLLIN), or the peer's hanging up, was there within that time."""
    poll = select.poll()
    poll.register(sock, events)
    return bool(poll.poll(milliseconds))


def encode(message: Message, fds: tuple[str, ...] = ()) -> bytes:
    """A J packet; ``fds`` names the descriptors that go beside it."""
    if fds:
        message = {**message, "fds": fds}
    return _JSON + json.dumps(message).encode()


def output_head(stream: int, position: int) -> bytes:
    """What goes before the bytes in an output packet."""
    return _OUTPUT.pack(_STREAMS[stream - 1], position)


def decode_output(packet: bytes) -> Output:
    """What a packet of output holds."""
    return Output(int(packet[:1]), _OUTPUT.unpack_from(packet)[1], packet[_OUTPUT.size :])


def decode(packet: bytes) -> Message | Output:
    """What a packet says. Raises BadPacket."""
    tag = packet[:1]
    if tag in _STREAMS and len(packet) >= _OUTPUT.size:
        return decode_output(packet)
    if tag != _JSON:
        raise BadPacket(f"unknown packet {packet[:16]!r}")
    try:
        message = json.loads(packet[1:])
    except ValueError as error:
        raise BadPacket(f"no JSON: {error}") from error
    if not isinstance(message, dict):
        raise BadPacket(f"no JSON object: {packet[:16]!r}")
    return message


def send(sock: Socket, message: Message, fds: Mapping[str, int] | None = None) -> None:
    """Send a J packet with descriptors. Raises OSError (BlockingIOError on a full, non-blocking socket)."""
    fds = fds or {}
    send_packet(sock, encode(message, tuple(fds)), tuple(fds.values()))


def send_packet(sock: Socket, data: bytes, fds: tuple[int, ...]) -> None:
    """Send a packet with descriptors. Raises OSError."""
    sock.sendmsg([data], [(*_RIGHTS, struct.pack(f"{len(fds)}i", *fds))] if fds else [])


class Packet(NamedTuple):
    """A packet as it came."""

    data: bytes
    fds: tuple[int, ...]

    def decode(self) -> tuple[Message, dict[str, int]]:
        """What it says, and its descriptors by name. Raises BadPacket, with all descriptors closed."""
        try:
            message = decode(self.data)
            if isinstance(message, Output):
                raise BadPacket("output is not expected here")
            return message, _name_fds(message, self.fds)
        except BadPacket:
            _close(self.fds)
            raise


def descriptors(ancillary: Ancillary) -> tuple[int, ...]:
    """The descriptors that came beside a packet."""
    fds: tuple[int, ...] = ()
    for level, kind, rights in ancillary:
        if (level, kind) == _RIGHTS:
            fds += tuple(memoryview(rights[: len(rights) // 4 * 4]).cast("i"))
    return fds


def receive_packet(sock: Socket) -> Packet:
    """The next packet, without a look into it; its data is empty at the end. Raises BadPacket for one that was cut off, OSError."""
    data, ancillary, flags, _ = _recvmsg(sock)
    fds = descriptors(ancillary)
    if flags & _CUT_OFF:
        _close(fds)
        raise BadPacket("a packet or its descriptors were cut off")
    return Packet(data, fds)


def receive(sock: Socket) -> tuple[Message, dict[str, int]] | None:
    """The next J packet with its descriptors; None at the end. Raises BadPacket (also for output, which goes only to daemons), OSError."""
    packet = receive_packet(sock)
    return packet.decode() if packet.data else None


def _name_fds(message: Message, fds: tuple[int, ...]) -> dict[str, int]:
    names = message.pop("fds", [])
    if not isinstance(names, list) or len(names) != len(fds):
        raise BadPacket(f"{len(fds)} descriptors came with the names {names!r}")
    return dict(zip(names, fds, strict=True))


def _close(fds: tuple[int, ...]) -> None:
    for fd in fds:
        os.close(fd)


def _recvmsg(sock: Socket) -> tuple[bytes, list[tuple[int, int, bytes]], int, object]:
    try:
        return sock.recvmsg(*ROOM)
    except ConnectionResetError:
        # The peer closed with packets of ours unread. The kernel tells that once, and before the peer's last words, which are still there.
        return sock.recvmsg(*ROOM)


def read_spec(fd: int) -> Message:
    """The JSON in a memfd, wherever its offset stands (several processes share it). Raises ValueError, OSError."""
    return dict(json.loads(os.pread(fd, os.fstat(fd).st_size, 0)))
