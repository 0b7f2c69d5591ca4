import os
import signal
from pathlib import Path

import attrs
import pytest
import trio

from trioker.model.container import Config, Phase
from trioker.model.errors import Conflict, Impossible, LaunchFailed, NotFound, TriokerError
from trioker.model.run import Exit
from trioker.testing.fake_rooms import FakeProcess, FakeRecords

DATE = Config(image="busybox", command=("date",))


async def start_with(house, config, process):
    house.runtime.processes.append(process)
    created = await house.containers.create(config)
    await house.containers.start(created.id)
    return created.id


async def test_a_created_container_is_stored_durably_and_has_a_layer_over_its_image(house):
    created = await house.containers.create(DATE)
    record = house.containers.get(created.id)
    assert house.layers.parents == {record.id: house.images.image.layer}
    assert house.records.saved[record.id] == record
    assert house.records.durable == 1
    assert record.config.hostname == created.id == record.id[:12]


async def test_an_unknown_image_leaves_nothing(house):
    with pytest.raises(NotFound, match="No such image: nope"):
        await house.containers.create(attrs.evolve(DATE, image="nope"))
    assert house.layers.parents == {}
    assert house.containers.all() == []


async def test_the_newest_container_is_listed_first(house):
    ids = [(await house.containers.create(DATE)).id for _ in range(3)]
    assert [each.id[:12] for each in house.containers.all()] == ids[::-1]


async def test_the_intent_to_start_is_stored_before_the_launch(house):
    phases = []
    launch = house.runtime.launch

    async def observed(run, mounts):
        record = house.records.saved[run.id]
        phases.append((record.state.phase, record.endpoint))
        return await launch(run, mounts)

    house.runtime.launch = observed
    created = await house.containers.create(DATE)
    await house.containers.start(created.id)
    assert phases == [(Phase.STARTING, house.network.places[house.containers.get(created.id).id])]


async def test_a_container_has_its_place_on_the_network_while_it_runs(house):
    process = FakeProcess()
    name = await start_with(house, attrs.evolve(DATE, port_specs=("80",)), process)
    record = house.containers.get(name)
    assert house.network.published == [record.id]
    assert house.runtime.runs[0].endpoint == record.endpoint
    assert [(port.public, port.private) for port in record.endpoint.ports] == [(4000, 80)]
    process.ends()
    await house.containers.wait(name)
    assert house.network.gone == [record.endpoint]
    assert house.containers.get(name).endpoint is None


async def test_ports_are_free_when_a_caller_hears_of_the_end(house):
    process = FakeProcess()
    name = await start_with(house, attrs.evolve(DATE, port_specs=("80",)), process)
    await house.containers.kill(name)
    assert house.network.places == {}


async def test_a_port_that_is_taken_fails_the_start_and_leaves_no_place(house):
    created = await house.containers.create(attrs.evolve(DATE, port_specs=("1:80",)))
    with pytest.raises(Conflict, match="Port already in use: 1"):
        await house.containers.start(created.id)
    state = house.containers.get(created.id).state
    assert (state.phase, state.error) == (Phase.EXITED, "Port already in use: 1")
    assert house.network.places == {}


async def test_a_start_that_fails_gives_its_place_back(house):
    house.network.broken = TriokerError("no more rules")
    created = await house.containers.create(DATE)
    with pytest.raises(TriokerError, match="no more rules"):
        await house.containers.start(created.id)
    assert house.network.places == {}
    assert len(house.network.gone) == 1
    house.network.broken = None
    await house.containers.start(created.id)
    assert house.containers.get(created.id).endpoint


async def test_a_place_is_given_back_for_a_container_that_ended_while_there_was_no_daemon(build):
    records = FakeRecords()
    first = build(records=records)
    created = await first.containers.create(DATE)
    await first.containers.start(created.id)
    later = build(records=records)
    await later.containers.recover()
    assert [each.container for each in later.network.gone] == [later.containers.get(created.id).id]
    assert records.saved[later.containers.get(created.id).id].endpoint is None


async def test_wait_answers_with_the_exit_code_and_the_end_is_stored(house):
    process = FakeProcess()
    name = await start_with(house, DATE, process)
    assert house.containers.get(name).state.running
    process.ends(3)
    assert await house.containers.wait(name) == 3
    await trio.testing.wait_all_tasks_blocked()
    record = house.containers.get(name)
    assert house.records.saved[record.id].state.exit_code == 3
    assert record.id in house.runtime.forgotten
    assert process.closed


async def test_wait_on_a_container_that_never_ran_answers_zero_at_once(house):
    created = await house.containers.create(DATE)
    assert await house.containers.wait(created.id) == 0


async def test_starting_a_running_container_is_refused_with_its_full_id(house):
    name = await start_with(house, DATE, FakeProcess())
    full = house.containers.get(name).id
    with pytest.raises(TriokerError, match=f"The container {full} is already running."):
        await house.containers.start(name)


async def test_a_failed_start_keeps_its_reason_and_exit_code_and_can_be_tried_again(house):
    failure = LaunchFailed("exec", 'executable file not found in $PATH: "foo"', 127)
    house.runtime.processes = [failure, FakeProcess()]
    created = await house.containers.create(DATE)
    with pytest.raises(LaunchFailed):
        await house.containers.start(created.id)
    state = house.containers.get(created.id).state
    assert (state.phase, state.exit_code, state.error) == (Phase.EXITED, 127, str(failure))
    assert await house.containers.wait(created.id) == 127
    await house.containers.start(created.id)
    assert house.containers.get(created.id).state.error == ""


async def test_stop_sends_term_and_kills_only_after_the_grace(house, autojump_clock):
    obedient, stubborn = FakeProcess(), FakeProcess(obeys=False)
    await house.containers.stop(await start_with(house, DATE, obedient), 10)
    began = trio.current_time()
    await house.containers.stop(await start_with(house, DATE, stubborn), 10)
    assert trio.current_time() - began == pytest.approx(10)
    assert obedient.signals == [signal.SIGTERM]
    assert stubborn.signals == [signal.SIGTERM, signal.SIGKILL]


async def test_kill_does_not_wait_for_a_stop_that_is_under_way(house, nursery, autojump_clock):
    name = await start_with(house, DATE, FakeProcess(obeys=False))
    nursery.start_soon(house.containers.stop, name, 1000)
    await trio.testing.wait_all_tasks_blocked()
    began = trio.current_time()
    await house.containers.kill(name)
    assert trio.current_time() == began


async def test_stop_and_kill_of_a_stopped_container_are_no_errors(house):
    created = await house.containers.create(DATE)
    await house.containers.stop(created.id, 10)
    await house.containers.kill(created.id)


async def test_restart_runs_it_again_with_everything_of_the_first_run_settled(house):
    first, second = FakeProcess(), FakeProcess()
    name = await start_with(house, DATE, first)
    house.runtime.processes.append(second)
    await house.containers.restart(name, 10)
    full = house.containers.get(name).id
    assert house.runtime.forgotten == [full]
    assert len(house.runtime.runs) == 2
    assert house.containers.get(name).state.running


async def test_a_running_container_cannot_be_removed_and_a_stopped_one_leaves_nothing(house):
    process = FakeProcess()
    name = await start_with(house, attrs.evolve(DATE, volumes=("/data",), dns=("9.9.9.9",)), process)
    with pytest.raises(Impossible):
        await house.containers.remove(name, volumes=True)
    process.ends()
    await house.containers.wait(name)
    await house.containers.remove(name, volumes=True)
    assert house.records.saved == {}
    assert house.layers.parents == {}
    assert os.listdir(house.files.containers) == os.listdir(house.files.volumes) == []
    with pytest.raises(NotFound):
        house.containers.get(name)


async def test_volumes_outlive_their_container_while_another_has_them_or_nobody_asked(house):
    first = await house.containers.create(attrs.evolve(DATE, volumes=("/data",)))
    process = FakeProcess()
    second = await start_with(house, attrs.evolve(DATE, volumes_from=first.id), process)
    assert house.containers.get(second).volumes == house.containers.get(first.id).volumes
    await house.containers.remove(first.id, volumes=True)
    assert len(os.listdir(house.files.volumes)) == 1
    process.ends()
    await house.containers.wait(second)
    await house.containers.remove(second, volumes=False)
    assert len(os.listdir(house.files.volumes)) == 1


async def test_volumes_from_an_unknown_container_fails_the_start_and_names_it(house):
    created = await house.containers.create(attrs.evolve(DATE, volumes_from="feed"))
    with pytest.raises(TriokerError, match="Container feed not found"):
        await house.containers.start(created.id)
    state = house.containers.get(created.id).state
    assert (state.phase, state.exit_code) == (Phase.EXITED, 128)
    assert "Container feed not found" in state.error


async def test_two_removals_at_once_remove_once(house):
    created = await house.containers.create(DATE)
    outcomes = []

    async def remove():
        try:
            await house.containers.remove(created.id, volumes=False)
            outcomes.append("removed")
        except NotFound:
            outcomes.append("not found")

    async with trio.open_nursery() as both:
        both.start_soon(remove)
        both.start_soon(remove)
    assert sorted(outcomes) == ["not found", "removed"]


async def test_an_out_of_memory_kill_is_kept_in_the_state_and_said_in_the_log(house, caplog):
    process = FakeProcess()
    name = await start_with(house, DATE, process)
    process.ends(137, oom_killed=True)
    await house.containers.wait(name)
    assert house.containers.get(name).state.oom_killed
    assert "reached its memory limit" in caplog.text


async def test_resize_needs_a_running_container_with_a_terminal(house):
    process = FakeProcess(tty=True)
    name = await start_with(house, attrs.evolve(DATE, tty=True), process)
    await house.containers.resize(name, 40, 120)
    assert process.size == (40, 120)
    plain = await start_with(house, DATE, FakeProcess())
    with pytest.raises(Impossible, match="no terminal"):
        await house.containers.resize(plain, 1, 1)
    created = await house.containers.create(DATE)
    with pytest.raises(Impossible, match="not running"):
        await house.containers.resize(created.id, 1, 1)


async def test_a_new_daemon_finds_what_runs_what_ended_and_what_is_lost(house, build):
    names = [await start_with(house, DATE, FakeProcess()) for _ in range(3)]
    running, ended, lost = (house.containers.get(name).id for name in names)
    untouched = (await house.containers.create(DATE)).id
    survivor = FakeProcess()
    house.runtime.survivors = {running: survivor, ended: Exit(5, 99)}
    later = build(records=house.records, runtime=house.runtime)
    await later.containers.recover()
    assert later.containers.get(running).state.started_ns == survivor.started_ns
    assert later.containers.get(running).state.running
    assert await later.containers.wait(ended) == 5
    assert later.containers.get(lost).state.exit_code == -127
    assert "left no record" in later.containers.get(lost).state.error
    assert later.containers.get(untouched).state.phase is Phase.CREATED
    await later.containers.kill(running)
    assert survivor.signals == [signal.SIGKILL]


async def test_after_a_power_cut_a_container_has_the_files_of_its_image_again(house, build, caplog):
    names = [(await house.containers.create(DATE)).id, await start_with(house, DATE, FakeProcess())]
    fresh, lost = (house.containers.get(name).id for name in names)
    later = build(records=house.records)
    await later.containers.recover()
    assert later.layers.parents == dict.fromkeys((fresh, lost), house.images.image.layer)
    assert not later.containers.get(fresh).state.error
    assert "has those of its image again" in later.containers.get(lost).state.error
    assert sum("has those of its image again" in each for each in caplog.messages) == 2


async def test_the_files_of_what_runs_are_left_alone(house, build):
    name = await start_with(house, DATE, FakeProcess())
    house.runtime.survivors = {house.containers.get(name).id: FakeProcess()}
    later = build(records=house.records, runtime=house.runtime)
    await later.containers.recover()
    assert later.layers.parents == {}


async def test_a_removal_cut_short_is_finished_by_the_next_daemon(house, build):
    created = await house.containers.create(DATE)
    record = house.containers.get(created.id)
    removing = attrs.evolve(record, state=attrs.evolve(record.state, phase=Phase.REMOVING))
    house.records.saved[record.id] = removing
    later = build(records=house.records, runtime=house.runtime)
    await later.containers.recover()
    assert later.containers.all() == []
    assert house.records.saved == {}


async def test_a_client_that_goes_away_during_start_leaves_no_half_started_container(house):
    created = await house.containers.create(DATE)
    with trio.CancelScope() as scope:
        scope.cancel()
        with trio.CancelScope(shield=True):
            pass
        await house.containers.start(created.id)
    state = house.containers.get(created.id).state
    assert state.phase in {Phase.CREATED, Phase.RUNNING}
    assert len(house.runtime.runs) == state.running


async def test_sizes_are_the_own_layer_and_the_sum_with_the_images(house):
    created = await house.containers.create(DATE)
    assert await house.containers.sizes(created.id) == (10, 110)


async def test_what_an_earlier_daemon_left_of_ended_runs_is_swept_and_live_runs_are_kept(house, build):
    name = await start_with(house, DATE, FakeProcess())
    full = house.containers.get(name).id
    house.runtime.survivors = {full: FakeProcess()}
    later = build(records=house.records, runtime=house.runtime)
    await later.containers.recover()
    assert house.runtime.kept == {full}


class FullRecords(FakeRecords):
    """No record can be written."""

    async def save_container(self, container, *, durable=False):
        raise TriokerError("the disk is full")


async def test_a_creation_that_cannot_be_recorded_leaves_no_layer(build):
    house = build(records=FullRecords())
    with pytest.raises(TriokerError, match="the disk is full"):
        await house.containers.create(DATE)
    assert house.layers.parents == {}
    assert house.containers.all() == []


async def test_the_files_of_a_container_are_made_when_it_starts(house):
    created = await house.containers.create(attrs.evolve(DATE, volumes=("/data",), dns=("9.9.9.9",)))
    assert os.listdir(house.files.containers) == os.listdir(house.files.volumes) == []
    await house.containers.start(created.id)
    record = house.containers.get(created.id)
    with open(record.resolv_conf) as file:
        assert file.read() == "nameserver 9.9.9.9\n"
    own = {each.path: Path(each.source).read_text() for each in house.runtime.runs[0].binds if each.path != "/data"}
    assert own == {
        "/etc/resolv.conf": "nameserver 9.9.9.9\n",
        "/etc/hosts": f"{record.endpoint.address} {created.id}\n",
        "/etc/hostname": f"{created.id}\n",
    }
    assert os.listdir(house.files.volumes) == [record.volumes[0].volume]
