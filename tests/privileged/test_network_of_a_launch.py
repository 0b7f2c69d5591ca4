"""The pause in a launch in which the daemon connects the container: what the two tell each other, and what becomes of it."""

import json
import os

import pytest
from launcher_lab import DEADLINE, Lab, wait_until

pytestmark = pytest.mark.root


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path / "lab")
    yield lab
    lab.close()
    wait_until(lambda: not lab.processes())
    assert not lab.cgroups()


def offered(lab, *argv):
    """A launch that waits for its network."""
    line = lab.order(lab.spec("one", *argv, connected=True))
    assert line.hear() == {"event": "created"}
    return line


def test_the_namespace_that_is_offered_is_the_containers_and_its_command_waits_for_the_word(lab):
    line = offered(lab, "readlink", "/proc/self/ns/net")
    inode = os.fstat(line.fds["netns"]).st_ino
    assert not os.path.samestat(os.fstat(line.fds["netns"]), os.stat("/proc/self/ns/net"))
    line.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        line.hear()
    line.sock.settimeout(DEADLINE)
    line.tell("go")
    line.started = line.hear()
    assert line.started["event"] == "started"
    output, _ = line.rest()
    assert output[1] == f"net:[{inode}]\n".encode()


def test_a_network_that_could_not_be_had_is_a_failed_launch_with_the_reason(lab):
    line = offered(lab, "true")
    line.sock.send(b"J" + json.dumps({"op": "give_up", "message": "no more addresses"}).encode())
    failed = line.hear()
    assert (failed["stage"], failed["message"], failed["exit_code"]) == ("network", "no more addresses", 128)
    assert lab.record("one")["error"] == "no more addresses"


def test_a_daemon_that_dies_before_the_word_leaves_a_record_and_nothing_that_runs(lab):
    line = offered(lab, "sleep", "1000")
    line.sock.close()
    wait_until((lab.path / "one" / "run" / "exit.json").exists)
    assert lab.record("one")["error"] == "the daemon ended while the container was connected"
    assert "running.json" not in os.listdir(lab.path / "one" / "run")
