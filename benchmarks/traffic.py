"""``python -m benchmarks.traffic sink|source|answer|crowd ...``: one end of a measured connection, in whatever network namespace it is run.

The ends are the same for all engines, so that a figure tells of the way between them and not of the programs in an image.
"""

import json
import selectors
import socket
import sys
import time
from collections.abc import Callable

READY = "ready"
"""What an end that waits prints first."""
WITHIN = 60.0
"""Seconds that any one thing may take."""
_PIECE = 1 << 18


def sink(port: str) -> float:
    """Take in one connection to its end; megabytes a second from the first byte on."""
    room = memoryview(bytearray(_PIECE))
    with _listening(port) as server:
        client, _ = server.accept()
    with client:
        client.settimeout(WITHIN)
        total = client.recv_into(room)
        begin = time.perf_counter()
        while count := client.recv_into(room):
            total += count
        return total / 1e6 / (time.perf_counter() - begin)


def source(address: str, port: str, size: str) -> None:
    """Send so many bytes."""
    piece, left = bytes(_PIECE), int(size)
    with socket.create_connection((address, int(port)), WITHIN) as sock:
        while left > 0:
            sock.sendall(piece[:left])
            left -= len(piece)


def answer(port: str) -> None:
    """Say one byte to whoever comes, and keep all connections, until killed."""
    held = []
    with _listening(port) as server:
        server.settimeout(None)
        while True:
            held.append(server.accept()[0])
            held[-1].send(b"x")


def crowd(address: str, port: str, count: str) -> float:
    """Open so many connections at once; milliseconds until each has got its byte, while all others are open."""
    selector = selectors.DefaultSelector()
    begin = time.perf_counter()
    waiting = [_begin(address, int(port)) for _ in range(int(count))]
    for sock in waiting:
        selector.register(sock, selectors.EVENT_READ)
    missing = len(waiting)
    while missing:
        ready = selector.select(WITHIN)
        if not ready:
            raise TimeoutError(f"{missing} of {count} connections got no answer")
        for key, _ in ready:
            selector.unregister(key.fileobj)
            missing -= key.fileobj.recv(1) == b"x"  # type: ignore[union-attr]  # a socket
    seconds = time.perf_counter() - begin
    for sock in waiting:
        sock.close()
    return 1e3 * seconds


def _begin(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    sock.connect_ex((address, port))
    return sock


def _listening(port: str) -> socket.socket:
    server = socket.create_server(("0.0.0.0", int(port)), backlog=4096)
    server.settimeout(WITHIN)
    print(READY, flush=True)
    return server


_ENDS: dict[str, Callable[..., float | None]] = {"sink": sink, "source": source, "answer": answer, "crowd": crowd}


if __name__ == "__main__":
    print(json.dumps(_ENDS[sys.argv[1]](*sys.argv[2:])))
