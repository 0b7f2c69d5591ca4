import contextlib
import errno
import glob
import os
import signal
import stat

import pytest
from forked import in_child

from trioker.linux import cgroups
from trioker.linux.cgroup_layout import DEVICE_RULES
from trioker.linux.cgroups import Cgroup, Hierarchies, Limits
from trioker.linux.syscalls import clone3

pytestmark = pytest.mark.root

MIB = 2**20
PARENT = f"trioker-test-{os.getpid()}"


@pytest.fixture
def host():
    """This host's trees; afterwards nothing of ours is in them."""
    found = cgroups.detect()
    yield found
    cgroups.remove_parent(found, PARENT)
    assert glob.glob(f"/sys/fs/cgroup/**/{PARENT}*", recursive=True) == []


@contextlib.contextmanager
def group(host: Hierarchies, name: str = "x", **limits: int):
    made = cgroups.create(host, f"{PARENT}/{name}", Limits(**limits))
    try:
        yield made
    finally:
        assert made.kill()
        made.remove()


def need(able: bool, what: str) -> None:
    if not able:
        pytest.skip(f"this host has no {what}")


def unified_only() -> Hierarchies:
    """The host as if it had only its version 2 tree, whatever that offers."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        mounts = [line.split()[4] for line in file if " - cgroup2 " in line]
    need(bool(mounts), "version 2 tree")
    return Hierarchies({}, mounts[0], frozenset(), swap_limit=False)


def inside(made: Cgroup, function):
    """The function's result in a child that has moved itself in."""

    def child():
        made.enter_self()
        return function()

    return in_child(child)


def members(made: Cgroup) -> list[set[str]]:
    texts = []
    for path in made.paths:
        with open(f"{path}/cgroup.procs", encoding="utf-8") as file:
            texts.append(set(file.read().split()))
    return texts


def sleeper() -> int:
    """A child that waits to be killed."""
    pid = os.fork()
    if pid == 0:
        os.closerange(3, 256)  # or it would hold the pipe that the result of ``in_child`` comes through
        signal.alarm(60)
        signal.pause()
        os._exit(0)
    return pid


def opened(path: str) -> str:
    try:
        os.close(os.open(path, os.O_RDWR))
    except OSError as error:
        return errno.errorcode[error.errno]
    return "ok"


def can_make_and_open(name: str, mode: int, major: int, minor: int) -> str:
    os.mknod(name, mode | 0o600, os.makedev(major, minor))
    try:
        return opened(name)
    finally:
        os.unlink(name)


def test_directories_are_made_only_where_they_are_needed(host):
    need(host.version == "1", "version 1")
    with group(host, pids=50) as plain, group(host, "y", memory=64 * MIB, cpu_shares=512) as limited:
        assert [path.split("/")[4] for path in plain.paths] == ["pids", "devices", "cpu"]
        assert [path.split("/")[4] for path in limited.paths] == ["pids", "devices", "cpu", "memory"]
        assert plain.warnings == limited.warnings == ()


def test_a_process_that_entered_is_in_every_tree(host):
    with group(host, memory=64 * MIB) as made:
        assert inside(made, lambda: [str(os.getpid()) in each for each in members(made)]) == [True] * len(made.paths)


def test_a_process_can_be_moved_in_from_outside(host):
    with group(host) as made:
        pid = sleeper()
        try:
            made.enter(pid)
            assert members(made) == [{str(pid)}] * len(made.paths)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_too_much_memory_is_killed_and_counted(host):
    need(host.memory_limit, "memory controller")

    def eat():
        pid = os.fork()
        if pid == 0:
            hog = bytearray(256 * MIB)
            hog[::4096] = b"x" * len(hog[::4096])
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    with group(host, memory=48 * MIB, memory_swap=48 * MIB) as made:
        assert made.oom_kills() == 0
        assert inside(made, eat) == -signal.SIGKILL
        assert made.oom_kills() == 1
        assert cgroups.from_paths(list(made.paths)).oom_kills() == 1
    assert made.oom_kills() == 0


def test_a_fork_bomb_ends_at_the_limit_of_processes(host):
    need(host.pids_limit, "pids controller")

    def bomb():
        count = 1
        with contextlib.suppress(BlockingIOError):
            while count < 100:
                sleeper()
                count += 1
        return count, len(members(made)[0])  # when this one ends, the others are killed

    with group(host, pids=7) as made:
        assert inside(made, bomb) == [7, 7]
        assert made.kill()
        assert members(made) == [set()] * len(made.paths)


@pytest.mark.parametrize("tree", ["all", "unified"])
def test_only_the_default_devices_open(host, tree, tmp_path):
    def attempt():
        return {
            "known": [opened(f"/dev/{name}") for name in ("null", "zero", "full", "urandom")],
            "kmsg": can_make_and_open(f"{tmp_path}/kmsg", stat.S_IFCHR, 1, 11),
            "mem": can_make_and_open(f"{tmp_path}/mem", stat.S_IFCHR, 1, 1),
            "disk": can_make_and_open(f"{tmp_path}/disk", stat.S_IFBLK, *_disk()),
            "null": can_make_and_open(f"{tmp_path}/null", stat.S_IFCHR, 1, 3),
        }

    trees = host if tree == "all" else unified_only()
    try:
        with group(trees) as made:
            assert inside(made, attempt) == {
                "known": ["ok"] * 4,
                "kmsg": "EPERM",
                "mem": "EPERM",
                "disk": "EPERM",
                "null": "ok",
            }
    finally:
        cgroups.remove_parent(trees, PARENT)


def _disk() -> tuple[int, int]:
    device = os.stat("/").st_dev
    return os.major(device), os.minor(device)


def test_a_process_is_born_in_a_version_2_group():
    trees = unified_only()
    try:
        with group(trees) as made:
            fd = made.directory_fd()
            assert fd is not None
            pid, pidfd = clone3(0, fd)
            if pid == 0:
                signal.pause()
                os._exit(0)
            assert members(made) == [{str(pid)}]
            assert made.kill()
            os.waitpid(pid, 0)
            os.close(pidfd)
            os.close(fd)
    finally:
        cgroups.remove_parent(trees, PARENT)


def test_version_1_has_no_directory_to_be_born_in(host):
    need(host.version == "1", "version 1")
    with group(host) as made:
        assert made.directory_fd() is None


def test_children_inherit_the_device_rules_of_the_parent(host):
    need("devices" in host.v1, "version 1 devices")
    with group(host):
        for path in (PARENT, f"{PARENT}/x"):
            with open(f"{host.v1['devices']}/{path}/devices.list", encoding="utf-8") as file:
                assert set(file.read().splitlines()) == set(DEVICE_RULES)


def test_a_parent_with_other_device_rules_is_not_trusted(host, tmp_path):
    need("devices" in host.v1, "version 1 devices")
    os.mkdir(f"{host.v1['devices']}/{PARENT}")
    with group(host) as made:
        assert inside(made, lambda: can_make_and_open(f"{tmp_path}/kmsg", stat.S_IFCHR, 1, 11)) == "EPERM"


def test_groups_made_at_the_same_moment_all_have_the_rules(host):
    need("devices" in host.v1, "version 1 devices")

    def child(number: int) -> int:
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(OSError):
                cgroups.create(host, f"{PARENT}/{number}", Limits(pids=9))
                os._exit(0)
            os._exit(1)
        return pid

    children = [child(number) for number in range(16)]
    made = [
        cgroups.from_paths([host.place(each, f"{PARENT}/{number}") for each in ("pids", "devices", "cpu")])
        for number in range(16)
    ]
    try:
        assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 16
        for number in range(16):
            with open(f"{host.v1['devices']}/{PARENT}/{number}/devices.list", encoding="utf-8") as file:
                assert set(file.read().splitlines()) == set(DEVICE_RULES)
    finally:
        for each in made:
            each.remove()


def test_what_a_crash_left_is_made_anew(host):
    cgroups.create(host, f"{PARENT}/x", Limits(pids=3))
    with group(host, pids=50) as made, open(f"{made.paths[0]}/pids.max", encoding="utf-8") as file:
        assert file.read() == "50\n"


def test_a_group_in_use_is_not_taken_over(host):
    with group(host) as made:
        pid = sleeper()
        made.enter(pid)
        with pytest.raises(OSError, match="busy"):
            cgroups.create(host, f"{PARENT}/x", Limits())
        assert members(made) == [{str(pid)}] * len(made.paths)
        assert made.kill()
        os.waitpid(pid, 0)


def test_a_limit_the_kernel_refuses_is_named_and_nothing_is_left(host):
    with pytest.raises(OSError, match=r"'-5'.*pids\.max"):
        cgroups.create(host, f"{PARENT}/x", Limits(pids=-5))
    assert glob.glob(f"/sys/fs/cgroup/**/{PARENT}/x", recursive=True) == []


def test_killing_and_removing_reaches_groups_made_inside(host):
    with group(host) as made:
        nested = f"{made.paths[0]}/a/b"
        os.makedirs(nested)
        pid = sleeper()
        with open(f"{nested}/cgroup.procs", "w", encoding="utf-8") as file:
            file.write(str(pid))
        assert made.kill()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_a_group_in_use_is_not_removed_and_told(host):
    with group(host) as made:
        pid = sleeper()
        made.enter(pid)
        with pytest.raises(OSError, match="still in use"):
            made.remove(timeout=0)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        made.remove()
        made.remove()
        assert made.kill()


def test_the_parent_stays_while_something_is_in_it(host):
    with group(host) as made:
        cgroups.remove_parent(host, PARENT)
        assert all(os.path.isdir(path) for path in made.paths)
