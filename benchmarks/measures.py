"""What is measured, and what becomes of the samples."""

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchmarks import builds, containers, registry, transfers
from benchmarks.settings import Samples, Settings

Measure = Callable[[Settings], Samples]

MEASURES: dict[str, Measure] = {
    "memory": containers.idle_memory,
    "cycle": containers.cycle,
    "parallel": containers.parallel,
    "attach": containers.attach,
    "echo": containers.echo,
    "list": containers.listing,
    "crowded": containers.crowded,
    "import": transfers.import_,
    "root": transfers.import_root,
    "pull": transfers.pull,
    "push": transfers.push,
    "build": builds.build,
}
"""Memory first: a daemon that has just imported 40 MB is not idle. So of several rounds the smallest figure counts."""


def available() -> list[str]:
    """Those that this host can take: without a registry nothing is pulled or pushed."""
    return [name for name in MEASURES if registry.installed() or name not in {"pull", "push"}]


def p99(samples: Sequence[float]) -> float:
    """The 99th percentile: the smallest sample that 99 % do not exceed."""
    return sorted(samples)[-(-99 * len(samples) // 100) - 1]


class Metric(NamedTuple):
    """One line of the table."""

    title: str
    unit: str
    samples: str
    reduce: Callable[[Sequence[float]], float]
    more_is_better: bool = False


METRICS = (
    Metric("create, start, wait, remove: median", "ms", "cycle", statistics.median),
    Metric("create, start, wait, remove: 99th percentile", "ms", "cycle", p99),
    Metric("starts, 8 clients at once", "1/s", "starts_per_second", statistics.median, more_is_better=True),
    Metric("attach, throughput", "MB/s", "attach_mb_per_second", statistics.median, more_is_better=True),
    Metric("attach, echo of a line: median", "ms", "echo", statistics.median),
    Metric("list of 100 containers: median", "ms", "list", statistics.median),
    Metric("list beside a container of 40 busy shells: 99th percentile", "ms", "crowded_list", p99),
    Metric("attach, echo of a line beside it: 99th percentile", "ms", "crowded_echo", p99),
    Metric("create, start, wait, remove beside it: median", "ms", "crowded_cycle", statistics.median),
    Metric("import, 2,000 files, 40 MB", "ms", "import", statistics.median),
    Metric("import, the root given", "ms", "import_root", statistics.median),
    Metric("pull, 5 layers, 2,000 files, 50 MB", "ms", "pull_cold", statistics.median),
    Metric("pull, image there already", "ms", "pull_warm", statistics.median),
    Metric("push, 5 layers, to an empty registry", "ms", "push", statistics.median),
    Metric("build, 10 RUN steps", "ms", "build", statistics.median),
    Metric("build, 10 RUN steps, dockerd's by BuildKit", "ms", "buildkit", statistics.median),
    Metric("build, 10 RUN steps, all cached", "ms", "build_cached", statistics.median),
    Metric("memory of the idle daemon (PSS)", "MB", "idle_memory", min),
    Metric("memory per container (PSS)", "MB", "container_memory", statistics.median),
)
