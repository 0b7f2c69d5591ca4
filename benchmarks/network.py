"""``python -m benchmarks.network``: what containers' networks of trioker and dockerd carry, in one run, round by round.

Each engine is in a network namespace of its own: the packet rules of one hold up what belongs to the other.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import image, traffic
from benchmarks.client import NETWORK, Client
from benchmarks.engines import PYZ, Engine, engines, started
from benchmarks.measures import Metric
from benchmarks.peers import PRIVATE, run_privately
from benchmarks.report import table
from benchmarks.results import Result, save
from benchmarks.settings import IMAGE, Samples

BYTES = 1 << 30
CONNECTIONS = 1000
PUBLISHED, INSIDE = 4500, 80
HOST_PORT = 7000
LOOPBACK = "127.0.0.1"

METRICS = (
    Metric("container to host, throughput", "MB/s", "to_host", statistics.median, more_is_better=True),
    Metric("host to published port, throughput", "MB/s", "to_port", statistics.median, more_is_better=True),
    Metric(
        "host to published port on 127.0.0.1, throughput", "MB/s", "to_local", statistics.median, more_is_better=True
    ),
    Metric("1,000 connections at once to a published port", "ms", "crowd", statistics.median),
    Metric("1,000 connections at once to it on 127.0.0.1", "ms", "crowd_local", statistics.median),
)


class Host(NamedTuple):
    """An engine's network namespace with a container in it."""

    client: Client
    container: str
    pids: tuple[int, int]
    """Of the engine, which is the host, and of the container."""
    gateway: str

    def end(self, *arguments: object, inside: bool = False) -> "subprocess.Popen[str]":
        """One end of a connection, on the host or inside the container."""
        network = f"--net=/proc/{self.pids[inside]}/ns/net"
        command = ["nsenter", network, sys.executable, "-m", "benchmarks.traffic", *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PYZ.parent.parent)


def measure(host: Host) -> Samples:
    """Each once."""
    return {
        "to_host": [throughput(host, host.gateway, HOST_PORT, outward=True)],
        "to_port": [throughput(host, host.gateway, PUBLISHED)],
        "to_local": [throughput(host, LOOPBACK, PUBLISHED)],
        "crowd": [crowd(host, host.gateway)],
        "crowd_local": [crowd(host, LOOPBACK)],
    }


def throughput(host: Host, address: str, port: int, *, outward: bool = False) -> float:
    """Megabytes a second, out of the container or into it."""
    with waiting(host.end("sink", port if outward else INSIDE, inside=not outward)) as sink:
        with host.end("source", address, port, BYTES, inside=outward) as source:
            source.communicate(timeout=traffic.WITHIN)
        return result(sink)


def crowd(host: Host, address: str) -> float:
    """Milliseconds until all are answered."""
    with (
        waiting(host.end("answer", INSIDE, inside=True)),
        host.end("crowd", address, PUBLISHED, CONNECTIONS) as clients,
    ):
        return result(clients)


@contextlib.contextmanager
def waiting(end: "subprocess.Popen[str]") -> "Iterator[subprocess.Popen[str]]":
    """An end from when it listens; gone afterwards."""
    with end:
        try:
            if not end.stdout or end.stdout.readline().strip() != traffic.READY:
                raise SystemExit(f"{end.args!r} does not listen")
            yield end
        finally:
            end.kill()


def result(end: "subprocess.Popen[str]") -> float:
    """The figure an end prints last."""
    told, _ = end.communicate(timeout=traffic.WITHIN)
    if end.returncode:
        raise SystemExit(f"{end.args!r} failed")
    return float(json.loads(told))


@contextlib.contextmanager
def connected(engine: Engine) -> Iterator[Host]:
    """The engine in a network namespace of its own, with a container that publishes a port, in the words of 2013's API and of today's."""
    alone = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", *engine.command]
    with started(engine._replace(command=alone)) as process, Client(engine.host) as client:
        client.import_image(IMAGE, image.base_tar())
        published = {
            "PortSpecs": [f"{PUBLISHED}:{INSIDE}"],
            "ExposedPorts": {f"{INSIDE}/tcp": {}},
            "HostConfig": {"PortBindings": {f"{INSIDE}/tcp": [{"HostPort": str(PUBLISHED)}]}},
        }
        made = client.call("POST", "/containers/create", {"Image": IMAGE, "Cmd": ["/bin/sleep", "100000"], **published})
        client.start(made["Id"])
        seen = client.call("GET", f"/containers/{made['Id']}/json")
        pids = process.pid, int(seen["State"]["Pid"])
        yield Host(client, made["Id"], pids, seen["NetworkSettings"]["Gateway"])
        client.destroy(made["Id"])


def measure_all(scratch: Path, labels: Sequence[str], rounds: int) -> list[Result]:
    """Each engine in turn, ``rounds`` times, so that what else the host does hits all alike."""
    samples: dict[str, Samples] = {}
    with contextlib.ExitStack() as stack:
        wanted = [each for each in engines(scratch) if each.label in labels]
        hosts = [(each.label, stack.enter_context(connected(each))) for each in wanted]
        for _ in range(rounds):
            for label, host in hosts:
                print(f"{label}: network", file=sys.stderr)
                for name, values in measure(host).items():
                    samples.setdefault(label, {}).setdefault(name, []).extend(values)
        versions = {label: str(host.client.call("GET", "/version").get("Version", "")) for label, host in hosts}
    return [Result(label, versions[label], found) for label, found in samples.items()]


def main() -> int:
    """Measure, print the table, write the samples."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.network", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=PYZ.parent / "benchmarks", help="directory for samples (default: %(default)s)"
    )
    parser.add_argument("--engines", default="trioker,dockerd", help="which (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: %(default)s)")
    given = parser.parse_args()
    os.environ[NETWORK] = "bridge"
    if PRIVATE not in os.environ:
        return run_privately("benchmarks.network")
    given.out.mkdir(parents=True, exist_ok=True)
    results = measure_all(Path(os.environ[PRIVATE]), given.engines.split(","), given.rounds)
    for each in results:
        save(each, f"{given.out}/{each.label}-network.json")
    print(table(results, METRICS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
