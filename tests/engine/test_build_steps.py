import os
import signal
from functools import partial

import pytest
import trio

from trioker.engine.files import Files
from trioker.engine.steps import Workshop
from trioker.model.container import Config
from trioker.model.errors import LaunchFailed, TriokerError
from trioker.testing.fake_rooms import FakeLayers, FakeNetwork, FakeProcess, FakeRuntime

CONFIG = Config(command=("make",), tty=True, open_stdin=True)
ID = "e" * 64


@pytest.fixture
def runtime():
    return FakeRuntime()


@pytest.fixture
def network():
    return FakeNetwork()


@pytest.fixture
def workshop(runtime, network, tmp_path):
    return Workshop(runtime, FakeLayers(), Files.below(tmp_path), network)


class Log:
    def __init__(self):
        self.text = b""

    async def __call__(self, piece):
        self.text += piece


async def test_output_comes_as_it_is_printed_and_the_exit_code_at_the_end(runtime, workshop, nursery):
    process, said, codes = FakeProcess(), Log(), []
    runtime.processes.append(process)

    async def run():
        codes.append(await workshop.run("a" * 64, CONFIG, said, ID))

    nursery.start_soon(run)
    await trio.testing.wait_all_tasks_blocked()
    process.prints(b"one\n")
    while said.text != b"one\n":
        await trio.testing.wait_all_tasks_blocked(0.001)
    process.prints(b"two\n")
    process.ends(3)
    while not codes:
        await trio.testing.wait_all_tasks_blocked(0.001)
    assert (said.text, codes) == (b"one\ntwo\n", [3])
    assert process.closed
    assert process.signals == []
    assert runtime.forgotten == [ID]


async def test_a_step_has_no_terminal_and_no_log_and_its_name_as_its_host(runtime, workshop):
    process = FakeProcess()
    runtime.processes.append(process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(workshop.run, "a" * 64, CONFIG, Log(), ID)
        await trio.testing.wait_all_tasks_blocked()
        process.ends()
    (run,) = runtime.runs
    assert (run.config.tty, run.config.open_stdin, run.config.hostname) == (False, False, ID[:12])
    assert (run.id, run.log_directory, run.attached) == (ID, "", False)


async def test_a_cancelled_step_is_killed_and_cleared_away(runtime, workshop):
    process = FakeProcess()
    runtime.processes.append(process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(workshop.run, "a" * 64, CONFIG, Log(), ID)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert process.signals == [signal.SIGKILL]
    assert process.closed
    assert runtime.forgotten == [ID]


async def test_a_listener_that_fails_ends_the_step(runtime, workshop, nursery):
    process = FakeProcess()
    runtime.processes.append(process)

    async def say(piece):
        raise BrokenPipeError

    async def prints():
        await trio.testing.wait_all_tasks_blocked()
        process.prints(b"hello")

    nursery.start_soon(prints)
    with pytest.raises(BrokenPipeError):
        await workshop.run("a" * 64, CONFIG, say, ID)
    assert process.signals == [signal.SIGKILL]
    assert runtime.forgotten == [ID]


async def test_a_step_that_will_not_die_is_let_go_of_in_the_end(runtime, workshop, autojump_clock):
    process = FakeProcess()
    process.signal = lambda _: None
    runtime.processes.append(process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(workshop.run, "a" * 64, CONFIG, Log(), ID)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert runtime.forgotten == [ID]


async def test_a_missing_command_is_said_and_told_by_its_code(runtime, workshop):
    runtime.processes.append(LaunchFailed("exec", "stat /bin/sh: no such file or directory", 127))
    said = Log()
    assert await workshop.run("a" * 64, CONFIG, said, ID) == 127
    assert said.text == b"stat /bin/sh: no such file or directory\n"


async def test_another_failed_start_is_raised(runtime, workshop):
    runtime.processes.append(LaunchFailed("user", "unable to find user x", 1))
    with pytest.raises(LaunchFailed):
        await workshop.run("a" * 64, CONFIG, Log(), ID)


async def test_a_step_has_a_place_on_the_network_and_files_of_names_for_as_long_as_it_runs(
    runtime, workshop, network, nursery
):
    process = FakeProcess()
    runtime.processes.append(process)
    nursery.start_soon(workshop.run, "a" * 64, CONFIG, Log(), ID)
    await trio.testing.wait_all_tasks_blocked()
    assert network.published == [ID]
    assert runtime.runs[0].endpoint == network.places[ID]
    assert [each.path for each in runtime.runs[0].binds] == ["/etc/resolv.conf", "/etc/hosts", "/etc/hostname"]
    assert os.listdir(workshop.files.steps) == [ID]
    process.ends()
    while network.places:
        await trio.testing.wait_all_tasks_blocked(0.001)
    assert os.listdir(workshop.files.steps) == []


async def test_a_step_without_a_network_gets_no_place(runtime, workshop, network):
    process = FakeProcess()
    runtime.processes.append(process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(workshop.run, connected=False), "a" * 64, CONFIG, Log(), ID)
        await trio.testing.wait_all_tasks_blocked()
        process.ends()
    assert (network.published, network.gone, runtime.runs[0].endpoint) == ([], [], None)


async def test_a_step_whose_place_cannot_be_had_leaves_nothing(workshop, network):
    network.broken = TriokerError("no more rules")
    with pytest.raises(TriokerError, match="no more rules"):
        await workshop.run("a" * 64, CONFIG, Log(), ID)
    assert network.places == {}
    assert os.listdir(workshop.files.steps) == []
