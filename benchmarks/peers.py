"""``python -m benchmarks.peers``: trioker beside dockerd and podman, where installed, in one run, round by round.

Everything happens in mount, pid and network namespaces of its own (this program starts itself again in them), so that whatever an engine
leaves behind, mounts, disks, processes or links, goes with them; directories and control groups are removed at the end.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.__main__ import add_amount
from benchmarks.client import NETWORK
from benchmarks.engines import PYZ, engines, measured
from benchmarks.plot import plot
from benchmarks.report import table
from benchmarks.results import Result, save

PRIVATE = "TRIOKER_BENCH_PRIVATE"
CONTROL_GROUPS = ("trioker-bench", "libpod_parent", "trioker")
COVERED = ("/run", "/etc/docker", "/var/lib/containers", "/var/cache/containers", "/dev/shm")
"""Where dockerd and podman write whatever they are told, and where registries lie; each gets an empty filesystem over it, in our mount namespace."""

NAMESPACES = ("unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc", "--net")


def measure(scratch: Path, labels: Sequence[str], names: Sequence[str], rounds: int, root_tar: str) -> list[Result]:
    """Each engine in turn, ``rounds`` times, so that what else the host does hits all alike."""
    with contextlib.ExitStack() as stack:
        wanted = [engine for engine in engines(scratch) if engine.label in labels]
        subjects = [stack.enter_context(measured(engine, root_tar)) for engine in wanted]
        for _ in range(rounds):
            for subject in subjects:
                subject.measure(names)
        return [subject.result() for subject in subjects]


def run_privately(module: str = "benchmarks.peers") -> int:
    """Run this very command again in fresh namespaces and a fresh directory, and clean up; its exit status."""
    # The shell is process 1: it reaps the orphans that engines leave while it waits (so it must not exec; hence the last
    # command). When it ends, the kernel kills what still runs in the namespace.
    script = f'for each in {" ".join(COVERED)}; do mount -t tmpfs tmpfs $each || exit; done; ip link set lo up; "$@"; exit $?'
    made = [each for each in COVERED if not os.path.isdir(each)]
    with tempfile.TemporaryDirectory(prefix="trioker-bench-", dir="/var/tmp") as scratch:
        command = [*NAMESPACES, "sh", "-c", script, "sh", sys.executable, "-m", module, *sys.argv[1:]]
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
    parser.add_argument(
        "--network", action="store_true", help="containers on each engine's bridge (default: loopback only)"
    )
    given = parser.parse_args()
    if given.network:
        os.environ[NETWORK] = "bridge"
    if PRIVATE not in os.environ:
        return run_privately()
    given.out.mkdir(parents=True, exist_ok=True)
    results = measure(Path(os.environ[PRIVATE]), given.engines.split(","), given.only, given.rounds, given.root_tar)
    for result in results:
        save(result, f"{given.out}/{result.label}.json")
    (given.out / "plot.svg").write_text(plot(results), encoding="utf-8")
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
