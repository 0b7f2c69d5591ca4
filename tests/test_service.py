import json
import logging
import os
import resource
import signal
import socket

import pytest
import trio

from trioker.linux import capabilities
from trioker.model.options import Rlimit
from trioker.service import (
    STOP_SIGNALS,
    STOPS_WITHIN,
    JsonFormatter,
    StartError,
    Stop,
    leaves,
    locked,
    notify,
    pid_file,
    possible_rlimits,
    wait_for_stop,
)


def test_failures_are_taken_out_of_groups_in_groups():
    one, two = ValueError("one"), OSError("two")
    assert list(leaves(ExceptionGroup("", [ExceptionGroup("", [one]), two]))) == [one, two]


def test_a_directory_is_held_by_one_process_at_a_time(tmp_path):
    with (
        locked(tmp_path),
        pytest.raises(StartError, match=f"another trioker daemon is running on {tmp_path}"),
        locked(tmp_path),
    ):
        pass
    with locked(tmp_path):
        pass


def test_the_pid_file_is_there_while_we_run(tmp_path):
    path = tmp_path / "pid"
    with pid_file(path):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_systemd_is_told_where_it_asked(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify("READY=1")
        assert sock.recv(100) == b"READY=1"
    notify("READY=1")  # nobody there: no error
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_term_and_int_stop_and_hup_does_not(number, nursery):
    stopped = trio.Event()

    async def wait(signals):
        await wait_for_stop(signals)
        stopped.set()

    with trio.open_signal_receiver(*STOP_SIGNALS) as signals:
        nursery.start_soon(wait, signals)
        os.kill(os.getpid(), signal.SIGHUP)
        await trio.testing.wait_all_tasks_blocked()
        assert not stopped.is_set()
        os.kill(os.getpid(), number)
        with trio.fail_after(5):
            await stopped.wait()


def told(number: int) -> trio.MemoryReceiveChannel[int]:
    """Signals, of which one has come."""
    sender, receiver = trio.open_memory_channel[int](1)
    sender.send_nowait(number)
    return receiver


async def test_told_to_stop_while_it_opens_all_is_cancelled_at_once():
    last = []
    with trio.CancelScope() as scope:
        stop = Stop(scope)
        stop.last.append(lambda: last.append(scope.cancel_called))
        await stop.listen(told(signal.SIGTERM))
        await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert last == [False]


async def test_told_to_stop_while_it_serves_it_has_five_seconds_before_all_is_cancelled(autojump_clock):
    last = []
    async with trio.open_nursery() as nursery:
        stop = Stop(nursery.cancel_scope)
        stop.last.append(lambda: last.append(trio.current_time() - begun))
        nursery.start_soon(stop.wait)
        await trio.testing.wait_all_tasks_blocked()
        begun = trio.current_time()
        nursery.start_soon(stop.listen, told(signal.SIGINT))
        await stop.wait()
        assert trio.current_time() == begun
        await trio.sleep(2 * STOPS_WITHIN)
    assert nursery.cancel_scope.cancelled_caught
    assert last == [STOPS_WITHIN]


def test_the_json_log_has_one_object_a_line_with_the_traceback_inside():
    try:
        raise ValueError("bad\nthing")
    except ValueError:
        record = logging.LogRecord("trioker", logging.ERROR, "", 0, "it %s", ("failed",), __import__("sys").exc_info())
    line = JsonFormatter().format(record)
    assert "\n" not in line
    entry = json.loads(line)
    assert (entry["level"], entry["message"]) == ("error", "it failed")
    assert "bad\nthing" in entry["traceback"]


def test_limits_above_our_own_are_cut_and_that_is_told_unless_we_may_raise_them(caplog):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most == resource.RLIM_INFINITY or "SYS_RESOURCE" in capabilities.current():
        pytest.skip("nothing is above the limit of this process")
    wanted = (Rlimit("nofile", 5, most + 1), Rlimit("nproc", 7, 8))
    assert possible_rlimits(wanted) == {"nofile": [5, most], "nproc": [7, 8]}
    assert [record.message for record in caplog.records] == [
        f"--default-ulimit nofile: cut to {most}, as the daemon lacks CAP_SYS_RESOURCE to raise its own"
    ]
