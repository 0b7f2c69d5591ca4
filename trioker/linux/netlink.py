"""Netlink: messages as bytes, and a socket that sends them and waits for what the kernel says.

All of it is the standard library and needs no thread, so it costs nothing at start. Sources: netlink(7), rtnetlink(7),
Documentation/userspace-api/netlink/intro.rst and the kernel's uapi headers; integers are in host order unless a name says ``be``.
"""

import errno
import itertools
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

ROUTE = socket.NETLINK_ROUTE
NETFILTER = 12  # NETLINK_NETFILTER

# linux/netlink.h
REQUEST, ACK = 0x1, 0x4
DUMP = 0x300
REPLACE, EXCL, CREATE, APPEND = 0x100, 0x200, 0x400, 0x800
_NOOP, _ERROR, _DONE = 1, 2, 3
_ACK_TLVS = 0x200
_ATTRIBUTE_MESSAGE = 1  # NLMSGERR_ATTR_MSG
_NESTED, _TYPE_MASK = 0x8000, 0x3FFF
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_DUMP_INTERRUPTED = 0x10

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length with this header, type
_RECEIVE = 65536  # bytes; the kernel puts at most 32 KiB into one part of a dump
_SEND_BUFFER = 4 * 2**20  # bytes; a message of the socket's default, 200 KiB, holds too few map elements
_REPLY_WITHIN = 20.0  # seconds; the kernel answers while it takes the request, but may first wait for its lock
_DUMP_TRIES = 5


class Message(NamedTuple):
    """A request, without its sequence number, or one received."""

    kind: int
    flags: int
    body: bytes


class Attribute(NamedTuple):
    """One attribute of a message received."""

    kind: int
    value: bytes


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes. Raises ValueError where it is longer than a length of 16 bits tells."""
    length = _ATTRIBUTE.size + len(value)
    if length > 0xFFFF:
        raise ValueError(f"a netlink attribute of {length} bytes")
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """Attributes inside one."""
    return attribute(kind | _NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """A string that ends in a zero byte."""
    return attribute(kind, os.fsencode(value) + b"\0")


def u8(kind: int, value: int) -> bytes:
    """One byte."""
    return attribute(kind, struct.pack("=B", value))


def u32(kind: int, value: int) -> bytes:
    """32 bits."""
    return attribute(kind, struct.pack("=I", value))


def be32(kind: int, value: int) -> bytes:
    """32 bits in network order, as all numbers of nf_tables; negative ones as two's complement."""
    return attribute(kind, struct.pack(">I", value & 0xFFFFFFFF))


def attributes(data: bytes) -> dict[int, bytes]:
    """Attributes by kind, the last of each."""
    return dict(each_attribute(data))


def each_attribute(data: bytes) -> Iterator[Attribute]:
    """All attributes in order; a broken rest is left out."""
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size or at + length > len(data):
            return
        yield Attribute(kind & _TYPE_MASK, data[at + _ATTRIBUTE.size : at + length])
        at += length + -length % 4


def string(value: bytes) -> str:
    """The text of a string attribute."""
    return os.fsdecode(value.partition(b"\0")[0])


def number(value: bytes) -> int:
    """An integer in host order, of whatever width."""
    return int.from_bytes(value, "little" if struct.pack("=H", 1)[0] else "big")


def encode(message: Message, sequence: int) -> bytes:
    """The message as it is sent."""
    length = _HEADER.size + len(message.body)
    header = _HEADER.pack(length, message.kind, message.flags | REQUEST, sequence, 0)
    return header + message.body + bytes(-length % 4)


def decode(data: bytes) -> Iterator[tuple[int, Message]]:
    """Each message of a datagram with its sequence number."""
    return ((sequence, message) for sequence, _, message in _decode(data))


def announced(data: bytes) -> Iterator[tuple[int, Message]]:
    """Each message of a datagram to a multicast group, with the port of who did what it tells."""
    return ((port, message) for _, port, message in _decode(data))


def _decode(data: bytes) -> Iterator[tuple[int, int, Message]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, sequence, port = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        yield sequence, port, Message(kind, flags, data[at + _HEADER.size : at + length])
        at += length + -length % 4


def refusal(message: Message) -> OSError | None:
    """What the kernel refused, in its own words where it has some; None where it agreed."""
    code = -int(struct.unpack_from("=i", message.body)[0])
    if not code:
        return None
    tail = message.body[4 + _HEADER.size :] if message.flags & _ACK_TLVS else b""
    words = string(attributes(tail).get(_ATTRIBUTE_MESSAGE, b""))
    return OSError(code, f"{os.strerror(code)}: {words}" if words else os.strerror(code))


class Netlink:
    """A netlink socket of the network namespace it was made in, wherever it is used later. One thread at a time."""

    def __init__(self, protocol: int) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, protocol)
        self._socket.settimeout(_REPLY_WITHIN)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)  # a refusal does not repeat the request
        self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._socket.bind((0, 0))
        self._sequences = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    @property
    def port(self) -> int:
        """What the kernel calls this socket."""
        return int(self._socket.getsockname()[0])

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def request(self, *messages: Message) -> None:
        """Have them done, one after another, in one go. Raises OSError with the first refusal; what comes behind it is tried all the same."""
        waiting = self._send([each._replace(flags=each.flags | ACK) for each in messages])
        self._finish(waiting)

    def commit(self, messages: Sequence[Message]) -> None:
        """Have a batch done that the kernel takes as a whole. Raises OSError with the first refusal; then nothing is changed.

        The kernel answers each message that is at fault, and the marked one when all is done.
        """
        marked = [*messages[:-2], messages[-2]._replace(flags=messages[-2].flags | ACK), messages[-1]]
        sequences = self._send(marked)
        while True:
            for sequence, message in self._receive():
                if sequence in sequences and message.kind == _ERROR:
                    if error := refusal(message):
                        self._drain()
                        raise error
                    return

    def dump(self, message: Message) -> list[Message]:
        """All that a request for a list gives; asked again where the list changed meanwhile."""
        for _ in range(_DUMP_TRIES):
            [sequence] = self._send([message._replace(flags=message.flags | DUMP)])
            found = list(self._collect(sequence))
            if not any(each.flags & _DUMP_INTERRUPTED for each in found):
                break
        return found

    def ask(self, message: Message) -> Message:
        """What a request for one thing gives. Raises OSError."""
        [sequence] = self._send([message])
        while True:
            for number, answer in self._receive():
                if number == sequence:
                    if answer.kind == _ERROR:
                        raise refusal(answer) or OSError(errno.EPROTO, "the kernel sent no answer")
                    return answer

    def _send(self, messages: Sequence[Message]) -> set[int]:
        numbered = [(next(self._sequences) & 0xFFFFFFFF, each) for each in messages]
        self._socket.send(b"".join(encode(each, sequence) for sequence, each in numbered))
        return {sequence for sequence, _ in numbered}

    def _receive(self) -> Iterator[tuple[int, Message]]:
        return decode(self._socket.recv(_RECEIVE))

    def _finish(self, waiting: set[int]) -> None:
        failure: OSError | None = None
        while waiting:
            for sequence, message in self._receive():
                if sequence in waiting and message.kind == _ERROR:
                    waiting.remove(sequence)
                    failure = failure or refusal(message)
        if failure:
            raise failure

    def _collect(self, wanted: int) -> Iterator[Message]:
        while True:
            for sequence, message in self._receive():
                if sequence != wanted or message.kind == _NOOP:
                    continue
                if message.kind == _ERROR:
                    raise refusal(message) or OSError(errno.EPROTO, "the kernel sent no list")
                if message.kind == _DONE:
                    if len(message.body) >= 4 and (error := refusal(message)):
                        raise error
                    return
                yield message

    def _drain(self) -> None:
        """Throw away the answers to the rest of a refused batch."""
        self._socket.setblocking(False)
        try:
            while self._socket.recv(_RECEIVE):
                pass
        except BlockingIOError:
            pass
        finally:
            self._socket.settimeout(_REPLY_WITHIN)
