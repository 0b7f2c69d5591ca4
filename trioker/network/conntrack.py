"""The kernel's memory of connections, as far as it must be corrected (linux/netfilter/nfnetlink_conntrack.h).

Rules of address translation see only the first packet of a connection. With UDP a connection is whatever goes between two ports, so one that
a client never stops using would go on to where a port led before: to nobody, or to a container that is gone.
"""

import errno
import struct
from collections.abc import Container

from trioker.linux import netlink
from trioker.linux.netlink import Message, Netlink, attributes, nested, u8, u32

_SUBSYSTEM = 1
_GET, _DELETE = 1, 2
_GENMSG = struct.Struct(">BBH")  # struct nfgenmsg: family, version, resource
_IPV4, _UDP = 2, 17
_TUPLE_ORIG, _ID, _FILTER = 1, 12, 25
_TUPLE_PROTO, _PROTO_NUMBER, _DESTINATION_PORT = 2, 1, 3
_ORIG_FLAGS, _REPLY_FLAGS = 1, 2
_BY_PROTOCOL = 1 << 3
_NESTED = 0x8000


def forget_datagrams(ports: Container[int]) -> None:
    """Forget what goes by UDP to one of these ports, whoever has had it. Raises OSError.

    The kernel looks through all it knows, which takes 10 ms and more: nothing should wait for this.
    """
    with Netlink(netlink.NETFILTER) as sock:
        for each in _datagrams(sock):
            if _port(each[_TUPLE_ORIG]) in ports:
                _forget(sock, each)


def _datagrams(sock: Netlink) -> list[dict[int, bytes]]:
    udp = nested(_TUPLE_ORIG, nested(_TUPLE_PROTO, u8(_PROTO_NUMBER, _UDP)))
    only = nested(_FILTER, u32(_ORIG_FLAGS, _BY_PROTOCOL), u32(_REPLY_FLAGS, 0))
    request = Message(_SUBSYSTEM << 8 | _GET, 0, _GENMSG.pack(_IPV4, 0, 0) + udp + only)
    return [attributes(each.body[_GENMSG.size :]) for each in sock.dump(request)]


def _port(direction: bytes) -> int:
    return int.from_bytes(attributes(attributes(direction)[_TUPLE_PROTO])[_DESTINATION_PORT])


def _forget(sock: Netlink, known: dict[int, bytes]) -> None:
    named = netlink.attribute(_TUPLE_ORIG | _NESTED, known[_TUPLE_ORIG]) + netlink.attribute(_ID, known[_ID])
    try:
        sock.request(Message(_SUBSYSTEM << 8 | _DELETE, 0, _GENMSG.pack(_IPV4, 0, 0) + named))
    except OSError as error:
        if error.errno != errno.ENOENT:  # ended meanwhile
            raise
