"""The samples of one engine, as they are kept in a file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.measures import Metric
from benchmarks.settings import Samples


class Result(NamedTuple):
    """What was measured of one engine."""

    label: str
    version: str
    samples: Samples

    def value(self, metric: Metric) -> float | None:
        """The metric's figure, None when it was not measured."""
        samples = self.samples.get(metric.samples)
        return metric.reduce(samples) if samples else None


def save(result: Result, path: str) -> None:
    """Write a result as JSON."""
    Path(path).write_text(json.dumps(result._asdict(), indent=1) + "\n", encoding="utf-8")


def load(paths: Sequence[str]) -> list[Result]:
    """Read results."""
    return [Result(**json.loads(Path(path).read_text(encoding="utf-8"))) for path in paths]
