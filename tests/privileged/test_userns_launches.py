"""A launcher with ids to map: what a container's root can do on the host, and what is told when it cannot be."""

import json
import os
from pathlib import Path

import pytest
from launcher_lab import Lab, labs_opened

from trioker.launcher.userns import Range, Remap

pytestmark = pytest.mark.root

FIRST = 165536
USUAL = [Range(0, FIRST, 65536)]
SCATTERED = [Range(0, FIRST, 10), Range(10, 300000, 65526)]


def flags(directory, uids=USUAL):
    return "--remap", json.dumps(Remap(uids, uids, str(directory))._asdict())


@pytest.fixture
def lab_in(tmp_path):
    """A launcher that shows ``lab`` with mapped ids, and nothing else of the host."""
    with labs_opened(tmp_path / "lab", Lab) as open_lab:
        yield open_lab


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text("of the host's root\n")
    path.chmod(0o600)
    return path


def test_a_file_of_the_hosts_root_stays_closed_wherever_it_is_shown(lab_in, tmp_path, secret):
    lab = lab_in(*flags(tmp_path / "lab"))
    text, code = lab.run(
        "c", "sh", "-c", "exec 2>&1; cat /etc/s; id -u; chown 0 /etc/s", binds=[(str(secret), "/etc/s", False)]
    )
    assert text.splitlines() == [
        "cat: can't open '/etc/s': Permission denied",
        "0",
        "chown: /etc/s: Operation not permitted",
    ]
    assert code == 1


def test_without_mapped_ids_that_file_is_open(lab_in, secret):
    lab = lab_in()
    assert lab.sh("c", "cat /etc/s", binds=[(str(secret), "/etc/s", False)]) == "of the host's root\n"


def test_it_gains_nothing_by_a_set_user_id_file_of_the_hosts(lab_in, tmp_path):
    directory = tmp_path / "shared"
    directory.mkdir()
    directory.chmod(0o777)
    lab = lab_in(*flags(tmp_path / "lab"))
    lab.sh("c", "cp /bin/busybox /mnt/b; chmod 4755 /mnt/b", binds=[(str(directory), "/mnt", False)])
    made = (directory / "b").stat()
    assert (made.st_uid, made.st_gid) == (FIRST, FIRST)


def test_several_ranges_follow_each_other_inside(lab_in, tmp_path):
    lab = lab_in(*flags(tmp_path / "lab", SCATTERED))
    assert lab.sh("c", "touch /tmp/f; chown 9:12 /tmp/f; stat -c '%u %g' /tmp/f") == "9 12\n"
    found = (tmp_path / "lab" / "root" / "tmp" / "f").stat()
    assert (found.st_uid, found.st_gid) == (9, 12)


def test_who_runs_it_is_told_by_the_ranges(lab_in, tmp_path):
    lab = lab_in(*flags(tmp_path / "lab", SCATTERED))
    line = lab.launch("c", "sleep", "600", user="1000")
    uids = next(
        each for each in Path(f"/proc/{line.started['pid']}/status").read_text().splitlines() if each.startswith("Uid:")
    )
    assert uids.split()[1:] == [str(300000 + 990)] * 4


def test_terminals_belong_to_the_tty_group_of_the_container(lab_in, tmp_path):
    lab = lab_in(*flags(tmp_path / "lab", SCATTERED))
    assert lab.sh("c", "stat -c '%u %g' $(tty)", tty=True, user="1000").split() == ["1000", "5"]


def test_the_container_holds_no_descriptor_of_the_hosts(lab_in, tmp_path):
    lab = lab_in(*flags(tmp_path / "lab"))
    assert lab.sh("c", "ls /proc/1/fd; true").split() == ["0", "1", "2"]


def test_a_user_without_an_id_is_refused(lab_in, tmp_path):
    lab = lab_in(*flags(tmp_path / "lab", [Range(0, FIRST, 10)]))
    failed = lab.fail("user", "true", user="bob")
    assert (failed["stage"], failed["message"]) == (
        "user",
        "no container can have the user id 1000 here (--userns-remap)",
    )
    failed = lab.fail("group", "true", user="0:staff")
    assert (failed["stage"], failed["message"]) == (
        "user",
        "no container can have the group id 50 here (--userns-remap)",
    )


def test_a_map_that_the_kernel_refuses_fails_each_launch(lab_in, tmp_path):
    lab = lab_in(*flags(tmp_path / "lab", [Range(0, FIRST, 10), Range(10, FIRST, 10)]))
    for name in ("one", "two"):
        failed = lab.fail(name, "true")
        assert failed["stage"] == "namespaces"
        assert "user namespace: " in failed["message"]


def test_host_roots_own_steps_leave_the_host_as_it_was(lab_in, tmp_path):
    """Records, log and socket are the host root's, whoever the container is."""
    lab = lab_in(*flags(tmp_path / "lab"))
    lab.launch("c", "sleep", "600")
    found = {each.stat().st_uid for part in ("run", "log") for each in (tmp_path / "lab" / "c" / part).iterdir()}
    groups = {os.stat(each).st_uid for each in lab.cgroups()}
    assert found | groups == {0}
