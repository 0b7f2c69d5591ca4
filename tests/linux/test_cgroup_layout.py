"""Finding the hierarchies of version 1, version 2 and mixed hosts, and what is written there."""

import pytest

from trioker.linux.cgroup_layout import Hierarchies, Limits, cpu_weight, detect, left_out, obstacle, settings
from trioker.linux.cgroups import create

V1 = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:20 / /sys/fs/cgroup ro,nosuid shared:2 - tmpfs tmpfs ro,mode=755
24 23 0:21 / /sys/fs/cgroup/systemd rw,nosuid shared:3 - cgroup cgroup rw,xattr,name=systemd
25 23 0:22 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:4 - cgroup cgroup rw,cpu,cpuacct
26 23 0:23 / /sys/fs/cgroup/memory rw,nosuid shared:5 - cgroup cgroup rw,memory
27 23 0:24 / /sys/fs/cgroup/devices rw,nosuid shared:6 - cgroup cgroup rw,devices
28 23 0:25 / /sys/fs/cgroup/pids rw,nosuid shared:7 - cgroup cgroup rw,pids
29 22 0:26 /docker/x /srv/other rw,nosuid - cgroup cgroup rw,memory
"""
V2 = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
25 22 0:22 / /sys/fs/cgroup rw,nosuid,nodev shared:4 - cgroup2 cgroup2 rw,nsdelegate
"""
UNIFIED = "30 23 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
MEMSW = {"/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes": "9223372036854771712\n"}


def host(mountinfo: str, **files: str) -> Hierarchies:
    texts = {"/proc/self/mountinfo": mountinfo, "/proc/swaps": "Filename Type Size Used Priority\n"} | files
    return detect(lambda path: texts.get(path, ""))


def v1_host() -> Hierarchies:
    return host(V1, **MEMSW)


def v2_host(controllers: str = "cpuset cpu io memory hugetlb pids", **files: str) -> Hierarchies:
    return host(V2, **{"/sys/fs/cgroup/cgroup.controllers": controllers}, **files)


def test_a_version_1_host_has_a_tree_per_controller():
    found = v1_host()
    assert found.v1 == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/sys/fs/cgroup/memory",
        "devices": "/sys/fs/cgroup/devices",
        "pids": "/sys/fs/cgroup/pids",
    }
    assert (found.version, found.v2) == ("1", "")
    assert all((found.memory_limit, found.swap_limit, found.cpu_shares, found.pids_limit))


def test_a_version_2_host_has_one_tree():
    found = v2_host()
    assert (found.version, found.v1, found.v2) == ("2", {}, "/sys/fs/cgroup")
    assert found.v2_controllers == {"cpu", "memory", "pids"}
    assert all((found.memory_limit, found.swap_limit, found.cpu_shares, found.pids_limit))


def test_a_version_2_tree_without_controllers_of_ours_is_left_alone_on_a_mixed_host():
    found = host(V1 + UNIFIED, **MEMSW, **{"/sys/fs/cgroup/unified/cgroup.controllers": "hugetlb\n"})
    assert (found.version, found.v2) == ("1", "")


def test_a_mixed_host_is_asked_for_each_controller():
    text = "".join(line for line in V1.splitlines(keepends=True) if "memory" not in line) + UNIFIED
    found = host(text, **{"/sys/fs/cgroup/unified/cgroup.controllers": "memory hugetlb\n"})
    assert found.version == "hybrid"
    assert found.place("memory", "a/b") == "/sys/fs/cgroup/unified/a/b"
    assert found.place("pids", "a/b") == "/sys/fs/cgroup/pids/a/b"
    assert found.place("devices", "a/b") == "/sys/fs/cgroup/devices/a/b"


def test_device_rules_need_no_controller_on_version_2():
    assert v2_host(controllers="").place("devices", "a/b") == "/sys/fs/cgroup/a/b"


@pytest.mark.parametrize(
    ("processes", "handed_down"), [("12\n", {"pids"}), ("0\n", {"pids"}), ("", {"memory", "pids"})]
)
def test_the_top_of_a_namespace_with_processes_in_it_hands_down_no_more_than_it_does(processes, handed_down):
    texts = {"type": "domain\n", "procs": processes, "subtree_control": "pids\n"}
    found = v2_host("memory pids", **{f"/sys/fs/cgroup/cgroup.{name}": text for name, text in texts.items()})
    assert found.v2_controllers == handed_down


def test_a_readonly_mount_is_no_use():
    found = host(V2.replace("rw,nosuid,nodev", "ro,nosuid,nodev"), **{"/sys/fs/cgroup/cgroup.controllers": "memory"})
    assert (found.version, found.memory_limit) == ("none", False)


def test_a_mount_point_with_a_blank_is_decoded():
    assert host(V2.replace("/sys/fs/cgroup", "/a\\040b")).v2 == "/a b"


@pytest.mark.parametrize("missing", [{"/proc/swaps": ""}, {"/proc/cmdline": "quiet swapaccount=0\n"}])
def test_swap_cannot_be_limited_where_the_kernel_does_not_count_it(missing):
    assert not v2_host(**missing).swap_limit
    assert not host(V1, **missing).swap_limit


def written(found: Hierarchies, limits: Limits) -> list[tuple[str, str]]:
    return [(file.removeprefix("/sys/fs/cgroup"), value) for file, value in settings(found, "t/x", limits)]


def test_version_1_limits_memory_before_memory_and_swap():
    assert written(v1_host(), Limits(memory=1000, memory_swap=1500, cpu_shares=512, pids=9)) == [
        ("/pids/t/x/pids.max", "9"),
        ("/memory/t/x/memory.limit_in_bytes", "1000"),
        ("/memory/t/x/memory.memsw.limit_in_bytes", "1500"),
        ("/cpu,cpuacct/t/x/cpu.shares", "512"),
    ]


def test_version_2_counts_swap_alone():
    assert written(v2_host(), Limits(memory=1000, memory_swap=1500, cpu_shares=1024, pids=9)) == [
        ("/t/x/pids.max", "9"),
        ("/t/x/memory.max", "1000"),
        ("/t/x/memory.swap.max", "500"),
        ("/t/x/cpu.weight", "100"),
    ]


@pytest.mark.parametrize(("swap", "v1", "v2"), [(0, "2000", "1000"), (-1, "-1", "max"), (1000, "1000", "0")])
def test_swap_is_as_much_as_memory_when_unset_and_unlimited_when_minus_one(swap, v1, v2):
    limits = Limits(memory=1000, memory_swap=swap)
    assert written(v1_host(), limits)[-1][1] == v1
    assert written(v2_host(), limits)[-1][1] == v2


def test_swap_without_memory_says_nothing():
    assert written(v1_host(), Limits(memory_swap=1000)) == []


def test_less_memory_and_swap_than_memory_is_refused():
    with pytest.raises(ValueError, match="are less than memory"):
        settings(v1_host(), "t/x", Limits(memory=1000, memory_swap=999))


def test_what_the_host_cannot_limit_is_left_out_and_told():
    bare = v2_host(controllers="")
    limits = Limits(memory=1000, cpu_shares=2, pids=3)
    assert written(bare, limits) == []
    assert [each.partition(" left out")[0] for each in left_out(bare, limits)] == [
        "memory limit",
        "cpu shares",
        "limit of processes",
    ]
    assert left_out(bare, Limits()) == ()


def test_missing_swap_accounting_is_told():
    (warning,) = left_out(host(V1), Limits(memory=1000))
    assert warning.startswith("swap limit left out")
    assert left_out(host(V1), Limits(memory=1000, memory_swap=-1)) == ()


@pytest.mark.parametrize(("shares", "weight"), [(0, 1), (2, 1), (1024, 100), (262144, 10000), (10**9, 10000)])
def test_shares_become_a_weight_with_ends_and_middle_where_they_belong(shares, weight):
    assert cpu_weight(shares) == weight


def test_more_shares_are_never_less_weight():
    weights = [cpu_weight(shares) for shares in range(2, 262145, 61)]
    assert weights == sorted(weights)


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "..", "a/../b", "./a"])
def test_a_path_out_of_our_subtree_is_refused(path):
    with pytest.raises(ValueError, match="bad control group path"):
        create(v1_host(), path, Limits())


def test_without_device_rules_there_is_no_container():
    with pytest.raises(OSError, match="device rules"):
        create(Hierarchies({}, "", frozenset(), swap_limit=False), "t/x", Limits())


def seen(mountinfo: str, own: str) -> str:
    """The obstacle on a version 2 host with these mounts, for a process in the group ``own``."""
    texts = {
        "/proc/self/mountinfo": mountinfo,
        "/proc/self/cgroup": f"0::{own}\n",
        "/sys/fs/cgroup/cgroup.controllers": "cpu memory pids",
    }
    read = lambda path: texts.get(path, "")  # noqa: E731
    return obstacle(detect(read), read)


@pytest.mark.parametrize(
    ("mountinfo", "own"),
    [
        (V2, "/"),
        (V2, "/system.slice/trioker.service"),
        (V2.replace("0:22 /", "0:22 /ours"), "/"),
        (V2.replace("0:22 /", "0:22 /..").replace(",nsdelegate", ""), "/"),
    ],
)
def test_groups_that_a_process_can_get_into_are_no_obstacle(mountinfo, own):
    assert seen(mountinfo, own) == ""


@pytest.mark.parametrize(
    ("mountinfo", "own"),
    [(V2.replace("0:22 /", "0:22 /.."), "/"), (V2.replace("0:22 /", "0:22 /../.."), "/"), (V2, "/../other")],
)
def test_groups_of_another_namespace_are_told(mountinfo, own):
    assert "/sys/fs/cgroup belong to another cgroup namespace than this process" in seen(mountinfo, own)


@pytest.mark.parametrize(
    "mountinfo", ["", V2.replace(" rw,nosuid", " ro,nosuid"), V1.replace("cgroup rw,devices", "cgroup rw")]
)
def test_a_host_without_groups_for_device_rules_is_told(mountinfo):
    assert "no control groups for device rules are mounted writable" in seen(mountinfo, "/")
