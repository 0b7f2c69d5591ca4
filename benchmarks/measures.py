"""What is measured. Each measure leaves the engine as it found it and returns samples by name; ``METRICS`` says what becomes of them."""

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from benchmarks import image, memory
from benchmarks.client import Client

IMAGE = "trioker-bench"
Samples = dict[str, list[float]]


class Settings(NamedTuple):
    """How much of each."""

    host: str
    pid: int
    """The daemon's process id."""
    multiplexed: bool
    cycles: int = 20
    parallel: int = 48
    workers: int = 8
    attach_bytes: int = 96 << 20
    echoes: int = 200
    listed: int = 100
    sleepers: int = 20


def cycle(settings: Settings) -> Samples:
    """Create, start, wait, remove of a program that does nothing; milliseconds."""
    samples: Samples = {"cycle": [], "create": [], "start": [], "wait": [], "remove": []}
    with Client(settings.host) as client:
        for _ in range(settings.cycles):
            times = [time.perf_counter()]
            container = client.create(IMAGE, "/bin/true")
            times.append(time.perf_counter())
            client.start(container)
            times.append(time.perf_counter())
            client.wait(container)
            times.append(time.perf_counter())
            client.remove(container)
            times.append(time.perf_counter())
            steps = [1e3 * (after - before) for before, after in itertools.pairwise(times)]
            for name, value in zip(samples, [sum(steps), *steps], strict=True):
                samples[name].append(value)
    return samples


def parallel(settings: Settings) -> Samples:
    """Starts per second when several clients start at once."""
    with Client(settings.host) as client:
        containers = [client.create(IMAGE, "/bin/true") for _ in range(settings.parallel)]
        shares = [containers[worker :: settings.workers] for worker in range(settings.workers)]
        begin = time.perf_counter()
        with ThreadPoolExecutor(settings.workers) as pool:
            list(pool.map(lambda share: _start_all(settings.host, share), shares))
        seconds = time.perf_counter() - begin
        for container in containers:
            client.wait(container)
            client.remove(container)
    return {"starts_per_second": [len(containers) / seconds]}


def _start_all(host: str, containers: Sequence[str]) -> None:
    with Client(host) as client:
        for container in containers:
            client.start(container)


def attach(settings: Settings) -> Samples:
    """Megabytes a second of a container's output through an attached connection, from the first byte to the last."""
    rounds = settings.attach_bytes // image.TEXT_SIZE
    with Client(settings.host) as client:
        container = client.create(
            IMAGE, "/bin/sh", "-c", f"i=0; while [ $i -lt {rounds} ]; do cat {image.TEXT}; i=$((i+1)); done"
        )
        with client.attach(container, multiplexed=settings.multiplexed) as attached:
            client.start(container)
            begin, total = time.perf_counter(), 0
            for piece in attached.payloads():
                total += len(piece)
            seconds = time.perf_counter() - begin
        client.wait(container)
        client.remove(container)
    if total != rounds * image.TEXT_SIZE:
        raise AssertionError(f"attach gave {total} of {rounds * image.TEXT_SIZE} bytes")
    return {"attach_mb_per_second": [total / 1e6 / seconds]}


def echo(settings: Settings) -> Samples:
    """Milliseconds from a line sent to an attached ``cat`` until it is back."""
    line = b"x" * 63 + b"\n"
    samples = []
    with Client(settings.host) as client:
        container = client.create(IMAGE, "/bin/cat", stdin=True)
        with client.attach(container, multiplexed=settings.multiplexed) as attached:
            client.start(container)
            pieces = attached.payloads()
            for _ in range(settings.echoes):
                begin, missing = time.perf_counter(), len(line)
                attached.send(line)
                while missing > 0:
                    missing -= len(next(pieces))
                samples.append(1e3 * (time.perf_counter() - begin))
        client.destroy(container)
    return {"echo": samples[10:]}  # the first ones also wait for the program's start


def listing(settings: Settings) -> Samples:
    """Milliseconds for a list of many containers."""
    samples = []
    with Client(settings.host) as client:
        containers = [client.create(IMAGE, "/bin/true") for _ in range(settings.listed)]
        for _ in range(20):
            begin = time.perf_counter()
            listed = client.call("GET", "/containers/json?all=1")
            samples.append(1e3 * (time.perf_counter() - begin))
            if len(listed) < len(containers):
                raise AssertionError(f"{len(listed)} of {len(containers)} containers listed")
        for container in containers:
            client.remove(container)
    return {"list": samples}


def import_(settings: Settings) -> Samples:
    """Milliseconds to import a root of 2,000 files and 40 MB, new each time."""
    name = f"{IMAGE}-import"
    tar = image.import_tar(time.time_ns())
    with Client(settings.host) as client:
        begin = time.perf_counter()
        client.import_image(name, tar)
        seconds = time.perf_counter() - begin
        client.call("DELETE", f"/images/{name}")
    return {"import": [1e3 * seconds]}


def idle_memory(settings: Settings) -> Samples:
    """Megabytes of the engine's processes: without a container, and what each of several sleeping ones adds."""
    with Client(settings.host) as client:
        before = memory.pss(memory.engine_processes(settings.pid, ()))
        containers = [client.create(IMAGE, "/bin/sleep", "1000") for _ in range(settings.sleepers)]
        for container in containers:
            client.start(container)
        time.sleep(1)  # let what the starts left behind end
        pids = [client.call("GET", f"/containers/{container}/json")["State"]["Pid"] for container in containers]
        after = memory.pss(memory.engine_processes(settings.pid, pids))
        for container in containers:
            client.destroy(container)
    return {"idle_memory": [before], "container_memory": [(after - before) / len(containers)]}


MEASURES: dict[str, Callable[[Settings], Samples]] = {
    "memory": idle_memory,
    "cycle": cycle,
    "parallel": parallel,
    "attach": attach,
    "echo": echo,
    "list": listing,
    "import": import_,
}
"""Memory first: a daemon that has just imported 40 MB is not idle. So of several rounds the smallest figure counts."""


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
    Metric("import, 2,000 files, 40 MB", "ms", "import", statistics.median),
    Metric("memory of the idle daemon (PSS)", "MB", "idle_memory", min),
    Metric("memory per container (PSS)", "MB", "container_memory", statistics.median),
)
