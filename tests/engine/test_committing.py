import attrs
import pytest
import trio

from trioker.model.commit import Commit
from trioker.model.container import ChangeKind, Config
from trioker.model.errors import InvalidParameter, NotFound, TriokerError
from trioker.testing.fake_rooms import FakeProcess

CONFIG = Config(
    image="busybox", command=("sh",), env=("A=1",), tty=True, open_stdin=True, memory=2**30, hostname="web", user="www"
)


@pytest.fixture
async def name(house):
    return (await house.containers.create(CONFIG)).id


async def running(house, name):
    process = FakeProcess(tty=True)
    house.runtime.processes.append(process)
    await house.containers.start(name)
    return process


async def test_the_image_has_the_containers_layer_and_configuration_without_what_was_for_one_run(house, name):
    image = await house.containers.commit(name, Commit("me/app", "v1", "words", "somebody"))
    ((draft, tag, layer),) = house.images.created
    record = house.containers.get(name)
    assert image.id == "c" * 64
    assert layer == house.runtime.tree
    assert tag.reference == "me/app:v1"
    assert (draft.parent, draft.container, draft.container_config) == (record.image_id, record.id, record.config)
    assert (draft.comment, draft.author) == ("words", "somebody")
    assert draft.config == Config(image="busybox", command=("sh",), env=("A=1",), hostname="web", user="www")


async def test_what_the_body_sets_wins_and_the_rest_stays(house, name):
    await house.containers.commit(name, Commit(config=Config(command=("cat",), port_specs=("22",), tty=True)))
    ((draft, tag, _),) = house.images.created
    assert tag is None
    assert draft.config.command == ("cat",)
    assert draft.config.port_specs == ("22",)
    assert draft.config.env == ("A=1",)
    assert draft.config.tty


async def test_a_host_name_nobody_chose_stays_with_its_container(house):
    name = (await house.containers.create(attrs.evolve(CONFIG, hostname=""))).id
    await house.containers.commit(name, Commit())
    assert house.images.created[0][0].config.hostname == ""


async def test_a_running_container_is_frozen_while_it_is_read_and_packed_as_it_runs(house, name):
    process = await running(house, name)
    await house.containers.commit(name, Commit())
    full = house.containers.get(name).id
    assert house.runtime.packed == [{"frozen": {full}, "running": process, "only": ["/new"], "deleted": []}]
    assert house.runtime.frozen_now == set()


async def test_a_container_that_does_not_run_is_not_frozen(house, name):
    await house.containers.commit(name, Commit())
    process = await running(house, name)
    process.ends()
    await house.containers.wait(name)
    await house.containers.commit(name, Commit())
    assert house.runtime.froze == []
    assert [each["running"] for each in house.runtime.packed] == [None, None]


async def test_deleted_paths_are_told_apart(house, name):
    async def changes(key):
        return (("/a", ChangeKind.MODIFIED), ("/a/x", ChangeKind.ADDED), ("/a/y", ChangeKind.DELETED))

    house.layers.changes = changes
    await house.containers.commit(name, Commit())
    (packed,) = house.runtime.packed
    assert (packed["only"], packed["deleted"]) == (["/a", "/a/x"], ["/a/y"])


async def test_a_bad_name_is_refused_before_anything_is_done(house, name):
    await running(house, name)
    with pytest.raises(InvalidParameter):
        await house.containers.commit(name, Commit(".bad"))
    assert house.runtime.froze == []


async def test_an_unknown_container_is_not_found(house):
    with pytest.raises(NotFound):
        await house.containers.commit("nope", Commit())


class StuckPack:
    """A runtime's pack that waits in the middle."""

    def __init__(self, house):
        self.begun = trio.Event()
        self.go_on = trio.Event()
        self._pack = house.runtime.pack
        house.runtime.pack = self

    async def __call__(self, mounts, send, running=None, **selection):
        self.begun.set()
        await self.go_on.wait()
        await self._pack(mounts, send, running, **selection)


async def test_a_cancelled_commit_lets_the_container_go_on_and_makes_no_image(house, name):
    await running(house, name)
    stuck = StuckPack(house)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.containers.commit, name, Commit())
        await stuck.begun.wait()
        assert house.runtime.frozen_now
        nursery.cancel_scope.cancel()
    assert house.runtime.frozen_now == set()
    assert house.images.created == []


async def test_a_kill_does_not_wait_for_a_commit_and_the_commit_goes_on(house, name, nursery):
    await running(house, name)
    stuck = StuckPack(house)
    nursery.start_soon(house.containers.commit, name, Commit())
    await stuck.begun.wait()
    await house.containers.kill(name)
    assert house.runtime.frozen_now == set()
    stuck.go_on.set()
    await trio.testing.wait_all_tasks_blocked()
    assert len(house.images.created) == 1


async def test_a_removal_waits_for_a_commit_and_a_commit_for_a_removal_finds_nothing(house, name, nursery):
    stuck = StuckPack(house)
    nursery.start_soon(house.containers.commit, name, Commit())
    await stuck.begun.wait()
    removed = trio.Event()

    async def remove():
        await house.containers.remove(name, volumes=False)
        removed.set()

    async def commit_again():
        with pytest.raises(NotFound):
            await house.containers.commit(name, Commit())

    nursery.start_soon(remove)
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(commit_again)
    await trio.testing.wait_all_tasks_blocked()
    assert not removed.is_set()
    stuck.go_on.set()
    await removed.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert len(house.images.created) == 1


async def test_what_fails_is_raised_as_it_is(house, name):
    async def pack(*_, **__):
        raise InvalidParameter("Input/output error in entry ./x")

    house.runtime.pack = pack
    with pytest.raises(InvalidParameter, match="Input/output error"):
        await house.containers.commit(name, Commit())

    async def create(draft, wanted, chunks):
        raise TriokerError("disk full")

    house.images.create = create
    with pytest.raises(TriokerError):
        await house.containers.commit(name, Commit())
