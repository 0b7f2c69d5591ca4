import attrs
import pytest
import trio
import trio.testing

from trioker.engine import hub
from trioker.engine.attach import DetachKeys
from trioker.launcher.logfile import OVERHEAD, LogSnapshot, LogWriter
from trioker.model.attach import AttachRequest
from trioker.model.container import Config
from trioker.model.errors import LaunchFailed
from trioker.testing.fake_rooms import FakeProcess

CAT = Config(image="busybox", command=("cat",), open_stdin=True)
LIVE = AttachRequest(stream=True, stdout=True, stderr=True)
BOTH = attrs.evolve(LIVE, logs=True)
INPUT = attrs.evolve(LIVE, stdin=True)


class Session:
    """An attached client's end."""

    def __init__(self):
        self.near, self.far = trio.testing.memory_stream_pair()
        self.over = trio.Event()
        self.joined = trio.Event()

    async def run(self, containers, name, wanted):
        async with containers.attach(name, wanted) as attachment:
            self.joined.set()
            await attachment.run(self.far)
        await self.far.aclose()
        self.over.set()

    async def rest(self):
        received = b""
        async for piece in self.near:
            received += piece
        return received


async def attached(house, nursery, name, wanted):
    session = Session()
    nursery.start_soon(session.run, house.containers, name, wanted)
    await session.joined.wait()
    return session


async def running(house, config=CAT, process=None):
    process = process or FakeProcess(obeys=False, tty=config.tty)
    house.runtime.processes.append(process)
    name = (await house.containers.create(config)).id
    await house.containers.start(name)
    return name, process


def logged(house, name, *pieces):
    writer = LogWriter(house.files.log_directory(house.containers.get(name).id), 2**20, 5)
    for stream, data in pieces:
        writer.append(stream, data, 0)
    writer.close()
    return writer.position


async def test_attaching_before_the_start_gets_the_first_byte_and_the_end(house, nursery):
    process = FakeProcess()
    house.runtime.processes.append(process)
    name = (await house.containers.create(CAT)).id
    session = await attached(house, nursery, name, LIVE)
    await house.containers.start(name)
    assert house.runtime.runs[0].attached
    process.prints(b"first")
    process.prints(b"last", stream=2)
    process.ends()
    assert await session.rest() == b"firstlast"


async def test_nobody_attached_means_the_monitor_is_not_asked_to_tell(house, nursery):
    name, process = await running(house)
    assert not process.told
    session = await attached(house, nursery, name, LIVE)
    assert process.told
    await session.near.aclose()
    process.prints(b"x" * 10)
    process.prints(b"x" * 10)
    await session.over.wait()
    assert not process.told


async def test_only_the_asked_stream_is_sent(house, nursery):
    name, process = await running(house)
    session = await attached(house, nursery, name, AttachRequest(stream=True, stderr=True))
    process.prints(b"out")
    process.prints(b"err", stream=2)
    process.ends()
    assert await session.rest() == b"err"


async def test_logs_then_stream_has_no_gap_and_nothing_twice(house, nursery):
    name, process = await running(house)
    process.position = logged(house, name, (1, b"early "), (2, b"problem "), (1, b"more "))
    session = await attached(house, nursery, name, BOTH)
    process.prints(b"live")
    process.ends()
    assert await session.rest() == b"early more problem live"


async def test_an_exited_container_gives_its_log_and_closes(house, nursery):
    name, process = await running(house)
    logged(house, name, (1, b"all"))
    process.ends()
    await house.containers.wait(name)
    assert await (await attached(house, nursery, name, BOTH)).rest() == b"all"
    assert await (await attached(house, nursery, name, LIVE)).rest() == b""


async def test_a_failed_start_tells_the_waiting_client_why(house, nursery):
    house.runtime.processes.append(LaunchFailed("exec", "no such thing", 127))
    name = (await house.containers.create(CAT)).id
    session = await attached(house, nursery, name, LIVE)
    with pytest.raises(LaunchFailed):
        await house.containers.start(name)
    assert await session.rest() == b"no such thing\n"


async def test_input_reaches_stdin_and_its_end_closes_stdin_only_if_once(house, nursery):
    name, process = await running(house, attrs.evolve(CAT, stdin_once=True))
    session = await attached(house, nursery, name, INPUT)
    await session.near.send_all(b"hello")
    await session.near.send_eof()
    await trio.testing.wait_all_tasks_blocked()
    assert bytes(process.stdin) == b"hello"
    assert not process.stdin_open
    process.prints(b"late")
    process.ends()
    assert await session.rest() == b"late"


async def test_without_stdin_once_the_end_of_input_ends_the_session_and_nothing_else(house, nursery):
    name, process = await running(house)
    session = await attached(house, nursery, name, INPUT)
    await session.near.send_eof()
    assert await session.rest() == b""
    assert process.stdin_open
    assert house.containers.get(name).state.running


async def test_half_closing_without_asking_for_stdin_does_not_end_the_output(house, nursery):
    name, process = await running(house)
    session = await attached(house, nursery, name, LIVE)
    await session.near.send_eof()
    await trio.testing.wait_all_tasks_blocked()
    process.prints(b"still here")
    process.ends()
    assert await session.rest() == b"still here"


async def test_input_sent_before_the_start_waits_for_it(house, nursery):
    process = FakeProcess()
    house.runtime.processes.append(process)
    name = (await house.containers.create(CAT)).id
    session = await attached(house, nursery, name, INPUT)
    await session.near.send_all(b"early")
    await trio.testing.wait_all_tasks_blocked()
    await house.containers.start(name)
    await trio.testing.wait_all_tasks_blocked()
    assert bytes(process.stdin) == b"early"
    process.ends()
    await session.over.wait()


async def test_stdin_is_ignored_where_the_container_has_none_open(house, nursery):
    name, process = await running(house, attrs.evolve(CAT, open_stdin=False))
    session = await attached(house, nursery, name, INPUT)
    await session.near.send_all(b"hello")
    await session.near.send_eof()
    await trio.testing.wait_all_tasks_blocked()
    assert bytes(process.stdin) == b""
    process.prints(b"out")
    process.ends()
    assert await session.rest() == b"out"


async def test_ctrl_p_ctrl_q_detaches_from_a_terminal(house, nursery):
    name, process = await running(house, attrs.evolve(CAT, tty=True))
    session = await attached(house, nursery, name, INPUT)
    await session.near.send_all(b"a\x10")
    await session.near.send_all(b"\x11never")
    assert await session.rest() == b""
    assert bytes(process.stdin) == b"a"
    assert house.containers.get(name).state.running


def test_detach_keys_hold_a_ctrl_p_until_the_next_key_is_known():
    keys = DetachKeys()
    assert keys.feed(b"x\x10") == (b"x", False)
    assert keys.feed(b"y") == (b"\x10y", False)
    assert keys.feed(b"\x10\x10") == (b"\x10", False)
    assert keys.feed(b"\x11") == (b"", True)


async def test_a_client_that_does_not_read_is_cut_and_the_others_get_everything(
    house, nursery, monkeypatch, caplog, autojump_clock
):
    monkeypatch.setattr(hub, "BUFFER", 1000)
    name, process = await running(house)
    deaf = Session()
    deaf.far.send_stream.send_all_hook = trio.sleep_forever
    nursery.start_soon(deaf.run, house.containers, name, LIVE)
    await deaf.joined.wait()
    session = await attached(house, nursery, name, LIVE)
    began = trio.current_time()
    for _ in range(50):
        process.prints(b"x" * 100)
    process.ends()
    assert await session.rest() == b"x" * 5000
    assert trio.current_time() - began <= hub.STALL + 0.001
    await deaf.over.wait()
    assert "has not read for" in caplog.text


async def test_a_client_still_in_the_log_is_sent_back_to_it_rather_than_cut(house, nursery, monkeypatch):
    monkeypatch.setattr(hub, "BUFFER", 1000)
    name, process = await running(house)
    process.position = logged(house, name, (1, b"a" * 100))
    session = Session()
    reading = trio.Event()

    pump = session.far.send_stream.send_all_hook

    async def slow():
        await reading.wait()
        await pump()

    session.far.send_stream.send_all_hook = slow
    nursery.start_soon(session.run, house.containers, name, BOTH)
    await session.joined.wait()
    await trio.testing.wait_all_tasks_blocked()
    for _ in range(50):  # what the monitor does: the log first, then the word to us
        process.position = logged(house, name, (1, b"b" * 100)) - 100
        process.prints(b"b" * 100)
    await trio.testing.wait_all_tasks_blocked()
    reading.set()
    process.ends()
    assert await session.rest() == b"a" * 100 + b"b" * 5000


async def test_after_a_lost_connection_the_gap_is_filled_from_the_log(house, nursery):
    name, process = await running(house)
    process.position = logged(house, name, (1, b"before"))
    session = await attached(house, nursery, name, LIVE)
    process.prints(b"live ")
    process.position = logged(house, name, (1, b"x" * 5), (2, b"missed "), (1, b"too "))
    await trio.testing.wait_all_tasks_blocked()
    # The monitor's position is behind what we have not been told; "x"*5 stands in the log for the live piece.
    house.containers._cells[house.containers.get(name).id].hub.position = logged_positions(house, name)[1]
    await process.subscribe()
    process.prints(b"again")
    process.ends()
    assert await session.rest() == b"live missed too again"


def logged_positions(house, name):
    """The position behind each record of the log."""
    directory = house.files.log_directory(house.containers.get(name).id)
    snapshot = LogSnapshot(directory)
    positions = []
    for _, data in snapshot.records():
        positions.append((positions[-1] if positions else 0) + len(data) + OVERHEAD)
    snapshot.close()
    return positions
