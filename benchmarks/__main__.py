"""``python -m benchmarks --host unix:///run/trioker.sock --label trioker --out trioker.json``."""

import argparse
import sys

from benchmarks import memory
from benchmarks.measures import MEASURES, available
from benchmarks.report import table
from benchmarks.results import save
from benchmarks.subject import Subject


def measures(text: str) -> list[str]:
    """Names of measures, comma-separated."""
    names = text.split(",")
    if unknown := sorted(set(names) - set(MEASURES)):
        raise argparse.ArgumentTypeError(f"no such measure: {', '.join(unknown)} (there are {', '.join(MEASURES)})")
    return names


def add_amount(parser: argparse.ArgumentParser) -> None:
    """The options that say what is measured, and how often."""
    parser.add_argument(
        "--only", type=measures, default=available(), help=f"some of {','.join(MEASURES)} (default: all)"
    )
    parser.add_argument("--root-tar", default="", metavar="FILE", help="a root whose import is measured, too")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is run (default: %(default)s)")


def main() -> int:
    """Measure one engine and write its samples."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure a container engine through its Docker socket."
    )
    parser.add_argument("--host", required=True, help="unix:///path or tcp://address:port")
    parser.add_argument("--label", required=True, help="the engine's name in tables")
    parser.add_argument("--out", required=True, help="JSON file to write")
    parser.add_argument(
        "--pid", type=int, help="the daemon's process, for memory (default: who listens at the unix socket)"
    )
    add_amount(parser)
    given = parser.parse_args()
    with Subject(given.label, given.host, given.pid or memory.server_pid(given.host), given.root_tar) as subject:
        for _ in range(given.rounds):
            subject.measure(given.only)
    save(subject.result(), given.out)
    print(table([subject.result()]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
