"""One SOCK_SEQPACKET connection to a launcher process, on trio (the wire is told in ``trioker.launcher``)."""

import array
import os
import socket
from collections.abc import Mapping
from typing import NamedTuple, Self

import trio

from trioker.launcher import wire
from trioker.launcher.wire import Message, Output

_ANCILLARY = socket.CMSG_SPACE(8 * 4)


class Event(NamedTuple):
    """A JSON packet; descriptors that came with it are under their names, and are the receiver's to close."""

    fields: Message
    fds: dict[str, int]


async def send(sock: trio.socket.SocketType, message: Message, fds: Mapping[str, int] | None = None) -> None:
    """Send one JSON packet. Raises OSError when the other side is gone."""
    fds = fds or {}
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds.values()))] if fds else []
    await sock.sendmsg([wire.encode(message, tuple(fds))], rights)


class Channel:
    """Packets in both directions. ``receive`` returns None at the end: the other side is gone."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = trio.socket.from_stdlib_socket(sock)

    @classmethod
    def pair(cls) -> tuple[Self, socket.socket]:
        """A channel, and the socket for the process at its other end."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), theirs

    @classmethod
    async def connect(cls, directory: str, name: str) -> Self:
        """Connect to a socket file. Raises OSError when nobody listens."""
        # A socket address holds 107 bytes and exec roots may be deep: reach the file through a descriptor of its directory.
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            channel = cls(sock)
            await channel._socket.connect(f"/proc/self/fd/{fd}/{name}")
        except BaseException:
            sock.close()
            raise
        finally:
            os.close(fd)
        return channel

    async def send(self, message: Message) -> None:
        """Send one JSON packet. Raises OSError when the other side is gone."""
        await send(self._socket, message)

    async def receive(self) -> Event | Output | None:
        """The next packet, or None at the end."""
        try:
            packet, ancillary, flags, _ = await self._socket.recvmsg(
                wire.MAX_PACKET, _ANCILLARY, socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionError:
            return None
        if not packet:
            return None
        fds = wire.descriptors(ancillary)
        if flags & (socket.MSG_CTRUNC | socket.MSG_TRUNC):
            for fd in fds:
                os.close(fd)
            raise OSError("a packet from the launcher was cut: the open-files limit is reached")
        if packet[0] in b"12":
            return wire.decode_output(packet)
        return Event(*wire.Packet(packet, fds).decode())

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
