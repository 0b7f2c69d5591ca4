"""``python -m benchmarks.peers``: trioker beside dockerd and podman, where installed, in one run, round by round.

Everything happens in a mount and a pid namespace of its own (this program starts itself again in them), so that whatever an engine
leaves behind, mounts or processes, goes with them; directories and control groups are removed at the end.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.__main__ import add_amount
from benchmarks.client import Client
from benchmarks.plot import plot
from benchmarks.report import table
from benchmarks.results import Result, save
from benchmarks.subject import Subject

PYZ = Path(__file__).resolve().parent.parent / "dist" / "trioker.pyz"
PRIVATE = "TRIOKER_BENCH_PRIVATE"
READY_SECONDS = 60
STOP_SECONDS = 30
CONTROL_GROUPS = ("trioker-bench", "libpod_parent", "trioker")
COVERED = ("/run", "/etc/docker", "/var/lib/containers", "/var/cache/containers")
"""Where dockerd and podman write whatever they are told; each gets an empty filesystem over it, in our mount namespace."""


class Engine(NamedTuple):
    """How to start one of them."""

    label: str
    command: list[str]
    host: str


def engines(scratch: Path) -> Iterator[Engine]:
    """Those that this host has, trioker first."""
    host = f"unix://{scratch}/{{}}.sock"
    yield Engine(
        "trioker", [sys.executable, str(PYZ), *_trioker(scratch, host.format("trioker"))], host.format("trioker")
    )
    if shutil.which("dockerd"):
        yield Engine("dockerd", ["dockerd", *_dockerd(scratch, host.format("dockerd"))], host.format("dockerd"))
    if shutil.which("podman"):
        yield Engine("podman", ["podman", *_podman(scratch, host.format("podman"))], host.format("podman"))


def _trioker(scratch: Path, host: str) -> list[str]:
    return ["-d", "-H", host, "-g", f"{scratch}/trioker", "--exec-root", f"{scratch}/trioker-run"]


def _dockerd(scratch: Path, host: str) -> list[str]:
    state = [
        "--data-root",
        f"{scratch}/dockerd",
        "--exec-root",
        f"{scratch}/dockerd-run",
        "--pidfile",
        f"{scratch}/dockerd.pid",
    ]
    network = ["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]
    return ["-H", host, *state, *network, "--cgroup-parent", "/trioker-bench"]


def _podman(scratch: Path, host: str) -> list[str]:
    state = ["--root", f"{scratch}/podman", "--runroot", f"{scratch}/podman-run", "--tmpdir", f"{scratch}/podman-tmp"]
    # crun refuses hosts that mount both versions of cgroups; without systemd there is no journal to write events to.
    tools = [
        "--cgroup-manager=cgroupfs",
        "--events-backend=none",
        *(["--runtime=runc"] if shutil.which("runc") else []),
    ]
    return [*state, *tools, "system", "service", "--time=0", host]


@contextlib.contextmanager
def running(engine: Engine, log: Path) -> Iterator[Subject]:
    """The engine started and its image imported; stopped at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(engine.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        _wait_until_ready(engine, process, log)
        with Subject(engine.label, engine.host, process.pid) as subject:
            yield subject
    finally:
        _stop(process)


def _wait_until_ready(engine: Engine, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), Client(engine.host) as client:
            client.call("GET", "/version")
            return
        time.sleep(0.05)
    raise SystemExit(f"{engine.label} does not answer. Its log:\n{log.read_text(errors='replace')[-2000:]}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def measure(scratch: Path, labels: Sequence[str], names: Sequence[str], rounds: int) -> list[Result]:
    """Each engine in turn, ``rounds`` times, so that what else the host does hits all alike."""
    with contextlib.ExitStack() as stack:
        wanted = [engine for engine in engines(scratch) if engine.label in labels]
        subjects = [stack.enter_context(running(engine, scratch / f"{engine.label}.log")) for engine in wanted]
        for _ in range(rounds):
            for subject in subjects:
                subject.measure(names)
        return [subject.result() for subject in subjects]


def run_privately() -> int:
    """Run this very command again in fresh namespaces and a fresh directory, and clean up; its exit status."""
    # The shell is process 1: it reaps the orphans that engines leave while it waits (so it must not exec; hence the last
    # command). When it ends, the kernel kills what still runs in the namespace.
    unshare = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
    script = f'for each in {" ".join(COVERED)}; do mount -t tmpfs tmpfs $each || exit; done; "$@"; exit $?'
    made = [each for each in COVERED if not os.path.isdir(each)]
    with tempfile.TemporaryDirectory(prefix="trioker-bench-", dir="/var/tmp") as scratch:
        command = [*unshare, "sh", "-c", script, "sh", sys.executable, "-m", "benchmarks.peers", *sys.argv[1:]]
        try:
            for each in made:
                os.makedirs(each)
            return subprocess.run(
                command, env=os.environ | {PRIVATE: scratch, "TMPDIR": scratch}, check=False
            ).returncode
        finally:
            remove_control_groups()
            for each in made:
                os.rmdir(each)


def remove_control_groups() -> None:
    """Those our engines made and emptied; rmdir refuses any that is in use."""
    for name in CONTROL_GROUPS:
        for top in Path("/sys/fs/cgroup").glob(f"*/{name}"):
            for directory, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(directory)


def main() -> int:
    """Measure all engines; print the table, write the samples and the plot."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description="Measure trioker beside dockerd and podman."
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=PYZ.parent / "benchmarks",
        help="directory for samples and plot (default: %(default)s)",
    )
    parser.add_argument("--engines", default="trioker,dockerd,podman", help="which (default: %(default)s)")
    add_amount(parser)
    given = parser.parse_args()
    if PRIVATE not in os.environ:
        return run_privately()
    given.out.mkdir(parents=True, exist_ok=True)
    results = measure(Path(os.environ[PRIVATE]), given.engines.split(","), given.only, given.rounds)
    for result in results:
        save(result, f"{given.out}/{result.label}.json")
    (given.out / "plot.svg").write_text(plot(results), encoding="utf-8")
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
