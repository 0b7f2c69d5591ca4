import os
import socket

import pytest
import trio

from trioker.launcher import wire
from trioker.model.errors import Impossible
from trioker.model.run import Attached, Exit, Output
from trioker.runtime.channel import Channel, Event
from trioker.runtime.process import MonitoredProcess, exit_from


@pytest.fixture
async def pair():
    channel, theirs = Channel.pair()
    yield channel, theirs
    channel.close()
    theirs.close()


async def started(channel, theirs, *, tty=False, stdin=None, lost=None):
    fds = {"pidfd": os.pidfd_open(os.getpid())} | ({"stdin": stdin} if stdin is not None else {})
    message = {"event": "started", "pid": 7, "started_ns": 5, "tty": tty, "warnings": ["w"]}
    wire.send(theirs, message, fds)
    os.close(fds["pidfd"])
    event = await channel.receive()
    assert isinstance(event, Event)

    async def nothing(_):
        return Exit(1, 2)

    return MonitoredProcess(channel, event, lost or nothing)


async def test_packets_become_what_the_engine_knows(pair):
    channel, theirs = pair
    process = await started(channel, theirs)
    assert (process.pid, process.started_ns) == (7, 5)
    theirs.send(wire.encode({"event": "attached", "position": 40}))
    theirs.send(wire.output_head(2, 99) + b"hello")
    theirs.send(wire.encode({"event": "news of a later version"}))
    theirs.send(wire.encode({"event": "exited", "code": 3, "finished_ns": 8, "oom_killed": True}))
    assert await process.receive() == Attached(40)
    assert await process.receive() == Output(2, b"hello", 99)
    assert await process.receive() == Exit(3, 8, oom_killed=True)
    await process.aclose()


async def test_a_monitor_that_hangs_up_without_word_is_looked_into(pair):
    channel, theirs = pair

    async def lost(_):
        return Exit(137, 1, error="killed")

    process = await started(channel, theirs, lost=lost)
    theirs.close()
    assert await process.receive() == Exit(137, 1, error="killed")
    await process.subscribe()  # telling a monitor that is gone is no error
    await process.aclose()


async def test_stdin_is_a_stream_of_its_own_until_it_is_closed(pair):
    channel, theirs = pair
    reader, writer = os.pipe()
    process = await started(channel, theirs, stdin=writer)
    os.close(writer)
    async with process.open_stdin() as stdin:
        await stdin.send_all(b"typed")
    assert os.read(reader, 100) == b"typed"
    await process.close_stdin()
    await process.close_stdin()
    assert wire.receive(theirs) == ({"op": "close_stdin"}, {})
    assert process.open_stdin() is None
    assert os.read(reader, 1) == b""
    os.close(reader)
    await process.aclose()


async def test_without_a_terminal_there_is_no_size_to_set(pair):
    process = await started(*pair)
    with pytest.raises(Impossible, match="no terminal"):
        process.resize(1, 2)
    await process.aclose()


async def test_a_terminal_takes_a_size_and_never_sees_its_stdin_closed(pair):
    master, slave = os.openpty()
    process = await started(*pair, tty=True, stdin=master)
    process.resize(40, 120)
    assert os.get_terminal_size(slave) == (120, 40)
    await process.close_stdin()
    assert process.open_stdin() is not None
    await process.aclose()
    os.close(master)
    os.close(slave)


async def test_no_descriptor_is_left_open():
    before = os.listdir("/proc/self/fd")
    channel, theirs = Channel.pair()
    process = await started(channel, theirs, stdin=0)
    await process.aclose()
    theirs.close()
    assert os.listdir("/proc/self/fd") == before


async def test_a_socket_is_reached_however_deep_its_directory_is(tmp_path):
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        directory = os.open(deep, os.O_PATH)
        listener.bind(f"/proc/self/fd/{directory}/monitor.sock")
        os.close(directory)
        listener.listen()
        channel = await Channel.connect(str(deep), "monitor.sock")
        near, _ = listener.accept()
        near.send(wire.encode({"event": "hello"}))
        assert await channel.receive() == Event({"event": "hello"}, {})
        channel.close()
        near.close()
    with pytest.raises(OSError, match="refused"):
        await Channel.connect(str(deep), "monitor.sock")
    await trio.lowlevel.checkpoint()


def test_an_exit_record_may_lack_what_only_failures_have():
    assert exit_from({"code": 0, "finished_ns": 4}) == Exit(0, 4)
    assert exit_from({"code": 127, "finished_ns": 4, "error": "no foo"}).error == "no foo"
