import os
from pathlib import Path

import pytest

from trioker import check_host
from trioker.check_host import MISSING, OK, WARN, Finding
from trioker.linux import capabilities
from trioker.linux.cgroups import Hierarchies

V1 = Hierarchies(dict.fromkeys(("memory", "cpu", "pids", "devices"), "/cg"), "", frozenset(), swap_limit=True)
V2 = Hierarchies({}, "/cg", frozenset({"memory", "cpu", "pids"}), swap_limit=False)
NONE = Hierarchies({}, "", frozenset(), swap_limit=False)


@pytest.mark.parametrize(
    ("release", "mark"),
    [
        ("5.12.0", OK),
        ("6.1.0-9-amd64", OK),
        ("6.18.44-fc", OK),
        ("5.11.22", MISSING),
        ("4.19.0", MISSING),
        ("strange", MISSING),
    ],
)
def test_a_kernel_is_judged_by_its_version(release, mark):
    assert check_host.kernel(release).mark == mark


def test_an_unknown_machine_cannot_run_it():
    assert check_host.machine("riscv64") == Finding(
        MISSING, "architecture", "riscv64 is not one of x86_64, aarch64", needed=True
    )


def test_a_python_of_the_future_is_only_warned_about():
    assert check_host.python((3, 15)).mark == WARN
    assert check_host.python((3, 14)).mark == OK


def test_another_user_than_root_cannot_run_it():
    root, held = check_host.privileges(1000, frozenset())
    assert (root.mark, held.mark) == (MISSING, MISSING)
    assert "SYS_ADMIN" in held.meaning


def test_a_capability_that_only_containers_miss_is_a_warning():
    _, held = check_host.privileges(0, frozenset(capabilities.NUMBERS) - {"SYS_RESOURCE"})
    assert held.mark == WARN
    assert "SYS_RESOURCE" in held.meaning


def test_each_controller_has_its_line():
    assert [each.mark for each in check_host.control_groups(V1)] == [OK] * 6
    assert {each.subject: each.mark for each in check_host.control_groups(V2)}["cgroup swap"] == WARN


def test_without_control_groups_it_cannot_run():
    (only,) = check_host.control_groups(NONE)
    assert only.needed
    assert only.mark == MISSING


def test_one_line_per_finding_and_a_verdict(monkeypatch, tmp_path):
    monkeypatch.setattr(
        check_host,
        "look",
        lambda *_: [
            Finding(OK, "a", "fine"),
            Finding(MISSING, "bcd", "gone", needed=True),
            Finding(MISSING, "e", "gone"),
        ],
    )
    assert check_host.report(tmp_path, ()) == (
        1,
        "ok       a    fine\nmissing  bcd  gone\nmissing  e    gone\n\ntrioker cannot run here: bcd\n",
    )


def test_the_real_host_is_looked_at_without_an_error(tmp_path):
    subjects = [each.subject for each in check_host.look(tmp_path, ())]
    assert {"kernel", "root", "seccomp", "nftables", "net namespace", "user namespace", "storage overlay"} <= set(
        subjects
    )


def test_a_user_namespace_that_cannot_be_is_no_more_than_a_warning(tmp_path):
    """Without root there can be none; with it, not on a filesystem that maps no ids."""
    found = check_host.user_namespace(tmp_path if os.geteuid() else Path("/proc/self/ns"))
    assert found.mark == WARN
    assert found.meaning.endswith(": no --userns-remap here")
    assert not found.needed


def test_where_a_root_will_be_is_looked_at_before_it_is_there(tmp_path):
    assert check_host.user_namespace(tmp_path / "not" / "yet") == check_host.user_namespace(tmp_path)
