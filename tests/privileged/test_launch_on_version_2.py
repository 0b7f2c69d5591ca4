"""The launcher where control groups are of version 2 alone, as far as a host of version 1 can play it: no controller is to be had there."""

import contextlib
import json
import os
from pathlib import Path

import pytest
from archives import archive, member
from launcher_lab import START, Lab, labs_opened
from polling import wait_until

from trioker.launcher.spec import UnpackSpec
from trioker.launcher.userns import Range, Remap

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(" - cgroup2 " not in Path("/proc/self/mountinfo").read_text(), reason="no version 2 tree here"),
]

HURRY = "from trioker.launcher import init; init._START_WITHIN = 1; from trioker.launcher.zygote"


class Unified(Lab):
    """A launcher that sees no tree of version 1."""

    prefix = ("unshare", "--mount", "sh", "-c", 'umount -a -t cgroup; exec "$@"', "sh")


@pytest.fixture
def lab_with(tmp_path):
    """A launcher with these flags. Nothing of it is left."""
    with labs_opened(tmp_path / "lab", Unified) as open_lab:
        yield open_lab


def waiting(lab):
    """The process that waits for an order, once it has made the namespaces."""
    return wait_until(lambda: next(filter(has_made_them, lab.processes()), None), "an init that waits")


def name(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()


def has_made_them(pid):
    """The kernel does not show a namespace of processes that has none yet."""
    return os.path.exists(f"/proc/{pid}/ns/net") and not os.path.exists(f"/proc/{pid}/ns/pid_for_children")


def test_a_container_gets_the_namespaces_that_were_made_before_its_order(lab_with):
    lab = lab_with()
    maker = waiting(lab)
    made = {kind: os.readlink(f"/proc/{maker}/ns/{kind}") for kind in ("net", "ipc", "uts")}
    assert not {*made.values()} & {os.readlink(f"/proc/self/ns/{kind}") for kind in made}
    pid = lab.launch("one", "sleep", "1000").started["pid"]
    assert {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in made} == made
    assert pid != maker
    wait_until(lambda: maker not in lab.processes(), "the maker's end")


def test_its_first_process_is_born_in_the_group_that_has_its_name(lab_with):
    lab = lab_with()
    line = lab.launch("one", "sleep", "1000")
    (group,) = lab.cgroups()
    assert Path(group).name == lab.names[0]
    assert str(line.started["pid"]) in Path(group, "cgroup.procs").read_text().split()
    assert lab.record("one", "running.json")["cgroups"] == [group]


def test_it_sees_its_own_processes_group_and_loopback_only(lab_with):
    lab = lab_with()
    script = "grep 0:: /proc/self/cgroup; echo /proc/[0-9]*; ip link | grep -c mtu; ip addr | grep -c 127.0.0.1"
    assert lab.sh("one", script).splitlines() == ["0::/", "/proc/1", "1", "1"]


def test_each_of_several_may_open_only_the_usual_devices(lab_with):
    """The kernel has one program for all of them."""
    lab = lab_with()
    for each in ("one", "two"):
        text = lab.sh(each, f"mknod /tmp/{each} c 240 0; cat /tmp/{each} 2>&1; echo > /dev/null && echo fine")
        assert text == f"cat: can't open '/tmp/{each}': Operation not permitted\nfine\n"


def test_a_launch_that_hangs_in_its_group_ends_in_time(lab_with, monkeypatch):
    """The alarm set before does not pass to the process that goes on."""
    monkeypatch.setattr("launcher_lab.START", START.replace("from trioker.launcher.zygote", HURRY))
    lab = lab_with()
    spec = lab.spec("one", "true")
    os.mkfifo(lab.path / "one" / "run" / "running.json.new")  # nobody reads it
    failed = lab.order(spec).hear()
    assert failed["stage"] == "monitor"
    assert failed["message"].endswith("the command was not running in time")


def test_a_helper_reaches_no_other_process_and_no_network(lab_with, tmp_path):
    lab = lab_with()
    data, writer = os.pipe()
    spec = UnpackSpec(str(tmp_path / "lab" / "root" / "tmp"), "remove", 2**30, 2**30, 100)
    line = lab.order_kind("unpack", spec._asdict(), data=data)
    os.close(data)
    helper = wait_until(
        lambda: next((pid for pid in lab.processes() if name(pid) == "trioker-unpack"), None), "a helper"
    )
    for kind in ("pid", "net", "ipc"):
        assert os.readlink(f"/proc/{helper}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")
    with open(writer, "wb") as file:
        file.write(archive(member("file", b"x")))
    assert line.hear()["event"] == "done"


def test_containers_root_can_be_an_ordinary_user_of_the_host(lab_with, tmp_path):
    ids = [Range(0, 300_000, 65536)]
    lab = lab_with("--remap", json.dumps(Remap(ids, ids, str(tmp_path))._asdict()))
    line = lab.launch("one", "sleep", "1000")
    pid = line.started["pid"]
    assert Path(f"/proc/{pid}").stat().st_uid == 300_000
    assert Path(f"/proc/{pid}/uid_map").read_text().split() == ["0", "300000", "65536"]
    assert lab.sh("two", "id -u; hostname; stat -c %u /bin/busybox /proc/self/fd").split() == ["0", "box", "0", "0"]
