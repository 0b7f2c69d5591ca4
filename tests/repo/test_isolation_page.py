"""docs/isolation.md is true: its trioker columns are what the program says, and the tests it names are there."""

import re
from pathlib import Path

import pytest

from trioker.launcher import process
from trioker.linux import seccomp
from trioker.linux.capabilities import DEFAULT, NUMBERS
from trioker.linux.cgroup_layout import DEVICE_RULES
from trioker.runtime.spec import MASKED_PATHS, READONLY_PATHS

PROJECT = Path(__file__).parent.parent.parent
PAGE = (PROJECT / "docs" / "isolation.md").read_text()
ARCHES = ("x86_64", "aarch64")


def section(heading: str) -> str:
    """What is below a heading of any level, up to the next one."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


def rows(heading: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    lines = [line for line in section(heading).splitlines() if line.startswith("|")]
    return [[cell.strip().replace("\\*", "*") for cell in line.strip("|").split("|")] for line in lines[2:]]


def decided(verdict: str) -> set[str]:
    """The calls, of either architecture, that the filter of a default container answers so."""
    return {name for arch in ARCHES for name, answer in seccomp.policy(arch, DEFAULT).items() if answer == verdict}


def test_the_capabilities_are_the_default_ones():
    table = rows("Capabilities")
    assert {name for name, _, ours in table if ours == "yes"} == DEFAULT
    assert all(docker == ours for _, docker, ours in table)
    assert {name for name, _, _ in table} <= NUMBERS.keys()


def test_the_calls_allowed_are_those_of_the_filter():
    both = set(section("Allowed by both").strip().strip("`").split())
    alone = {name for name, _ in rows("Allowed by trioker alone")}
    assert not both & alone
    assert both | alone == decided("allow")


def test_the_calls_denied_are_all_others_once_each_with_the_filters_answer():
    listed = [(name, answer) for _, names, answer in rows("Denied by both") for name in names.split()]
    assert len(listed) == len(dict(listed))
    assert {name for name, answer in listed if answer == "EPERM"} == decided("EPERM")
    assert {name for name, answer in listed if answer == "ENOSYS"} == decided("ENOSYS")
    assert {name for name, _, _ in rows("By an argument")} == decided("argument")


def test_the_socket_families_are_those_of_the_filter():
    (cell,) = (ours for name, _, ours in rows("By an argument") if name == "socket")
    assert cell == f"not {' '.join(map(str, seccomp._DENIED_FAMILIES))} and from {seccomp._UNKNOWN_FAMILIES} on"


def test_the_personalities_are_those_of_the_filter():
    (cell,) = (docker for name, docker, _ in rows("By an argument") if name == "personality")
    assert cell == ", ".join(map(hex, seccomp._PERSONALITIES))


def test_the_requests_are_those_of_the_filter():
    (cell,) = (ours for name, _, ours in rows("By an argument") if name == "ioctl")
    assert cell == f"not {' '.join(map(hex, seccomp._DENIED_REQUESTS))}: EOPNOTSUPP"


@pytest.mark.parametrize(("heading", "paths"), [("Masked paths", MASKED_PATHS), ("Read-only paths", READONLY_PATHS)])
def test_the_paths_are_those_of_an_order(heading: str, paths: tuple[str, ...]):
    assert [path for path, _, _ in rows(heading)] == list(paths)
    assert all(docker == ours for _, docker, ours in rows(heading))


def test_the_device_rules_are_those_of_the_control_groups():
    assert [rule for rule, _, ours, _ in rows("Devices") if ours == "yes"] == list(DEVICE_RULES)


def test_the_margin_between_containers_and_the_daemon_is_the_launchers():
    (cell,) = (ours for what, _, ours, _ in rows("The rest") if what == "oom_score_adj")
    assert cell == f"{process._OOM_MARGIN} above the daemon's, at least 0"


@pytest.mark.parametrize("place", [place for _, place in rows("The attacks")])
def test_the_named_test_is_there(place: str):
    file, _, name = place.partition("::")
    assert re.search(rf"^(async )?def {name}\(", (PROJECT / file).read_text(), re.MULTILINE), place


def test_each_of_the_nine_duties_is_there():
    assert {attack[0] for attack, _ in rows("The attacks")} == set("123456789")
