"""Notice when somebody else changes our table of packet rules: ``nft flush ruleset`` does, and so does the reload of many a firewall."""

import errno
import socket
from collections.abc import Awaitable, Callable

import trio

from trioker.linux import netlink
from trioker.network import nftables as nft

_GROUP = 1 << (7 - 1)  # NFNLGRP_NFTABLES as a bit (linux/netfilter/nfnetlink.h)
_RECEIVE = 65536  # bytes
_SETTLED_AFTER = 0.1  # seconds; who takes all rules away may be loading others in the same breath


def listen() -> socket.socket:
    """Hears of every change of rules in this network namespace. Raises OSError."""
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    sock = socket.socket(socket.AF_NETLINK, kind, netlink.NETFILTER)
    sock.bind((0, _GROUP))
    return sock


async def watch(sock: socket.socket, table: str, own: int, mend: Callable[[], Awaitable[None]]) -> None:
    """Call ``mend`` after each change of the table that does not come from the netlink port ``own``; until cancelled."""
    while True:
        await trio.lowlevel.wait_readable(sock)
        if _touched(sock, table, own):
            await trio.sleep(_SETTLED_AFTER)
            _touched(sock, table, own)  # mended together
            await mend()


def _touched(sock: socket.socket, table: str, own: int) -> bool:
    """Whether what has been heard by now concerns the table. What was too much to be heard may have."""
    touched = False
    try:
        while True:
            heard = netlink.announced(sock.recv(_RECEIVE))
            touched |= any(port != own and nft.table_of(message) == table for port, message in heard)
    except BlockingIOError:
        return touched
    except OSError as error:
        if error.errno != errno.ENOBUFS:
            raise
        return True
