"""What a container has on the network, as values. Addresses are text, so that they are stored and shown as they are."""

import attrs


@attrs.frozen
class PublishedPort:
    """One port of the host that leads into a container."""

    protocol: str
    """``tcp`` or ``udp``."""
    host: str
    """The address of the host it is open on; "" is all of them."""
    public: int
    private: int
    """The container's."""


@attrs.frozen
class Endpoint:
    """A running container's place on the bridge."""

    container: str
    """Its id."""
    bridge: str
    link: str
    """The host's end of the pair whose other end is the container's eth0."""
    mac: str
    """Of eth0."""
    address: str
    prefix: int
    gateway: str
    address6: str = ""
    """"" without IPv6, as the next two."""
    prefix6: int = 0
    gateway6: str = ""
    ports: tuple[PublishedPort, ...] = ()


@attrs.frozen
class Before:
    """A kernel setting as it was before the network changed it."""

    path: str
    """Below /proc/sys/."""
    value: str
    ours: str
    """What it was changed to."""


@attrs.frozen
class NetworkRecord:
    """What is decided once and kept over restarts. It is stored before anything is done by it, so that all of it can be undone."""

    bridge: str
    made: bool
    """Whether the bridge is ours: made by us, to be removed by us."""
    address: str
    """Of the bridge, with the length of its prefix: ``10.213.0.1/16``."""
    address6: str = ""
    """"" without IPv6."""
    mtu: int = 1500
    before: tuple[Before, ...] = ()
    owner: str = ""
    """What is written on the bridge where it is ours."""


@attrs.frozen
class NetworkOptions:
    """What a user asked of the network on the daemon's command line."""

    bridge: str = ""
    """Name; "" for our own; ``none`` for containers that see nobody."""
    address: str = ""
    """``ADDRESS/LENGTH`` of the bridge; "" to find a free range."""
    ipv6: bool = False
    icc: bool = True
    """Whether containers reach each other's ports that are not published."""
    forward: bool = True
    """Whether the kernel is told to forward (``ip_forward``)."""
    firewall: bool = True
    """Whether there is a table of rules; without one, published ports are served by the daemon itself."""
    first_port: int = 49153
    last_port: int = 65535
    """The range that ports are taken from where none is asked for."""
    mtu: int = 0
    """Bytes of the largest packet; 0 for what the link to the world takes."""
    dns: tuple[str, ...] = ()
    """Name servers for containers; () for the host's."""
    store: str = ""
    """The id of the store whose containers these are, and its directory."""
    root: str = ""
    guarded_ports: tuple[int, ...] = ()
    """TCP ports of the host that containers must not reach: those the API is served on."""
