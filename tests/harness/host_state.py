"""What a daemon could leave behind on its host, as values to be compared: the host's own, not the daemon's word."""

import contextlib
import os
import re
from collections import Counter
from pathlib import Path

_OWN_FILES = re.compile(r"state\.db-(wal|shm)$")  # come and go with SQLite's connections


def mount_table() -> list[str]:
    """The host's."""
    return Path("/proc/self/mountinfo").read_text().splitlines()


def links() -> set[str]:
    """The host's network links."""
    return set(os.listdir("/sys/class/net"))


def descriptors(pid: int) -> Counter[str]:
    """What a process holds open, by kind: a path, ``socket:[N]``, ``pipe:[N]``."""
    found: Counter[str] = Counter()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[re.sub(r"\d+", "N", os.readlink(f"/proc/{pid}/fd/{name}"))] += 1
    return found


def paths_below(*directories: Path) -> set[str]:
    """Every file and directory."""
    walks = (os.walk(top) for top in directories)  # which, unlike rglob, bears with a directory that goes meanwhile
    found = {f"{place}/{name}" for walk in walks for place, folders, files in walk for name in (*folders, *files)}
    return {path for path in found if not _OWN_FILES.search(path)}


def bytes_below(directory: Path) -> int:
    """On the disk, as du counts."""
    total = 0
    for path in paths_below(directory):
        with contextlib.suppress(FileNotFoundError):
            total += os.lstat(path).st_blocks * 512
    return total


def processes_with(mark: str) -> set[int]:
    """The processes that have ``mark`` in their environment: a container's, whatever they call themselves."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark.encode() in path.read_bytes():
                found.add(int(path.parent.name))
    return found


def parent_of(pid: int) -> int:
    """The parent process; 0 for one that is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(re.search(r"^PPid:\s+(\d+)$", status, re.MULTILINE)[1])


def is_alive(pid: int) -> bool:
    """Whether it runs: neither gone nor waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
