"""Containers: their lives, their streams, what they weigh. Each measure leaves the engine as it found it."""

import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks import image, memory
from benchmarks.client import Client
from benchmarks.settings import IMAGE, Samples, Settings

CROWD = "i=0; while [ $i -lt 40 ]; do (while :; do /bin/true; done) & i=$((i+1)); done; wait"
"""80 processes, each of which is new."""

CROWDED_CYCLING = 15.0
"""Seconds."""


def cycle(settings: Settings) -> Samples:
    """Create, start, wait, remove of a program that does nothing; milliseconds."""
    samples: Samples = {"cycle": [], "create": [], "start": [], "wait": [], "remove": []}
    deadline = time.monotonic() + settings.cycling_seconds
    with Client(settings.host) as client:
        while len(samples["cycle"]) < settings.cycles and time.monotonic() < deadline:
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
    with Client(settings.host) as client, _many(client, settings.listed):
        return {"list": _listed(client, settings.listed)}


@contextlib.contextmanager
def _many(client: Client, number: int) -> Iterator[None]:
    containers = [client.create(IMAGE, "/bin/true") for _ in range(number)]
    yield
    for container in containers:
        client.remove(container)


def _listed(client: Client, number: int) -> list[float]:
    samples = []
    for _ in range(20):
        begin = time.perf_counter()
        listed = client.call("GET", "/containers/json?all=1")
        samples.append(1e3 * (time.perf_counter() - begin))
        if len(listed) < number:
            raise AssertionError(f"{len(listed)} of {number} containers listed")
    return samples


def crowded(settings: Settings) -> Samples:
    """``cycle``, ``echo`` and ``list`` while processes of another container do nothing but start further ones.

    Cycles are as many as there is time for: there an engine that starts programs of its own for each step takes seconds for one. What
    is listed is made before and removed after.
    """
    with Client(settings.host) as client, _many(client, settings.listed):
        crowd = client.create(IMAGE, "/bin/sh", "-c", CROWD)
        client.start(crowd)
        time.sleep(1)  # let it become one
        try:
            cycles = cycle(settings._replace(cycling_seconds=CROWDED_CYCLING))
            lines, lists = echo(settings), _listed(client, settings.listed)
        finally:
            client.destroy(crowd)
    return {"crowded_cycle": cycles["cycle"], "crowded_echo": lines["echo"], "crowded_list": lists}


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
