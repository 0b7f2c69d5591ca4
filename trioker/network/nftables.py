"""The messages of nf_tables, as far as trioker's own table needs them (linux/netfilter/nf_tables.h; ``nft --debug=netlink`` shows the same).

A rule is a row of expressions that load registers, compare them, and end in a verdict; registers hold four bytes each. Numbers of messages are
in network order, what is in registers is as the kernel's own structures have it.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from trioker.linux import netlink
from trioker.linux.netlink import Message, Netlink, be32, nested, text

# linux/netfilter.h
INET, IPV4, IPV6 = 1, 2, 10
PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = 0, 1, 2, 3, 4
RAW, DSTNAT, FILTER, SRCNAT = -300, -100, 0, 100
DROP, ACCEPT = 0, 1

_SUBSYSTEM = 10
_BATCH_BEGIN, _BATCH_END = 16, 17
_NEWTABLE, _DELTABLE, _NEWCHAIN, _GETCHAIN, _NEWRULE = 0, 2, 3, 4, 6
_NEWSET, _NEWELEM, _DELELEM = 9, 12, 14
_GENMSG = struct.Struct(">BBH")  # struct nfgenmsg: family, version, resource
_LIST_ELEM = 1
_VALUE, _VERDICT, _VERDICT_CODE = 1, 2, 1
_VERDICT_REGISTER = 0
FIRST = 8
"""Register NFT_REG32_00; the others follow."""
_MAP = 0x8
_ELEMENTS_AT_ONCE = 500
"""Of about 70 bytes each: a list is one attribute, of at most 65,535 bytes."""


class Kind(NamedTuple):
    """A type of keys or values of a set: its number (nft's own, for its listings) and its bytes in registers."""

    number: int
    size: int

    def and_then(self, other: "Kind") -> "Kind":
        """The concatenation of both."""
        return Kind(self.number << 6 | other.number, self.size + other.size)


PROTOCOL, ADDRESS4, ADDRESS6, PORT = Kind(12, 4), Kind(7, 4), Kind(8, 16), Kind(13, 4)
"""As parts of a concatenation, where each is padded to whole registers."""
SINGLE_PORT = Kind(13, 2)


class Chain(NamedTuple):
    """A base chain with its rules, each a row of expressions."""

    name: str
    kind: str
    """``filter`` or ``nat``."""
    hook: int
    priority: int
    rules: Sequence[bytes]


class Set(NamedTuple):
    """A set, or with ``value`` a map."""

    name: str
    key: Kind
    value: Kind | None = None


class Element(NamedTuple):
    """One element of a set or map, as registers hold it."""

    key: bytes
    value: bytes | None = None


class Base(NamedTuple):
    """A base chain somebody has."""

    family: int
    table: str
    chain: str
    hook: int
    policy: int


def rule(*expressions: bytes) -> bytes:
    """A row of expressions."""
    return b"".join(expressions)


def interface_in(name: str, *, same: bool = True) -> bytes:
    """The link a packet came from has this name (or not)."""
    return _meta(6) + _compare(name.encode().ljust(16, b"\0"), same=same)


def interface_out(name: str, *, same: bool = True) -> bytes:
    """The link a packet goes to has this name (or not)."""
    return _meta(7) + _compare(name.encode().ljust(16, b"\0"), same=same)


def family(number: int) -> bytes:
    """It is IPv4, or IPv6."""
    return _meta(15) + _compare(bytes([number]))


def tcp() -> bytes:
    """It is TCP."""
    return _meta(16) + _compare(b"\6")


def source(network: bytes, prefix: int, *, same: bool = True) -> bytes:
    """Where it comes from is in a network (or not), whose address is as long as the family's that was asked for before."""
    return _address(12 if len(network) == 4 else 8, network, prefix, same=same)


def destination(network: bytes, prefix: int, *, same: bool = True) -> bytes:
    """Where it goes is in a network (or not)."""
    return _address(16 if len(network) == 4 else 24, network, prefix, same=same)


def to_this_host() -> bytes:
    """Where it goes is an address of this host."""
    lookup = _expression("fib", be32(1, FIRST), be32(2, 3), be32(3, 2))  # the type of the destination's address
    return lookup + _compare(struct.pack("=I", 2))  # RTN_LOCAL


def redirected() -> bytes:
    """The connection's destination was changed (IPS_DST_NAT)."""
    return _tracking(2, 1 << 5)


def answered() -> bytes:
    """It belongs to a connection that both sides know (established), or to one such (related)."""
    return _tracking(0, 1 << 1 | 1 << 2)


def port_in(name: str) -> bytes:
    """The destination's port is in a set."""
    return _payload(2, 2, 2, FIRST) + _expression("lookup", text(1, name), be32(2, FIRST))


def redirect(version: int, name: str, *, by_address: bool) -> bytes:
    """Send it where a map of protocol, address (or not) and port says; go on behind the rule where that says nothing."""
    wide = 1 if version == IPV4 else 4
    loads = _meta(16)
    following = FIRST + 1
    if by_address:
        loads += _payload(1, *((16, 4) if version == IPV4 else (24, 16)), following)
        following += wide
    loads += _payload(2, 2, 2, following)
    found = _expression("lookup", text(1, name), be32(2, FIRST), be32(3, FIRST))
    change = _expression("nat", be32(1, 1), be32(2, version), be32(3, FIRST), be32(5, FIRST + wide))
    return loads + found + change


def masquerade() -> bytes:
    """Let it come from the address of the link it leaves by."""
    return _expression("masq")


def verdict(code: int) -> bytes:
    """DROP or ACCEPT."""
    data = nested(2, nested(_VERDICT, be32(_VERDICT_CODE, code)))
    return _expression("immediate", be32(1, _VERDICT_REGISTER), data)


def add_table(name: str) -> Message:
    """A table for both families; one that exists is fine."""
    return _message(_NEWTABLE, netlink.CREATE, text(1, name))


def delete_table(name: str) -> Message:
    """Delete a table with all it has."""
    return _message(_DELTABLE, 0, text(1, name))


def add_chain(table: str, chain: Chain) -> Iterator[Message]:
    """A chain with its rules, in a table that has no such chain."""
    hook = nested(4, be32(1, chain.hook), be32(2, chain.priority))
    head = text(1, table) + text(3, chain.name) + hook + be32(5, ACCEPT) + text(7, chain.kind)
    yield _message(_NEWCHAIN, netlink.CREATE, head)
    for each in chain.rules:
        body = text(1, table) + text(2, chain.name) + nested(4, each)
        yield _message(_NEWRULE, netlink.CREATE | netlink.APPEND, body)


def add_set(table: str, number: int, made: Set) -> Message:
    """A set or map; ``number`` tells it from the batch's others."""
    body = text(1, table) + text(2, made.name) + be32(3, _MAP if made.value else 0)
    body += be32(4, made.key.number) + be32(5, made.key.size)
    if made.value:
        body += be32(6, made.value.number) + be32(7, made.value.size)
    return _message(_NEWSET, netlink.CREATE, body + be32(10, number))


def add_elements(table: str, name: str, elements: Sequence[Element]) -> Iterator[Message]:
    """Put elements into a set; one that is there alike is fine."""
    return _elements(_NEWELEM, netlink.CREATE, table, name, elements)


def delete_elements(table: str, name: str, elements: Sequence[Element]) -> Iterator[Message]:
    """Take elements out of a set."""
    return _elements(_DELELEM, 0, table, name, elements)


def commit(sock: Netlink, messages: Iterable[Message]) -> None:
    """Do all of it or, raising OSError, nothing; no packet ever sees a part."""
    sock.commit([_batch(_BATCH_BEGIN), *messages, _batch(_BATCH_END)])


def table_of(message: Message) -> str:
    """The table that a message tells of, of the family we use; "" where it tells of none."""
    if message.kind >> 8 != _SUBSYSTEM or message.body[:1] != bytes([INET]):
        return ""
    return netlink.string(netlink.attributes(message.body[_GENMSG.size :]).get(1, b""))


def base_chains(sock: Netlink) -> list[Base]:
    """Everybody's base chains."""
    request = Message(_SUBSYSTEM << 8 | _GETCHAIN, 0, _GENMSG.pack(0, 0, 0))
    found = (_base(each.body) for each in sock.dump(request))
    return [each for each in found if each]


def _base(body: bytes) -> Base | None:
    found = netlink.attributes(body[_GENMSG.size :])
    if 4 not in found:
        return None
    hook = netlink.attributes(found[4])
    number, policy = int.from_bytes(hook[1]), int.from_bytes(found.get(5, b""))
    return Base(body[0], netlink.string(found[1]), netlink.string(found[3]), number, policy)


def _message(kind: int, flags: int, body: bytes) -> Message:
    return Message(_SUBSYSTEM << 8 | kind, flags, _GENMSG.pack(INET, 0, 0) + body)


def _batch(kind: int) -> Message:
    return Message(kind, 0, _GENMSG.pack(0, 0, _SUBSYSTEM))


def _elements(kind: int, flags: int, table: str, name: str, elements: Sequence[Element]) -> Iterator[Message]:
    for at in range(0, len(elements), _ELEMENTS_AT_ONCE):
        some = nested(3, *map(_element, elements[at : at + _ELEMENTS_AT_ONCE]))
        yield _message(kind, flags, text(1, table) + text(2, name) + some)


def _element(element: Element) -> bytes:
    value = b"" if element.value is None else nested(2, netlink.attribute(_VALUE, element.value))
    return nested(_LIST_ELEM, nested(1, netlink.attribute(_VALUE, element.key)), value)


def _expression(name: str, *attributes: bytes) -> bytes:
    return nested(_LIST_ELEM, text(1, name), nested(2, *attributes))


def _meta(key: int) -> bytes:
    return _expression("meta", be32(1, FIRST), be32(2, key))


def _payload(base: int, offset: int, size: int, register: int) -> bytes:
    return _expression("payload", be32(1, register), be32(2, base), be32(3, offset), be32(4, size))


def _compare(data: bytes, *, same: bool = True) -> bytes:
    return _expression("cmp", be32(1, FIRST), be32(2, 0 if same else 1), nested(3, netlink.attribute(_VALUE, data)))


def _masked(mask: bytes) -> bytes:
    nothing = nested(5, netlink.attribute(_VALUE, bytes(len(mask))))
    return _expression(
        "bitwise",
        be32(1, FIRST),
        be32(2, FIRST),
        be32(3, len(mask)),
        nested(4, netlink.attribute(_VALUE, mask)),
        nothing,
    )


def _address(offset: int, network: bytes, prefix: int, *, same: bool) -> bytes:
    size = len(network)
    mask = ((1 << prefix) - 1 << size * 8 - prefix).to_bytes(size)
    return _payload(1, offset, size, FIRST) + _masked(mask) + _compare(network, same=same)


def _tracking(key: int, bits: int) -> bytes:
    load = _expression("ct", be32(1, FIRST), be32(2, key))
    return load + _masked(struct.pack("=I", bits)) + _compare(bytes(4), same=False)
