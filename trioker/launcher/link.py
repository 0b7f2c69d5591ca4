"""The monitor's line to the daemon: at most one, never waited for longer than ten seconds, and none is fine too."""

import os
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress

from trioker.launcher import wire
from trioker.launcher.wire import Message, Packet

PATIENCE = 10.0
"""Seconds a daemon may take no packet before it is cut off: long beside any pause of a living one, short for a container that waits."""

_UCRED = struct.Struct("3i")  # struct ucred: pid, uid, gid


class Link:
    """The connection to the daemon that came last. What it does not take yet waits here; the caller stops producing while ``blocked``."""

    def __init__(self, sock: wire.Socket) -> None:
        self.attached = False
        """Whether it wants output."""
        self._queue: deque[Packet] = deque()
        self._deadline = 0.0
        self._sock: wire.Socket | None = sock
        sock.setblocking(False)

    @property
    def fd(self) -> int:
        """To be polled; -1 without a daemon."""
        return -1 if self._sock is None else self._sock.fileno()

    @property
    def blocked(self) -> bool:
        """Whether packets wait for the daemon."""
        return bool(self._queue)

    @property
    def patience(self) -> float | None:
        """Seconds until ``flush`` would cut the daemon off; None where it owes us nothing."""
        return max(0.0, self._deadline - time.monotonic()) if self._queue else None

    def replace(self, sock: wire.Socket) -> None:
        """Serve a new daemon, which has asked for nothing yet; the old one is hung up on."""
        self.close()
        sock.setblocking(False)
        self._sock = sock

    def close(self) -> None:
        """Hang up."""
        if self._sock is not None:
            _close_politely(self._sock)
        self._sock, self.attached = None, False
        self._queue.clear()

    def send(self, message: Message, fds: Mapping[str, int] | None = None) -> None:
        """Send a J packet; the descriptors must stay open until it has gone."""
        fds = fds or {}
        self._put(Packet(wire.encode(message, tuple(fds)), tuple(fds.values())))

    def send_output(self, stream: int, position: int, data: bytes) -> None:
        """Send a piece of output, if it is wanted."""
        if self.attached:
            self._put(Packet(wire.output_head(stream, position) + data, ()))

    def receive(self) -> Message | None:
        """What the daemon asks for, None for nothing. One that hung up or talks nonsense is hung up on."""
        if self._sock is None:
            return None
        try:
            received = wire.receive(self._sock)
        except BlockingIOError:
            return None
        except (OSError, wire.BadPacket):
            received = None
        if received is None:
            self.close()
            return None
        message, fds = received
        for fd in fds.values():
            os.close(fd)
        return message

    def flush(self) -> None:
        """Send what waits, as far as the daemon takes it; past its time it is hung up on."""
        while self._queue and self._try(self._queue[0]):
            self._deadline = time.monotonic() + PATIENCE
            if self._queue:  # a hang-up has emptied it
                self._queue.popleft()
        if self._queue and time.monotonic() >= self._deadline:
            self.close()

    def drain(self) -> None:
        """Wait until all has been sent, or the daemon is cut off."""
        while self._queue:
            poll = select.poll()
            poll.register(self.fd, select.POLLOUT)
            poll.poll((self.patience or 0) * 1000)
            self.flush()

    def _put(self, packet: Packet) -> None:
        if self._sock is None:
            return
        if self._queue or not self._try(packet):
            if not self._queue:
                self._deadline = time.monotonic() + PATIENCE
            self._queue.append(packet)

    def _try(self, packet: Packet) -> bool:
        """Whether the packet is off our hands: taken, or without anybody to take it."""
        if self._sock is None:
            return True
        try:
            wire.send_packet(self._sock, packet.data, packet.fds)
        except BlockingIOError:
            return False
        except OSError:  # the daemon is gone
            self.close()
        return True


def _close_politely(sock: wire.Socket) -> None:
    """Close with nothing unread: else the daemon would get ECONNRESET before what we sent it last (net/unix/af_unix.c)."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RD)
        while sock.recv(wire.MAX_PACKET):
            pass
    sock.close()


def listen(path: str) -> socket.socket:
    """A listening socket at ``path`` for daemons to come."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    listener.bind(path)
    listener.listen(4)
    return listener


def accept(listener: socket.socket) -> socket.socket | None:
    """The next connection of a process of our own user; None where there is none (others are hung up on)."""
    try:
        sock, _ = listener.accept()
    except OSError:
        return None
    _, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    if uid == os.geteuid():
        return sock
    sock.close()
    return None
