"""Proportional memory of an engine's processes: a page shared by n processes counts 1/n in each (smaps_rollup, proc(5))."""

import contextlib
import os
import re
import socket
import struct
from collections.abc import Iterable

from benchmarks.client import connect


def server_pid(host: str) -> int:
    """The process that listens at ``unix:///path``: SO_PEERCRED (unix(7)) names who called listen()."""
    with connect(host) as sock:
        if sock.family != socket.AF_UNIX:
            raise ValueError(f"{host}: only a unix socket tells whose it is; give --pid")
        pid, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(pid)


def engine_processes(daemon: int, containers: Iterable[int]) -> set[int]:
    """The daemon, its descendants, and every process above or beside a container; not the containers' own processes.

    Helpers often detach from the daemon (a shim, a monitor), so they are found from below: the ancestors of each container's first
    process, up to us or one of ours.
    """
    parents = _parents()
    inside = _descendants(parents, set(containers))
    ours = {os.getpid(), *_ancestors(parents, os.getpid())}
    roots = {daemon} | {above for pid in containers for above in _ancestors(parents, pid)} - ours
    return _descendants(parents, roots) - inside


def pss(pids: Iterable[int]) -> float:
    """Megabytes of 10^6 bytes."""
    return sum(map(_pss_kib, pids)) * 1024 / 1e6


def _pss_kib(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            found = re.search(r"^Pss:\s+(\d+) kB", file.read(), re.MULTILINE)
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(found[1]) if found else 0


def _parents() -> dict[int, int]:
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{name}/stat", "rb") as file:
            # The command's name is in brackets and may hold anything, brackets too.
            parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
    return parents


def _ancestors(parents: dict[int, int], pid: int) -> list[int]:
    found = []
    while pid := parents.get(pid, 0):
        found.append(pid)
    return found


def _descendants(parents: dict[int, int], roots: set[int]) -> set[int]:
    found, size = set(roots), 0
    while len(found) != size:
        size = len(found)
        found |= {child for child, parent in parents.items() if parent in found}
    return found
