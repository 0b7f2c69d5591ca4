"""A container's place on the bridge as the daemon sees it: what it is called, and how it is found again and removed.

What makes it is ``launcher.network``, inside the container's namespace.
"""

import errno
import re
import secrets
from ipaddress import IPv4Address

from trioker.launcher.network import Port
from trioker.linux import links
from trioker.linux.links import Link
from trioker.linux.netlink import Netlink

_MADE_BY_TRIOKER = re.compile(r"tk[0-9a-f]{13}")


def mac_of(address: IPv4Address) -> str:
    """The locally administered MAC address that belongs to an IPv4 address: who gets the address again is found by old neighbour entries."""
    return (b"\x02\x42" + address.packed).hex(":")


def link_name(container_id: str) -> str:
    """A new name for the host's end: the last run's may still be there, while the kernel clears its namespace away."""
    return f"veth{container_id[:7]}{secrets.token_hex(2)}"


def link_prefix(store: str) -> str:
    """What the first names of a store's links begin with; eight digits follow."""
    return f"tk{store[:5]:0<5}"


def is_endpoint(link: Link) -> bool:
    """Whether a trioker made it, be it of another store."""
    return link.kind == "veth" and bool(_MADE_BY_TRIOKER.fullmatch(link.name))


def put_on_bridge(host: Netlink, number: int, port: Port) -> None:
    """Put a link that a container has on the bridge as if it were new; one that is gone is no error. Raises OSError."""
    try:
        host.request(
            links.put_on_bridge(number, port.bridge),
            links.set_port(number, isolated=port.isolated, hairpin=port.hairpin),
        )
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise


def remove(host: Netlink, name: str) -> None:
    """Remove a pair; one that is gone is no error. Takes about 25 ms: a namespace that ends takes its links along for nothing."""
    try:
        host.request(links.delete_link(name))
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
