"""``python -m benchmarks.report a.json b.json [--svg plot.svg]``: a table in Markdown; how often better the first is than each other."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measures import METRICS, Metric
from benchmarks.plot import plot
from benchmarks.results import Result, load


def table(results: Sequence[Result], metrics: Sequence[Metric] = METRICS) -> str:
    """A row per metric, a column per engine; beside each engine but the first, in how far the first is better."""
    return grouped([results], metrics)


def grouped(groups: Sequence[Sequence[Result]], metrics: Sequence[Metric]) -> str:
    """As ``table``, each engine beside the first of its group."""
    results = [(group[0], each) for group in groups for each in group]
    head = ["", *(f"{each.label} {each.version}".strip() for _, each in results)]
    rows = [
        [f"{metric.title}, {metric.unit}", *(_cell(metric, first, each) for first, each in results)]
        for metric in metrics
        if _known(metric, [each for _, each in results])
    ]
    lines = [head, ["---", *("---:" for _ in results)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ratio(metric: Metric, first: float, other: float) -> float:
    """How many times better ``first`` is than ``other``."""
    return first / other if metric.more_is_better else other / first


def number(value: float) -> str:
    """Three digits that matter."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _known(metric: Metric, results: Sequence[Result]) -> bool:
    return any(each.value(metric) is not None for each in results)


def _cell(metric: Metric, first: Result, each: Result) -> str:
    value, reference = each.value(metric), first.value(metric)
    if value is None:
        return "-"
    if each is first or not reference or not value:
        return number(value)
    return f"{number(value)} ({number(ratio(metric, reference, value))}x)"


def main() -> int:
    """Print the table of some result files, and draw them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("files", nargs="+", metavar="RESULT.json")
    parser.add_argument("--svg", type=Path, help="draw a plot there")
    given = parser.parse_args()
    results = load(given.files)
    print(table(results))
    if given.svg:
        given.svg.write_text(plot(results), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
