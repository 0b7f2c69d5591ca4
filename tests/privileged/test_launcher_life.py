"""The life of containers whose daemons, launchers and monitors come and go: streams, terminals, reconnection, violent ends."""

import fcntl
import io
import os
import select
import signal
import struct
import tarfile
import termios
from pathlib import Path

import pytest
from launcher_lab import DEADLINE, Lab, parent
from polling import wait_until

from trioker.launcher.logfile import LogSnapshot

pytestmark = pytest.mark.root


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path / "lab")
    yield lab
    lab.close()
    wait_until(lambda: not lab.processes(), "the end of its processes")
    assert not lab.cgroups()


def log_of(lab, name):
    snapshot = LogSnapshot(str(lab.path / name / "log"))
    try:
        return b"".join(snapshot.read((1, 2)))
    finally:
        snapshot.close()


def monitor_of(line):
    return parent(line.started["pid"])


def test_stdin_is_dev_null_where_it_is_not_open(lab):
    assert lab.sh("one", "cat; readlink /proc/self/fd/0") == "/dev/null\n"


def test_the_container_reads_what_is_written_to_its_stdin_until_all_have_closed_it(lab):
    line = lab.launch("one", "cat", open_stdin=True)
    os.write(line.fds["stdin"], b"hello")
    assert line.hear()[2] == b"hello"
    os.close(line.fds.pop("stdin"))
    line.tell("close_stdin")
    output, last = line.rest()
    assert (output[1], last["code"]) == (b"", 0)


def test_a_terminal_is_the_containers_own_and_is_resized_by_its_master(lab):
    line = lab.launch(
        "one",
        "sh",
        "-c",
        "tty; test -t 0 && test -t 1 && test -t 2; echo $?; read x; stty size; ls -l /dev/console",
        tty=True,
    )
    heard = b""
    while b"\r\n0\r\n" not in heard:
        heard += line.hear()[2]
    assert heard == b"/dev/pts/0\r\n0\r\n"
    fcntl.ioctl(line.fds["stdin"], termios.TIOCSWINSZ, struct.pack("4H", 33, 77, 0, 0))
    os.write(line.fds["stdin"], b"\n")
    output, last = line.rest()
    assert b"33 77" in output[1]
    assert b"/dev/console" in output[1]
    assert last["code"] == 0


def test_a_terminals_interrupt_key_reaches_the_foreground(lab):
    line = lab.launch("one", "sh", "-c", "sleep 1000; echo over $?", tty=True)
    wait_until(lambda: children(line.started["pid"]), "a child")
    os.write(line.fds["stdin"], b"\x03")
    output, _ = line.rest()
    assert b"^C" in output[1]


def children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_without_being_asked_for_no_output_is_sent(lab):
    line = lab.launch("one", "sh", "-c", "echo secret; read x; echo shown; read x", attached=False, open_stdin=True)
    wait_until(lambda: b"secret" in log_of(lab, "one"), "the first line")
    line.tell("attach")
    attached = line.hear()
    assert attached["event"] == "attached"
    os.write(line.fds["stdin"], b"\n")
    stream, position, data = line.hear()
    assert (stream, data) == (1, b"shown\n")
    assert attached["position"] < position
    line.tell("detach")
    os.write(line.fds["stdin"], b"\n")
    _, last = line.rest()
    assert last["event"] == "exited"
    assert log_of(lab, "one") == b"secret\nshown\n"


def test_the_position_of_a_piece_is_where_the_log_ends_behind_it(lab):
    line = lab.launch("one", "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do seq 1 2000; done", log_size=2**12)
    positions = []
    while (heard := line.hear()) is not None:
        if not isinstance(heard, dict):
            positions.append(heard[1])
    assert positions == sorted(set(positions))
    newest = max(os.listdir(lab.path / "one" / "log"))
    assert positions[-1] == int(newest[:16], 16) + (lab.path / "one" / "log" / newest).stat().st_size


def test_a_new_daemon_replaces_the_old_one_and_learns_what_runs(lab):
    old = lab.launch("one", "sh", "-c", "read x; echo got $x", open_stdin=True)
    new = lab.connect("one")
    assert new.hear() == old.started
    assert old.hear() is None
    os.close(old.fds.pop("stdin"))
    new.tell("attach")
    assert new.hear()["event"] == "attached"
    os.write(new.fds["stdin"], b"it\n")
    assert new.hear()[2] == b"got it\n"
    assert new.hear()["event"] == "exited"


def test_nonsense_from_a_daemon_ends_its_connection_and_nothing_else(lab):
    line = lab.launch("one", "sleep", "1000")
    line.sock.send(b"what?")
    assert line.hear() is None
    again = lab.connect("one")
    assert again.hear() == line.started
    signal.pidfd_send_signal(again.fds["pidfd"], signal.SIGKILL)
    assert again.hear()["code"] == 137


def test_output_is_complete_and_the_exit_recorded_without_any_daemon(lab):
    line = lab.launch("one", "sh", "-c", "read x; seq 1 100000; exit 5", open_stdin=True, log_size=2**30)
    line.sock.close()
    lab.control.close()
    lab.zygote.wait(DEADLINE)
    os.write(line.fds["stdin"], b"\n")
    wait_until((lab.path / "one" / "run" / "exit.json").exists, "the exit file")
    assert lab.record("one")["code"] == 5
    assert log_of(lab, "one") == b"".join(b"%d\n" % each for each in range(1, 100001))


def test_a_daemon_gone_before_the_start_is_no_reason_not_to_start(lab):
    line = lab.order(lab.spec("one", "sh", "-c", "exit 6"))
    line.sock.close()
    wait_until((lab.path / "one" / "run" / "exit.json").exists, "the exit file")
    assert lab.record("one")["code"] == 6


def test_a_daemon_that_takes_nothing_is_cut_off_and_the_container_goes_on(lab):
    line = lab.launch("one", "sh", "-c", "seq 1 1000000; exit 4", log_size=2**30)
    wait_until((lab.path / "one" / "run" / "exit.json").exists, "the exit file")
    assert lab.record("one")["code"] == 4
    assert log_of(lab, "one") == b"".join(b"%d\n" % each for each in range(1, 1000001))
    _, last = line.rest()
    assert last is None


def test_containers_survive_the_launchers_violent_end(lab):
    line = lab.launch("one", "sh", "-c", "read x; exit 9", open_stdin=True)
    lab.zygote.kill()
    lab.zygote.wait(DEADLINE)
    os.write(line.fds["stdin"], b"\n")
    assert line.hear()["code"] == 9
    lab.control.close()
    lab.start()
    assert lab.run("two", "true") == ("", 0)


def test_a_killed_monitor_takes_its_container_along(lab):
    line = lab.launch("one", "sleep", "1000")
    os.kill(monitor_of(line), signal.SIGKILL)
    poll = select.poll()
    poll.register(line.fds["pidfd"], select.POLLIN)
    assert poll.poll(DEADLINE * 1000)
    assert line.hear() is None
    # What it left is in the record, for the daemon to remove.
    for directory in lab.record("one", "running.json")["cgroups"]:
        wait_until(lambda directory=directory: not Path(directory, "cgroup.procs").read_text(), "its end")
        os.rmdir(directory)


@pytest.mark.parametrize("killed", ["trioker-init", "trioker-monitor"])
def test_what_waits_for_an_order_is_replaced_when_killed(lab, killed):
    before = settled(lab)
    os.kill(before[killed], signal.SIGKILL)
    # With one of the two the other goes, too.
    wait_until(lambda: set(before.values()).isdisjoint(settled(lab).values()), "other processes")
    assert lab.run("one", "true") == ("", 0)


def settled(lab):
    """The pids of a monitor and its init, waiting. A child bears its parent's name until it has chosen its own, so look until there is one each."""
    found = {}

    def complete():
        found.update({name: named(lab, name) for name in ("trioker-init", "trioker-monitor")})
        return all(len(pids) == 1 for pids in found.values())

    wait_until(complete, "all of it")
    return {name: pid for name, (pid,) in found.items()}


def named(lab, name):
    return [pid for pid in lab.processes() if _name(pid) == name]


def _name(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def test_all_of_a_container_ends_with_its_first_process(lab):
    line = lab.launch("one", "sh", "-c", "sleep 1000 & sleep 1000 & read x", open_stdin=True)
    os.write(line.fds["stdin"], b"\n")
    assert line.hear()["event"] == "exited"
    assert not lab.cgroups()


def test_output_after_the_streams_were_given_to_a_stranger_does_not_keep_the_monitor(lab):
    """A process outside that holds the container's stdout open must not delay the end."""
    line = lab.launch("one", "sh", "-c", "read x; echo last", open_stdin=True)
    held = os.open(f"/proc/{line.started['pid']}/fd/1", os.O_WRONLY)
    os.write(line.fds["stdin"], b"\n")
    output, last = line.rest()
    os.close(held)
    assert output[1] == b"last\n"
    assert last["code"] == 0


def test_many_at_once_all_run_and_leave_nothing(lab):
    lines = [lab.order(lab.spec(f"c{each}", "sh", "-c", f"echo {each}; exit {each}")) for each in range(32)]
    for each, line in enumerate(lines):
        assert line.hear()["event"] == "started"
        output, last = line.rest()
        assert (output[1], last["code"]) == (b"%d\n" % each, each)
    assert not lab.cgroups()


def test_a_broken_order_is_survived(lab):
    lab.control.send(b"rubbish")
    lab.control.send(b'J{"kind": "launch"}')
    lab.control.send(b'J{"kind": "dance", "fds": []}')
    assert lab.run("one", "true") == ("", 0)


def test_an_order_that_cannot_be_read_is_answered(lab):
    line = lab.order({"id": "00", "nonsense": 1})
    failed = line.hear()
    assert (failed["event"], failed["stage"]) == ("failed", "spec")
    assert lab.run("one", "true") == ("", 0)


def test_a_monitor_holds_only_what_its_container_needs(lab):
    line = lab.launch("one", "sleep", "1000")
    monitor = monitor_of(line)
    assert {os.readlink(f"/proc/{monitor}/fd/{fd}") for fd in "012"} == {"/dev/null"}
    held = [os.readlink(f"/proc/{monitor}/fd/{fd}").partition(":")[0] for fd in os.listdir(f"/proc/{monitor}/fd")]
    assert sorted(held) == ["/dev/null"] * 3 + ["anon_inode"] + ["pipe"] * 2 + ["socket"] * 3
    assert os.getsid(monitor) == monitor


def test_an_order_for_a_helper_is_carried_out_and_leaves_no_process(lab):
    (lab.path / "tree").mkdir()
    reader, writer = os.pipe()
    spec = {"path": str(lab.path / "tree"), "whiteouts": "remove", "room": 2**20, "max_bytes": 2**20, "max_entries": 10}
    line = lab.order_kind("unpack", spec, data=reader)
    os.close(reader)
    member = tarfile.TarInfo("file")
    member.size = 5
    with os.fdopen(writer, "wb") as stream, tarfile.open(fileobj=stream, mode="w|") as archive:
        archive.addfile(member, io.BytesIO(b"hello"))
    assert line.hear()["event"] == "done"
    assert line.hear() is None
    assert (lab.path / "tree" / "file").read_text() == "hello"
    assert lab.run("one", "true") == ("", 0)
