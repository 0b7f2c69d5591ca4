"""The results as an SVG of horizontal bars, a group per metric, each on its own scale: the longest bar is the group's largest figure."""

from collections.abc import Iterator, Sequence
from html import escape

from benchmarks.measures import METRICS, Metric
from benchmarks.results import Result

COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b")
WIDTH = 760
LEFT = 130
BAR = 16
HEADING = 34
LONGEST = WIDTH - LEFT - 110
"""Leaves room for the figure behind the bar."""


def plot(results: Sequence[Result], metrics: Sequence[Metric] = METRICS, colours: Sequence[str] = COLOURS) -> str:
    """The SVG's text; ``colours`` are taken in turn."""
    groups = [metric for metric in metrics if any(each.value(metric) is not None for each in results)]
    height = sum(HEADING + BAR * len(results) for _ in groups) + BAR
    lines = [
        line
        for index, metric in enumerate(groups)
        for line in _group(index * (HEADING + BAR * len(results)), metric, results, colours)
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height}" fill="white"/>', *lines, "</svg>", ""])


def _group(top: int, metric: Metric, results: Sequence[Result], colours: Sequence[str]) -> Iterator[str]:
    better = "more is better" if metric.more_is_better else "less is better"
    title = f'{escape(metric.title)} <tspan font-weight="normal">({metric.unit}, {better})</tspan>'
    yield f'<text x="8" y="{top + HEADING - 8}" font-weight="bold">{title}</text>'
    values = [each.value(metric) for each in results]
    largest = max((value for value in values if value is not None), default=0) or 1
    for index, (each, value) in enumerate(zip(results, values, strict=True)):
        yield from _bar(top + HEADING + BAR * index, each.label, colours[index % len(colours)], value, largest)


def _bar(top: int, label: str, colour: str, value: float | None, largest: float) -> Iterator[str]:
    baseline = top + BAR - 4
    yield f'<text x="{LEFT - 8}" y="{baseline}" text-anchor="end">{escape(label)}</text>'
    if value is None:
        yield f'<text x="{LEFT}" y="{baseline}">-</text>'
        return
    width = max(1, round(LONGEST * value / largest))
    yield f'<rect x="{LEFT}" y="{top + 1}" width="{width}" height="{BAR - 3}" fill="{colour}"/>'
    yield f'<text x="{LEFT + width + 6}" y="{baseline}">{value:,.3g}</text>'
