"""How long a server may take, and how much it may send."""

CONNECT_TIME = 30.0
"""Seconds for name, connection, proxy and TLS together: Go's default dialler."""
READ_TIME = 60.0
"""Seconds without one byte before a server is given up: TCP retransmits for about this long over a bad line. Also for the whole head of an
answer to GET and HEAD, or a server could hold us with a byte a minute."""
WORK_TIME = 300.0
"""Seconds for the head of an answer to what makes a server work: a registry may copy gigabytes before it answers an upload's last PUT."""
WRITE_TIME = 60.0
"""Seconds for a server to take one piece."""

HEAD_BYTES = 64 * 1024
"""Of one head, against a server that sends headers for ever."""
HEAD_PIECE = 16 * 1024
"""Bytes read at a time while a head is not complete: the most by which HEAD_BYTES can be exceeded."""
PIECE = 256 * 1024
"""Bytes of a body read or sent at a time. Measured over loopback: 64 KiB are half as fast, 1 MiB no faster."""
INTERIM_ANSWERS = 16
"""1xx answers to one request. 102 Processing may come a few times, 100 and 103 once each."""

REDIRECTS = 5
"""Followed at most; mirrors use one or two."""

IDLE_LINKS_PER_ORIGIN = 4
"""Kept open: as many as layers of an image are fetched at a time, and one."""
IDLE_LINKS = 16
"""Kept open to all servers together."""
IDLE_TIME = 30.0
"""Seconds a connection is kept for the next request. Servers and the boxes before them wait 60 s and more."""

FIRST_PAUSE = 0.5
"""Seconds before the second try, doubled for each one more."""
LONGEST_PAUSE = 60.0
"""Seconds that a server's Retry-After is honoured: somebody is waiting for us, too."""
