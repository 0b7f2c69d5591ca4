"""An engine under measurement."""

import contextlib
import sys
from collections.abc import Mapping, Sequence
from typing import Self

from benchmarks import image
from benchmarks.client import ApiError, Client
from benchmarks.measures import MEASURES, Measure
from benchmarks.processes import limited
from benchmarks.results import Result
from benchmarks.settings import IMAGE, Samples, Settings

MEASURE_SECONDS = 600
"""For one measure, one round: several times what the slowest engine takes for the slowest of them on two cores."""


class Subject:
    """An engine that holds the benchmark's image, and the samples taken of it so far."""

    def __init__(
        self, label: str, host: str, pid: int, root_tar: str = "", measures: Mapping[str, Measure] = MEASURES
    ) -> None:
        """Import the image. ``pid`` is the daemon's, ``root_tar`` a further file to measure imports with."""
        with Client(host) as client:
            client.import_image(IMAGE, image.base_tar())
            self._version = str(client.call("GET", "/version").get("Version", ""))
            self._settings = Settings(host, pid, client.multiplexes(), root_tar=root_tar)
        self._label = label
        self._measures = measures
        self._samples: Samples = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        told = (OSError, ApiError) if failed else ()  # a measure that failed leaves containers, and its error says more
        with contextlib.suppress(*told), Client(self._settings.host) as client:
            client.remove_image(IMAGE)

    def measure(self, names: Sequence[str]) -> None:
        """Run each measure once."""
        for name in names:
            print(f"{self._label}: {name}", file=sys.stderr)
            with limited(MEASURE_SECONDS, f"{self._label}: {name}"):
                samples = self._measures[name](self._settings)
            for key, values in samples.items():
                self._samples.setdefault(key, []).extend(values)
        self._settings = self._settings._replace(round=self._settings.round + 1)

    def result(self) -> Result:
        """All so far."""
        return Result(self._label, self._version, self._samples)
