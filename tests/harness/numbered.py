"""Containers that print numbered lines, so that a gap, a repetition or a wrong order shows."""

from pathlib import Path

from api_client import Api
from daemon import Daemon

VOLUME = {"/told": {}}
"""Where a container looks whether it shall stop."""
UNTIL_TOLD = "i=0; while [ ! -e /told/stop ]; do echo $i; seq $((i+1)) $((i+99)); i=$((i+100)); done; echo end; exit 7"
LAST = b"end\n"
CODE = 7


def printer(api: Api) -> str:
    """A container that prints 0, 1, 2 ... as fast as it can until ``tell_to_stop``, then ``end``; its exit code is CODE."""
    container = api.create("sh", "-c", UNTIL_TOLD, Volumes=VOLUME)
    api.start(container)
    return container


def told_directory(daemon: Daemon, container: str) -> Path:
    """The host's side of the container's ``/told``."""
    return daemon.root / "volumes" / daemon.api.inspect(container)["Volumes"]["/told"]


def tell_to_stop(daemon: Daemon, container: str) -> None:
    """The container ends soon after."""
    (told_directory(daemon, container) / "stop").touch()


def check_numbers(output: bytes, *, first: int | None = 0) -> int:
    """How many lines: one number after the other from ``first`` (None: from any), and at the very end LAST."""
    assert output.endswith(b"\n" + LAST), output[-100:]
    return check_row(output[: -len(LAST)], first=first)


def check_row(output: bytes, *, first: int | None = 0) -> int:
    """The same of output that may stop anywhere, also within a line."""
    lines = output[: output.rfind(b"\n") + 1].split()
    begin = int(lines[0]) if first is None else first
    if lines != [b"%d" % number for number in range(begin, begin + len(lines))]:
        wrong = next(place for place, line in enumerate(lines) if line != b"%d" % (begin + place))
        raise AssertionError(f"line {wrong}, expected {begin + wrong}: ... {lines[max(0, wrong - 3) : wrong + 3]} ...")
    return len(lines)


def log_size(daemon: Daemon, container: str) -> int:
    """Bytes on the disk, seen without asking the daemon. Raises FileNotFoundError if a file is rotated away meanwhile."""
    (directory,) = (daemon.root / "containers").glob(f"{container}*/log")
    return sum(path.stat().st_size for path in directory.iterdir())
