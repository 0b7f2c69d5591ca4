"""How much of everything a client may take, and why that much."""

import attrs

PIECE = 64 * 1024
"""Bytes read or sent at a time: what a default pipe or socket buffer takes in one go, small enough for a thousand connections."""

COUNTED_PIECE = 256 * 1024
"""The same for a body of known length, which is a large one's: what fits into a Unix socket, and a quarter of the turns."""


@attrs.frozen
class Limits:
    """Times in seconds, sizes in bytes."""

    connections: int = 1000
    """Per listener, so that a flooded TCP port leaves the unix socket to its owner. Far under the usual 20,000 descriptors; one past it
    is told 503 at once rather than left waiting: a full house should be seen, not felt."""
    turned_away: int = 64
    """Connections over the limit that are told so at one time; more are just closed, or telling would be the flood's next target."""

    head_bytes: int = 64 * 1024
    """Request line and headers. The longest sound target is a list of image names in a query; proxies stop at 8 to 64 KiB."""
    headers: int = 100
    """Header lines, Apache's default. 64 KiB could hold 16,000 of them: 50 ms of parsing for each request."""
    head_time: float = 10.0
    """From a request's first byte to the end of its head, which is one packet from an honest client."""
    idle_time: float = 120.0
    """Between requests: longer than the pause between two commands of a script, too short to collect connections for free."""

    body_idle_time: float = 60.0
    """Without one byte of a body that is being read: TCP retransmits for about this long over a bad line."""
    read_time: float = 60.0
    """For a whole small body (``Body.read``), or a byte a minute would hold it for ever."""
    drain_bytes: int = 256 * 1024
    """Unread rest of a body that is thrown away to keep the connection; more costs less as a new connection."""
    drain_time: float = 5.0
    """For that rest to arrive."""

    send_stall_time: float = 60.0
    """For one piece of at most 64 KiB to be taken. Only a blocked send counts: a reply may be silent for hours."""
    hangup_grace: float = 1.0
    """What a running handler gets after the client ended its side: ``printf ... | nc -N`` still reads, a client that left does not, and
    over TCP both look the same."""
    linger_time: float = 1.0
    """Reading on after our end of a connection is closed: a close with unread input resets it, and the client loses our last bytes."""
    linger_bytes: int = 4 * 1024 * 1024
    """The most that is read and dropped meanwhile."""

    handshake_time: float = 10.0
    """For TLS: two round trips and the client's key operation."""
    stop_grace: float = 1.0
    """For handlers that are working when the server stops; what is streaming then is cut at once."""
