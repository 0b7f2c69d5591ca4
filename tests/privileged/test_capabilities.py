import os
import subprocess

import pytest
from forked import in_child

from trioker.linux import capabilities
from trioker.linux.capabilities import DEFAULT, NUMBERS

pytestmark = pytest.mark.root


def sets(text: str) -> dict[str, list[str]]:
    """The capability lines of /proc/pid/status as names."""
    lines = dict(line.split(":\t") for line in text.splitlines() if line.startswith("Cap"))
    return {
        key: sorted(name for name, number in NUMBERS.items() if int(mask, 16) >> number & 1)
        for key, mask in lines.items()
    }


def own() -> dict[str, list[str]]:
    with open("/proc/self/status", encoding="utf-8") as file:
        return sets(file.read())


def executed() -> dict[str, list[str]]:
    """What a program has that this process executes."""
    return sets(subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout)


def held(names: object = DEFAULT) -> list[str]:
    return sorted(capabilities.current().intersection(names))


def take_on_user(uid: int) -> None:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


def test_current_is_what_the_kernel_says():
    assert sorted(capabilities.current()) == own()["CapPrm"]


def test_a_limited_root_and_what_it_executes_have_the_given_names_only():
    def child():
        capabilities.limit_bounding(DEFAULT)
        capabilities.set_capabilities(DEFAULT)
        return [own(), executed()]

    wanted = {"CapInh": [], "CapPrm": held(), "CapEff": held(), "CapBnd": held(), "CapAmb": []}
    assert in_child(child) == [wanted, wanted]


def test_another_user_and_what_it_executes_have_nothing():
    def child():
        capabilities.limit_bounding(DEFAULT)
        capabilities.keep(across_setuid=False)
        take_on_user(1000)
        left_out = capabilities.set_capabilities(DEFAULT)
        return [sorted(left_out), own(), executed()]

    nothing = {"CapInh": [], "CapPrm": [], "CapEff": [], "CapBnd": held(), "CapAmb": []}
    assert in_child(child) == [sorted(DEFAULT), nothing, nothing]


def test_not_keeping_undoes_an_inherited_keeping():
    def child():
        capabilities.keep(across_setuid=True)
        capabilities.keep(across_setuid=False)
        take_on_user(1000)
        return own()["CapPrm"]

    assert in_child(child) == []


def test_keeping_keeps_the_permitted_set():
    def child():
        capabilities.set_capabilities({"KILL", "SETUID", "SETGID"})
        capabilities.keep(across_setuid=True)
        take_on_user(1000)
        return own()["CapPrm"]

    assert in_child(child) == ["KILL", "SETGID", "SETUID"]


def test_what_the_process_lacks_is_left_out_and_returned():
    def child():
        first = capabilities.limit_bounding({"KILL", "SETPCAP"})
        then = capabilities.limit_bounding({"KILL", "CHOWN"})
        capabilities.set_capabilities({"KILL"})
        last = capabilities.set_capabilities({"KILL", "FOWNER"})
        return [sorted(first), sorted(then), sorted(last), sorted(capabilities.current())]

    assert in_child(child) == [[], ["CHOWN"], ["FOWNER"], ["KILL"]]


def test_the_inheritable_set_is_filled_only_when_asked_for():
    def child():
        capabilities.set_capabilities({"KILL"}, inheritable=True)
        filled = own()["CapInh"]
        capabilities.set_capabilities({"KILL"})
        return [filled, own()["CapInh"]]

    assert in_child(child) == [["KILL"], []]


def test_the_bounding_set_is_not_limited_without_setpcap():
    def child():
        capabilities.set_capabilities({"KILL"})
        with pytest.raises(PermissionError):
            capabilities.limit_bounding({"KILL"})
        return own()["CapBnd"]

    assert in_child(child) == own()["CapBnd"]
