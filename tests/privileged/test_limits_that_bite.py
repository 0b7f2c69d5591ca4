"""Containers that want more than they may have, of anything: they do not get it, and the daemon and the others do not notice.

Nothing here can get out of hand where a limit of ours should fail: bombs run as a user, and the daemon hands on an rlimit of processes.
"""

import contextlib
import os
import resource
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import hogs
import pytest
from attacker import attacker_tar, python
from build_yard import Yard
from daemon import Daemon, control_groups, launcher_of, processes, running_daemon
from host_state import processes_with
from polling import PATIENCE, wait_until

from trioker.linux import capabilities

pytestmark = pytest.mark.root

KILLED = 137
PROCESSES, FILES = 100, 512
GUARD = 400
"""The most processes user www may have, all his containers together."""
MIB = 2**20


@pytest.fixture(scope="module")
def daemon(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    limits = ["--default-pids-limit", str(PROCESSES)]
    for each in (f"nofile={FILES}:{2 * FILES}", "core=0"):
        limits += ["--default-ulimit", each]
    with running_daemon(
        pyz, tmp_path_factory.mktemp("limits"), *limits, prefix=["prlimit", f"--nproc={GUARD}:{GUARD}"]
    ) as daemon:
        daemon.api.import_image(attacker_tar(), "base")
        yield daemon


class Hog(NamedTuple):
    """A container that takes all it gets, and the mark in its processes' environment."""

    container: str
    mark: str


@contextlib.contextmanager
def hog(daemon: Daemon, code: str, **config: object) -> Iterator[Hog]:
    """One that is full already. It is removed at the end if it is still there, and then nothing of it is left."""
    mark = f"MARK={uuid.uuid4()}"
    container = daemon.api.create(*python(code), Env=[mark], **{"User": "www", **config})
    daemon.api.start(container)
    try:
        wait_until(lambda: b"full" in daemon.api.logs(container), "a limit that was reached")
        yield Hog(container, mark)
    finally:
        if daemon.api.call("GET", f"/containers/{container}/json").status == 200:
            daemon.api.remove(container)
    assert not control_groups([container])
    assert not processes_with(mark)


def neighbours_go_on(daemon: Daemon, running: str) -> None:
    """The daemon answers, one that ran before answers, and another runs from its beginning to its end."""
    with daemon.api.attach(running, "stream=1&stdin=1&stdout=1") as attached:
        attached.send(b"still there\n")
        attached.read_until(b"still there\n")
    assert daemon.api.inspect(running)["State"]["Running"]
    assert daemon.api.run("sh", "-c", "seq 1 1000 | tail -n 1") == (0, b"1000\n")


@pytest.fixture(scope="module")
def echo(daemon: Daemon) -> str:
    """A container that was there before."""
    container = daemon.api.create("cat", OpenStdin=True)
    daemon.api.start(container)
    return container


# -- what a container may not have more of ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["FORK_BOMB", "ZOMBIES", "DESCRIPTORS", "PROCESSORS", "DESERTERS", "OUTPUT"])
def test_a_hog_disturbs_nobody_and_leaves_nothing(daemon: Daemon, echo: str, name: str):
    with hog(daemon, getattr(hogs, name)) as it:
        neighbours_go_on(daemon, echo)
        assert len(members(it.container)) <= PROCESSES


def test_output_that_nobody_takes_holds_up_nobody_else(daemon: Daemon, echo: str):
    with hog(daemon, hogs.OUTPUT) as it, daemon.api.attach(it.container, "stream=1&stdout=1"):
        neighbours_go_on(daemon, echo)


def test_all_that_a_user_may_watch_files_with_comes_back(daemon: Daemon, echo: str):
    with hog(daemon, hogs.WATCHES):
        neighbours_go_on(daemon, echo)
    with hog(daemon, hogs.WATCHES):
        pass


def test_shared_memory_is_as_large_as_it_is_said_to_be(daemon: Daemon, echo: str):
    with hog(daemon, hogs.SHARED_MEMORY) as it:
        neighbours_go_on(daemon, echo)
        pid = daemon.api.inspect(it.container)["State"]["Pid"]
        assert os.stat(f"/proc/{pid}/root/dev/shm/file").st_size == 64 * MIB


def test_a_memory_hog_is_killed_and_that_is_told(daemon: Daemon, echo: str):
    grow = "kept = []\nwhile True:\n    kept.append(b'x' * 2**20)"
    container = daemon.api.create(*python(grow), Memory=48 * MIB, MemorySwap=48 * MIB)
    daemon.api.start(container)
    neighbours_go_on(daemon, echo)
    assert daemon.api.wait(container) == KILLED
    assert daemon.api.inspect(container)["State"]["OOMKilled"]
    daemon.api.remove(container)
    assert not control_groups([container])


def test_shared_memory_counts_as_memory(daemon: Daemon):
    container = daemon.api.create(*python(hogs.SHARED_MEMORY), Memory=32 * MIB, MemorySwap=32 * MIB)
    daemon.api.start(container)
    assert daemon.api.wait(container) == KILLED
    assert daemon.api.inspect(container)["State"]["OOMKilled"]


def test_of_two_that_want_a_whole_processor_each_gets_its_share(daemon: Daemon):
    api = daemon.api
    spinning = [api.create("sh", "-c", "while :; do :; done", CpuShares=each) for each in (4096, 256)]
    pids = []
    for each in spinning:
        api.start(each)
        pids.append(api.inspect(each)["State"]["Pid"])
        os.sched_setaffinity(pids[-1], {max(os.sched_getaffinity(0))})
    begin = [used(pid) for pid in pids]
    wait_until(lambda: sum(map(used, pids)) > sum(begin) + 1.0, "a second of work")
    more, less = (used(pid) - first for pid, first in zip(pids, begin, strict=True))
    for each in spinning:
        api.remove(each)
    assert more > 4 * less, (more, less)  # 16 times as much, if all began at once


def used(pid: int) -> float:
    """Seconds of a processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# -- ending one that does not want to ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["STUBBORN_BOMB", "DESERTERS"])
@pytest.mark.parametrize("end", ["stop?t=0", "kill"])
def test_one_that_forks_while_it_is_killed_is_gone_whole(daemon: Daemon, name: str, end: str):
    with hog(daemon, getattr(hogs, name)) as it:
        daemon.api.ok("POST", f"/containers/{it.container}/{end}")
        assert not processes_with(it.mark)
        assert daemon.api.wait(it.container) == KILLED


# -- limits for all ---------------------------------------------------------------------------------------------------


def test_every_container_has_the_limits_the_daemon_was_told(daemon: Daemon):
    code, output = daemon.api.run("sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -Hu; ulimit -Hc", User="www")
    assert (code, output.split()) == (0, [b"512", b"1024", b"400", b"0"])


def test_every_step_of_a_build_has_them_too(daemon: Daemon):
    yard = Yard(daemon.api, "limited")
    said = yard.build(
        "FROM base\nRUN ulimit -Sn; ulimit -Hn; (while true; do sleep 100 & echo $! started; done) || true"
    )
    assert "512\n1024\n" in said
    assert "can't fork" in said
    assert said.count(" started\n") == PROCESSES - 2  # as many as there may be, without the two shells


def test_a_limit_above_the_daemons_own_is_cut_and_told_once(pyz: Path, tmp_path: Path):
    if "SYS_RESOURCE" in capabilities.current():
        pytest.skip("this daemon may raise every limit")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with running_daemon(pyz, tmp_path, "--default-ulimit", f"nofile=100:{most + 1}") as daemon:
        daemon.api.import_image(attacker_tar(), "base")
        assert daemon.api.run("sh", "-c", "ulimit -Sn; ulimit -Hn") == (0, f"100\n{most}\n".encode())
        assert daemon.log_text().count(f"cut to {most}") == 1


def test_without_control_groups_the_daemon_does_not_start_and_says_why(pyz: Path, tmp_path: Path):
    hidden = 'umount -l /sys/fs/cgroup && exec "$@"'  # as "ip netns exec" has it
    daemon = Daemon(pyz, tmp_path, prefix=["unshare", "--mount", "sh", "-c", hidden, "sh"])
    ended = subprocess.run(daemon.command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert ended.returncode == 1
    assert "no control groups for device rules are mounted writable" in ended.stderr
    assert "Traceback" not in ended.stderr


# -- who is ended first when the host has no memory left --------------------------------------------------------------


def test_the_kernel_ends_containers_before_daemon_launcher_and_monitors(daemon: Daemon, echo: str):
    container = oom_score(daemon.api.inspect(echo)["State"]["Pid"])
    names = processes(daemon)
    assert {"trioker-launch", "trioker-monitor"} <= set(names.values())
    ours = {oom_score(pid) for pid, name in names.items() if name != "trioker-init"}
    assert ours == {oom_score(daemon.pid)} == {oom_score(launcher_of(daemon))}
    assert container == max(0, oom_score(daemon.pid) + 500)


def oom_score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def test_daemon_launcher_and_monitors_are_in_no_group_of_a_container(daemon: Daemon, echo: str):
    assert members(echo) == {daemon.api.inspect(echo)["State"]["Pid"]}
    assert not members(echo) & processes(daemon).keys()


def members(container: str) -> set[int]:
    """The processes in any of its control groups."""
    files = [Path(each, "cgroup.procs") for each in control_groups([container])]
    return {int(pid) for each in files for pid in each.read_text().split()}
