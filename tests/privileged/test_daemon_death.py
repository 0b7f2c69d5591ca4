"""The daemon, its launcher and its monitors are killed at the worst moments: containers run on and nothing is forgotten, lost or left."""

import contextlib
import enum
import http.client
import os
import random
import shutil
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from api_client import Api
from busybox import busybox_tar
from daemon import Daemon, control_groups, launcher_of, processes, running_daemon
from host_state import is_alive, parent_of, paths_below, processes_with
from host_tools import tar_with_host_tools
from numbered import CODE, LAST, check_numbers, check_row, log_size, printer, tell_to_stop, told_directory
from polling import wait_until

pytestmark = pytest.mark.root

GONE = (OSError, http.client.HTTPException)
"""What a client of a daemon that was killed gets."""
KILLED = 137


@pytest.fixture
def daemon(pyz: Path, tmp_path: Path) -> Iterator[Daemon]:
    # Far more log than a test prints: what a container prints unwatched is bounded, but not what these tests are about.
    with running_daemon(pyz, tmp_path, "--log-opt", "max-size=100m") as daemon:
        daemon.api.import_image(busybox_tar(), "base")
        yield daemon


def die_and_come_back(daemon: Daemon) -> None:
    daemon.kill()
    daemon.start()


@contextlib.contextmanager
def daemon_away(daemon: Daemon) -> Iterator[None]:
    daemon.kill()
    yield
    daemon.start()


def init_of(api: Api, container: str) -> int:
    return int(api.inspect(container)["State"]["Pid"])


def row_of(api: Api, container: str) -> dict[str, str]:
    return next(row for row in api.ok("GET", "/containers/json?all=1") if row["Id"].startswith(container))


def wait_for_output(daemon: Daemon, container: str, more: int = 50_000) -> None:
    """Until it has printed something further, seen on the disk as there may be no daemon to ask."""
    before = log_size(daemon, container)
    wait_until(lambda: log_size(daemon, container) > before + more, "output in the log")


def wait_for_death(pid: int) -> None:
    wait_until(lambda: not is_alive(pid), f"the end of process {pid}")


# -- the daemon -------------------------------------------------------------------------------------------------------


def test_running_containers_are_up_with_their_start_time_and_process(daemon: Daemon):
    container = daemon.api.create("sleep", "1000")
    daemon.api.start(container)
    before = daemon.api.inspect(container)
    for _ in range(3):
        die_and_come_back(daemon)
        assert daemon.api.inspect(container) == before
        assert row_of(daemon.api, container)["Status"].startswith("Up ")
        assert is_alive(before["State"]["Pid"])


def test_what_is_printed_while_no_daemon_runs_is_in_the_log_complete_and_in_order(daemon: Daemon):
    container = printer(daemon.api)
    for _ in range(4):
        with daemon_away(daemon):
            wait_for_output(daemon, container)
        check_row(daemon.api.logs(container))
    tell_to_stop(daemon, container)
    assert daemon.api.wait(container) == CODE
    check_numbers(daemon.api.logs(container))


def test_attached_clients_are_hung_up_on_and_find_everything_when_they_come_again(daemon: Daemon):
    container = printer(daemon.api)
    for _ in range(3):
        with daemon.api.attach(container, "logs=1&stream=1&stdout=1") as attached:
            attached.read_until(b"\n1000\n")
            with daemon_away(daemon), contextlib.suppress(ConnectionResetError):
                check_row(attached.read_all())
    with daemon.api.attach(container, "logs=1&stream=1&stdout=1&stderr=1") as attached:
        tell_to_stop(daemon, container)
        check_numbers(attached.read_all())


def test_input_reaches_a_container_of_an_earlier_daemon_and_can_be_ended(daemon: Daemon):
    container = daemon.api.create("cat", OpenStdin=True, StdinOnce=True)
    streams = "stream=1&stdin=1&stdout=1"
    with daemon.api.attach(container, streams) as attached:
        daemon.api.start(container)
        attached.send(b"one\n")
        attached.read_until(b"one\n")
        daemon.kill()
    daemon.start()
    with daemon.api.attach(container, streams) as attached:
        attached.send(b"two\n")
        attached.half_close()
        assert attached.read_all() == b"two\n"
    assert daemon.api.wait(container) == 0
    assert daemon.api.logs(container) == b"one\ntwo\n"


def test_a_terminal_of_an_earlier_daemon_is_used_and_resized(daemon: Daemon):
    container = daemon.api.create("sh", Tty=True, OpenStdin=True)
    daemon.api.start(container)
    die_and_come_back(daemon)
    with daemon.api.attach(container, "stream=1&stdin=1&stdout=1") as attached:
        daemon.api.ok("POST", f"/containers/{container}/resize?h=41&w=97")
        attached.send(b"stty size\n")
        attached.read_until(b"41 97\r\n")
        attached.send(b"exit 9\n")
        attached.read_all()
    assert daemon.api.wait(container) == 9


def test_stop_kill_wait_and_restart_work_on_containers_of_an_earlier_daemon(daemon: Daemon):
    api = daemon.api
    polite = api.create("sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done")
    stubborn, again = api.create("sleep", "1000"), api.create("sleep", "1000")
    waited = api.create("sh", "-c", "while [ ! -e /told/stop ]; do sleep 0.05; done; exit 6", Volumes={"/told": {}})
    for each in (polite, stubborn, again, waited):
        api.start(each)
    wait_until(lambda: api.logs(polite), "the trap")
    first = api.inspect(again)["State"]
    die_and_come_back(daemon)
    with ThreadPoolExecutor() as clients:
        end = clients.submit(api.wait, waited)
        api.ok("POST", f"/containers/{polite}/stop?t=20")
        api.ok("POST", f"/containers/{stubborn}/kill")
        api.ok("POST", f"/containers/{again}/restart?t=0")
        tell_to_stop(daemon, waited)
        assert end.result() == 6
    assert [api.wait(each) for each in (polite, stubborn)] == [5, KILLED]
    second = api.inspect(again)["State"]
    assert second["Running"]
    assert second["Pid"] != first["Pid"]
    assert not is_alive(first["Pid"])


def test_those_that_ended_without_a_daemon_have_their_true_exit_code_and_all_their_output(daemon: Daemon):
    api = daemon.api
    codes = (0, 1, 42, 255)
    script = "while [ ! -e /told/stop ]; do sleep 0.05; done; seq 1 5000; exit {}"
    ending = {code: api.create("sh", "-c", script.format(code), Volumes={"/told": {}}) for code in codes}
    ending[KILLED] = api.create("sh", "-c", "seq 1 5000; exec sleep 1000")
    for each in ending.values():
        api.start(each)
    wait_until(lambda: b"\n5000\n" in api.logs(ending[KILLED]), "the output")
    pids = [init_of(api, each) for each in ending.values()]
    told = [told_directory(daemon, ending[code]) for code in codes]
    began = {each: api.inspect(each)["State"]["StartedAt"] for each in ending.values()}
    with daemon_away(daemon):
        for each in told:
            (each / "stop").touch()
        os.kill(pids[-1], signal.SIGKILL)
        for pid in pids:
            wait_for_death(pid)
    for code, each in ending.items():
        assert api.wait(each) == code
        assert row_of(api, each)["Status"] == f"Exit {code}"
        assert api.inspect(each)["State"]["StartedAt"] == began[each]
        assert check_row(api.logs(each), first=1) == 5000
    assert not control_groups(ending.values())
    wait_until(lambda: not any(daemon.exec_root.glob("*/run/*")), "empty run directories")


def test_a_container_that_ends_at_the_same_moment_as_the_daemon_keeps_its_exit_code(daemon: Daemon):
    moments = random.Random(2)
    for code in range(1, 9):
        container = daemon.api.create("sh", "-c", f"read x; echo $x; exit {code}", OpenStdin=True)
        daemon.api.start(container)
        with daemon.api.attach(container, "stream=1&stdin=1&stdout=1") as attached:
            attached.send(b"go\n")
            threading.Event().wait(moments.uniform(0, 0.02))
            die_and_come_back(daemon)
        assert daemon.api.wait(container) == code
        assert daemon.api.logs(container) == b"go\n"


def test_a_container_that_had_just_ended_when_the_daemon_was_killed_can_be_started_again(daemon: Daemon):
    container = daemon.api.create("sh", "-c", "echo run; exit 3")
    for runs in range(1, 9):
        daemon.api.start(container)
        assert daemon.api.wait(container) == 3
        die_and_come_back(daemon)
        assert daemon.api.wait(container) == 3
        assert daemon.api.logs(container) == b"run\n" * runs


def test_a_stopped_daemon_holds_up_no_container_and_loses_no_line(daemon: Daemon):
    container = printer(daemon.api)
    pid = init_of(daemon.api, container)
    with daemon.api.attach(container, "stream=1&stdout=1") as attached, ThreadPoolExecutor() as clients:
        first = attached.read_until(b"\n")
        os.kill(daemon.pid, signal.SIGSTOP)
        try:
            # The monitor waits for a daemon at most 10 s; before that, output may have come to a halt.
            wait_for_output(daemon, container, more=2_000_000)
        finally:
            os.kill(daemon.pid, signal.SIGCONT)
        heard = clients.submit(attached.read_all)
        before = log_size(daemon, container)
        wait_until(
            lambda: log_size(daemon, container) > before + 2_000_000 or not is_alive(pid), "more output, or the end"
        )
        assert is_alive(pid), f"killed: {daemon.api.inspect(container)['State']}"
        assert daemon.api.inspect(container)["State"]["Pid"] == pid
        tell_to_stop(daemon, container)
        assert daemon.api.wait(container) == CODE
        # What the monitor could not tell meanwhile comes from the log, without a gap.
        check_numbers(heard.result()[first.index(b"\n") + 1 :], first=None)
    check_numbers(daemon.api.logs(container))


# -- the daemon, while clients work -----------------------------------------------------------------------------------


class Step(enum.IntEnum):
    """How far a container of ``live`` has come."""

    CREATED, STARTED, ENDED, REMOVED = range(4)


@dataclass
class Told:
    """What its client was told of a container, and what it had asked for last."""

    asked: Step = Step.CREATED
    answered: Step = Step.CREATED


def live(api: Api, told: dict[str, Told], stop: threading.Event) -> None:
    """A client: one container's life after the other, until the daemon is gone."""
    with contextlib.suppress(*GONE):
        while not stop.is_set():
            container = api.create("sh", "-c", "echo out; exit 3", Volumes={"/data": {}})
            told[container] = fate = Told()
            for step, act in ((Step.STARTED, api.start), (Step.ENDED, api.wait), (Step.REMOVED, delete)):
                fate.asked = step
                act(api, container) if act is delete else act(container)
                fate.answered = step


def delete(api: Api, container: str) -> None:
    api.ok("DELETE", f"/containers/{container}?v=1")


def check_fates(api: Api, told: dict[str, Told]) -> None:
    """Every container is what its client was told."""
    listed = {row["Id"][:12] for row in api.ok("GET", "/containers/json?all=1")}
    for container, fate in told.items():
        if fate.answered is Step.REMOVED:
            assert container not in listed
        elif fate.asked is not Step.REMOVED:
            assert container in listed
    for container in listed:
        fate = told.get(container, Told())
        code = api.wait(container)
        allowed = {0: {0}, 1: {0, 3, -127}}.get(min(fate.asked, 1)) if fate.answered < Step.STARTED else {3}
        assert code in allowed, (container, fate, code, api.inspect(container), api.logs(container))
        if code == 3:
            assert api.logs(container) == b"out\n"
            assert row_of(api, container)["Status"] == "Exit 3"


def test_killed_thirty_times_amid_busy_clients_it_keeps_every_promise_and_leaks_nothing(daemon: Daemon):
    choose = random.Random(30)
    assert daemon.api.run("true") == (0, b"")  # what an image's first container makes is there
    empty = paths_below(daemon.root, daemon.exec_root)
    told: dict[str, Told] = {}
    for _ in range(30):
        stop = threading.Event()
        with ThreadPoolExecutor(3) as clients:
            lives = [clients.submit(live, daemon.api, told, stop) for _ in range(3)]
            threading.Event().wait(choose.uniform(0.01, 0.3))
            daemon.kill()
            stop.set()
            for each in lives:
                each.result()
        daemon.start()
        check_fates(daemon.api, told)
        for row in daemon.api.ok("GET", "/containers/json?all=1")[::2]:
            delete(daemon.api, row["Id"])
            told.setdefault(row["Id"][:12], Told()).answered = Step.REMOVED
    for row in daemon.api.ok("GET", "/containers/json?all=1"):
        delete(daemon.api, row["Id"])
    assert not control_groups(told)
    wait_until(lambda: len(processes(daemon)) <= 4, "the end of all monitors")
    assert paths_below(daemon.root, daemon.exec_root) == empty


# -- the launcher -----------------------------------------------------------------------------------------------------


def test_containers_start_after_the_launcher_was_killed_and_old_ones_live_on(daemon: Daemon):
    old = printer(daemon.api)
    pid = init_of(daemon.api, old)
    for _ in range(3):
        os.kill(launcher_of(daemon), signal.SIGKILL)
        assert daemon.api.run("echo", "new") == (0, b"new\n")
        assert is_alive(pid)
    os.kill(launcher_of(daemon), signal.SIGKILL)
    assert daemon.api.import_image(busybox_tar(), "again")
    tell_to_stop(daemon, old)
    assert daemon.api.wait(old) == CODE
    check_numbers(daemon.api.logs(old))


def test_starts_under_way_when_the_launcher_is_killed_succeed_all_the_same(daemon: Daemon):
    with ThreadPoolExecutor(6) as clients:
        runs = [clients.submit(daemon.api.run, "echo", f"number {number}") for number in range(60)]
        for _ in range(4):
            os.kill(launcher_of(daemon), signal.SIGKILL)
            assert daemon.api.run("true") == (0, b"")
        for number, each in enumerate(runs):
            assert each.result() == (0, b"number %d\n" % number)


# -- a monitor --------------------------------------------------------------------------------------------------------


MARK = "MARK=of-this-test-{}"


@pytest.mark.parametrize("user", ["", "www"])
@pytest.mark.parametrize("away", [False, True], ids=["daemon up", "daemon down"])
def test_a_container_whose_monitor_is_killed_is_dead_and_said_to_be(daemon: Daemon, user: str, away: bool):
    mark = MARK.format(os.getpid())
    container = daemon.api.create("sh", "-c", "sleep 1000 & echo up; wait", User=user, Env=[mark])
    daemon.api.start(container)
    wait_until(lambda: daemon.api.logs(container) == b"up\n", "its output")
    monitor = parent_of(init_of(daemon.api, container))
    with daemon_away(daemon) if away else contextlib.nullcontext():
        os.kill(monitor, signal.SIGKILL)
        wait_until(lambda: not processes_with(mark), "the end of its processes")
    check_dead(daemon, container)
    assert daemon.api.run("echo", "well") == (0, b"well\n")
    daemon.api.start(container)
    assert daemon.api.inspect(container)["State"]["Running"]


@pytest.mark.parametrize("away", [False, True], ids=["daemon up", "daemon down"])
def test_even_one_that_does_not_want_to_die_with_its_monitor_is_ended(daemon: Daemon, away: bool):
    mark = MARK.format(os.getpid())
    daemon.api.import_image(tar_with_host_tools("setpriv"), "tools")
    command = ("setpriv", "--pdeathsig", "clear", "sh", "-c", "sleep 1000 & echo up; wait")
    container = daemon.api.create(*command, image="tools", Env=[mark])
    daemon.api.start(container)
    wait_until(lambda: daemon.api.logs(container) == b"up\n", "its output")
    monitor = parent_of(init_of(daemon.api, container))
    with daemon_away(daemon) if away else contextlib.nullcontext():
        os.kill(monitor, signal.SIGKILL)
        wait_for_death(monitor)
    wait_until(lambda: not processes_with(mark), "the end of its processes")
    check_dead(daemon, container)


def test_images_outlive_a_start_without_the_disk_that_they_are_on(daemon: Daemon):
    container = daemon.api.create("true")
    image = str(daemon.api.ok("POST", f"/commit?container={container}&repo=unused")["Id"])
    layers = daemon.root / "storage" / "overlay"
    with daemon_away(daemon):
        layers.rename(daemon.directory / "away")
    assert daemon.api.ok("GET", "/images/json") == []
    with daemon_away(daemon):
        shutil.rmtree(layers)
        (daemon.directory / "away").rename(layers)
    assert daemon.api.run("true", image=image) == (0, b"")
    daemon.api.start(container)
    assert daemon.api.wait(container) == 0


def check_dead(daemon: Daemon, container: str) -> None:
    """It is over, told as killed, and nothing of it is left but its record."""
    assert daemon.api.wait(container) == KILLED
    state = daemon.api.inspect(container)["State"]
    assert (state["Running"], state["Pid"], state["ExitCode"]) == (False, 0, KILLED)
    assert daemon.api.logs(container) == b"up\n"
    wait_until(lambda: not control_groups([container]), "the end of its control groups")
    wait_until(lambda: not any(daemon.exec_root.glob(f"*/run/{container}*")), "the end of its run directory")
    with daemon.api.attach(container, "logs=1&stream=1&stdout=1") as attached:
        assert attached.read_all() == b"up\n"


def test_a_client_that_waits_for_a_container_learns_that_its_monitor_was_killed(daemon: Daemon):
    container = daemon.api.create("sleep", "1000")
    daemon.api.start(container)
    with daemon.api.attach(container) as attached, ThreadPoolExecutor() as clients:
        end = clients.submit(daemon.api.wait, container)
        os.kill(parent_of(init_of(daemon.api, container)), signal.SIGKILL)
        assert end.result() == KILLED
        assert attached.read_all() == b""


def test_lines_printed_until_the_monitor_was_killed_are_in_the_log(daemon: Daemon):
    container = printer(daemon.api)
    wait_for_output(daemon, container)
    os.kill(parent_of(init_of(daemon.api, container)), signal.SIGKILL)
    assert daemon.api.wait(container) == KILLED
    output = daemon.api.logs(container)
    assert LAST not in output
    assert check_row(output) > 1000
