"""``python -m benchmarks.drivers``: trioker's storage drivers beside dockerd's of the same kind, in one run, round by round.

Each engine has a disk of its own, ext4 or, for btrfs, btrfs. As with ``benchmarks.peers``, all happens in namespaces of its own.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.engines import Engine, engines, started
from benchmarks.peers import PRIVATE, run_privately
from benchmarks.plot import COLOURS, plot
from benchmarks.report import grouped
from benchmarks.results import Result
from benchmarks.subject import Subject
from benchmarks.trees import MEASURES, METRICS, prepare

NAMES = {
    "overlay": {"trioker": "overlay", "dockerd": "overlay2"},
    "vfs": {"trioker": "vfs", "dockerd": "vfs"},
    "btrfs": {"trioker": "btrfs", "dockerd": "btrfs"},
}
"""What each engine calls a driver."""


def measure(scratch: Path, driver: str, names: Sequence[str], rounds: int) -> list[Result]:
    """Both engines in turn, ``rounds`` times, so that what else the host does hits both alike."""
    scratch.mkdir()
    with contextlib.ExitStack() as stack:
        subjects = [stack.enter_context(_measured(each, names)) for each in engines_with(driver, scratch)]
        for _ in range(rounds):
            for subject in subjects:
                subject.measure(names)
        return [subject.result() for subject in subjects]


def engines_with(driver: str, scratch: Path) -> Iterator[Engine]:
    """Those of ``engines`` that have the driver, each on a disk that suits it."""
    for engine in engines(scratch):
        if name := NAMES[driver].get(engine.label):
            yield engine._replace(
                label=f"{engine.label} {name}",
                command=[*engine.command, "-s", name],
                filesystem="btrfs" if driver == "btrfs" else engine.filesystem,
            )


@contextlib.contextmanager
def _measured(engine: Engine, names: Sequence[str]) -> Iterator[Subject]:
    with started(engine) as process, Subject(engine.label, engine.host, process.pid, measures=MEASURES) as subject:
        prepare(engine.host, names)
        yield subject


def _some_of(known: Sequence[str], text: str) -> list[str]:
    names = text.split(",")
    if unknown := sorted(set(names) - set(known)):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)} (there are {', '.join(known)})")
    return names


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drivers", description=__doc__)
    parser.add_argument(
        "--drivers",
        type=lambda text: _some_of(list(NAMES), text),
        default=list(NAMES),
        help=f"some of {','.join(NAMES)} (default: all)",
    )
    parser.add_argument(
        "--only",
        type=lambda text: _some_of(list(MEASURES), text),
        default=list(MEASURES),
        help=f"some of {','.join(MEASURES)} (default: all)",
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each is run (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the samples there")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw a plot there")
    return parser.parse_args()


def main() -> int:
    """Measure, print a table, write the samples and the plot."""
    given = _arguments()
    if PRIVATE not in os.environ:
        return run_privately("benchmarks.drivers")
    scratch = Path(os.environ[PRIVATE])
    groups = [measure(scratch / driver, driver, given.only, given.rounds) for driver in given.drivers]
    results = [each for group in groups for each in group]
    if given.json:
        given.json.write_text(json.dumps([each._asdict() for each in results], indent=1) + "\n", encoding="utf-8")
    if given.svg:
        given.svg.write_text(plot(results, METRICS, COLOURS[: len(groups[0])]), encoding="utf-8")
    print(grouped(groups, METRICS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
