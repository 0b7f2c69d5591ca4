"""What a measure is told, and what it gives back."""

from typing import NamedTuple

IMAGE = "trioker-bench"
"""The image all containers run and all builds stand on; every engine holds it."""

Samples = dict[str, list[float]]


class Settings(NamedTuple):
    """How much of each."""

    host: str
    pid: int
    """The daemon's process id."""
    multiplexed: bool
    round: int = 0
    """Which one this is: the images that are pulled differ from round to round, so that no engine can have kept a part of one."""
    root_tar: str = ""
    """A file to import, "" for none."""
    cycles: int = 20
    cycling_seconds: float = 120
    """After which no further cycle is begun."""
    parallel: int = 48
    workers: int = 8
    attach_bytes: int = 96 << 20
    echoes: int = 200
    listed: int = 100
    sleepers: int = 20
    warm_pulls: int = 5
    cached_builds: int = 5
    steps: int = 10
