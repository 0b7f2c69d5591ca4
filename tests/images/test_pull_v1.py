"""Pulling from a registry of 2013 into the store."""

from collections.abc import Iterator

import pytest
import trio
from image_fakes import FakeUnpacker
from registry_v1 import running_registry
from v1_scene import V1Scene, v1_scene

from trioker.http.client import Client
from trioker.images.pull_v1 import PullerV1
from trioker.images.registry.names import Registries
from trioker.images.registry.v1 import registry_at
from trioker.model.errors import Conflict, InvalidParameter, NotFound, TriokerError, Unauthorized
from trioker.model.image import Image
from trioker.model.progress import Credentials


@pytest.fixture
def v1() -> Iterator[V1Scene]:
    with v1_scene() as scene:
        yield scene


async def test_an_image_comes_with_its_generations_ids_and_tag(v1: V1Scene) -> None:
    base = v1.registry.add(b"base")
    top = v1.registry.add(b"top layer", base, comment="made", config={"Cmd": ["run"], "Memory": 5})
    v1.registry.tag("foo", "latest", top)
    await v1.pull("foo")
    assert v1.names() == {"foo:latest": top}
    first, second = v1.store.lineage(top)
    assert (first.id, first.parent, first.comment, first.size) == (top, base, "made", 9)
    assert first.config is not None
    assert (first.config.command, first.config.memory) == (("run",), 0)
    assert (second.id, second.parent) == (base, "")
    assert v1.scene.layers.parents == {first.layer: second.layer, second.layer: ""}
    assert set(v1.scene.layers.settled) >= {first.layer, second.layer}
    assert v1.unpacking.tars == [b"base", b"top layer"]
    assert v1.scene.whole(v1.store)


async def test_what_is_told(v1: V1Scene) -> None:
    top = v1.registry.add(b"top")
    v1.registry.tag("foo", "v1", top)
    await v1.pull("foo", local="127.0.0.1:5000/foo")
    short = top[:12]
    assert [(each.status, each.id) for each in v1.told] == [
        (f"Pulling repository 127.0.0.1:5000/foo from {v1.registry.url}", ""),
        (f"Pulling image {short} (v1) from 127.0.0.1:5000/foo", ""),
        ("Pulling metadata", short),
        ("Pulling fs layer", short),
        ("Downloading", short),
        ("Pull complete", short),
    ]
    assert [(each.current, each.total) for each in v1.told if each.status == "Downloading"] == [(3, 3)]


async def test_all_tags_or_one(v1: V1Scene) -> None:
    one, two = v1.registry.add(b"one"), v1.registry.add(b"two")
    v1.registry.tag("user/foo", "1", one)
    v1.registry.tag("user/foo", "2", two)
    await v1.pull("user/foo", "2")
    assert v1.names() == {"user/foo:2": two}
    await v1.pull("user/foo")
    assert v1.names() == {"user/foo:1": one, "user/foo:2": two}
    with pytest.raises(NotFound, match="Tag 3 not found in repository user/foo"):
        await v1.pull("user/foo", "3")


async def test_what_is_here_is_not_fetched_again(v1: V1Scene) -> None:
    base = v1.registry.add(b"base")
    v1.registry.tag("base", "latest", base)
    await v1.pull("base")
    top = v1.registry.add(b"top", base)
    v1.registry.tag("top", "latest", top)
    await v1.pull("top")
    await v1.pull("top")
    assert v1.unpacking.tars == [b"base", b"top"]
    assert len(v1.registry.asked_for("GET", "/layer")) == 2
    assert [each.id for each in v1.told if each.status == "Already exists"] == [base[:12], base[:12], top[:12]]


async def test_two_pulls_of_one_image_share_it(v1: V1Scene) -> None:
    base = v1.registry.add(b"base")
    for name in ("one", "two", "three"):
        v1.registry.tag(name, "latest", v1.registry.add(name.encode(), base))
    async with trio.open_nursery() as nursery:
        for name in ("one", "two", "three", "one"):
            nursery.start_soon(v1.pull, name)
    assert sorted(v1.unpacking.tars) == [b"base", b"one", b"three", b"two"]
    assert v1.scene.whole(v1.store)


async def test_an_image_by_its_id_comes_straight_from_a_registry_without_names(v1: V1Scene) -> None:
    with running_registry(open=True) as registry:
        top = registry.add(b"top", registry.add(b"base"))
        client = Client()
        await v1.puller.pull_image(registry_at(client, registry.url + "/", Registries(), Credentials()), top, v1.tell)
        await client.aclose()
        assert registry.asked[0].path == f"/v1/images/{top}/ancestry"
    assert len(v1.store.lineage(top)) == 2
    assert v1.names() == {}


async def test_the_first_registry_that_answers_is_used(v1: V1Scene) -> None:
    with running_registry() as gone:
        pass
    v1.registry.tag("foo", "latest", v1.registry.add(b"layer"))
    v1.registry.faults.endpoints = f"{gone.address},{v1.registry.address}"
    await v1.pull("foo")
    assert v1.names()


# -- what must not come in ------------------------------------------------------------------------------------------------


async def test_a_layer_with_another_checksum_than_the_index_says_is_refused(v1: V1Scene) -> None:
    v1.registry.tag("foo", "latest", v1.registry.add(b"top", v1.registry.add(b"base")))
    v1.registry.faults.wrong_checksums = True
    with pytest.raises(TriokerError, match=r"has the checksum sha256:.*, but the index says sha256:000"):
        await v1.pull("foo")
    assert not v1.store.all()
    assert v1.scene.whole(v1.store)


@pytest.mark.parametrize("trailing", [b"", bytes(10 * 2**20)])
async def test_a_checksum_is_of_all_bytes_whatever_the_unpacker_leaves(v1: V1Scene, trailing: bytes) -> None:
    v1.registry.tag("foo", "latest", v1.registry.add(bytes(2**20) + trailing))
    v1.unpacking.early = True
    await v1.pull("foo")
    assert v1.names()


async def test_a_layer_without_end_is_not_read_for_its_checksum(v1: V1Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trioker.images.pull_v1.TRAILING_BYTES", 2**20)
    v1.registry.tag("foo", "latest", v1.registry.add(bytes(3 * 2**20)))
    v1.unpacking.early = True
    with pytest.raises(TriokerError, match="goes on behind the end of its tar"):
        await v1.pull("foo")
    assert v1.scene.whole(v1.store)


async def test_a_layer_that_is_no_tar_is_refused_as_the_images(v1: V1Scene) -> None:
    top = v1.registry.add(b"evil", v1.registry.add(b"base"))
    v1.registry.tag("foo", "latest", top)
    async with v1.indexes() as each:
        with pytest.raises(
            TriokerError, match=f"the layer of image {top[:12]}: the entry ../evil leaves the root"
        ) as refused:
            await PullerV1(v1.store, FakeUnpacker()).pull(each, "foo", "foo", "", v1.tell)
    assert not isinstance(refused.value, InvalidParameter)
    assert v1.scene.whole(v1.store)


async def test_a_cyclic_ancestry_is_refused(v1: V1Scene) -> None:
    top = v1.registry.add(b"top")
    v1.registry.tag("foo", "latest", top)
    v1.registry.faults.ancestry[top] = [top, "b" * 64, top]
    with pytest.raises(TriokerError, match="its own ancestor"):
        await v1.pull("foo")


async def test_tags_whose_ancestries_contradict_each_other_are_refused(v1: V1Scene) -> None:
    base, other = v1.registry.add(b"base"), v1.registry.add(b"other")
    one, two = v1.registry.add(b"one", base), v1.registry.add(b"two", base)
    v1.registry.tag("foo", "1", one)
    v1.registry.tag("foo", "2", two)
    v1.registry.faults.ancestry[two] = [two, base, other]
    with pytest.raises(TriokerError, match="two ancestries of image"):
        await v1.pull("foo")


async def test_an_image_over_another_parent_than_its_json_says_is_refused(v1: V1Scene) -> None:
    base, other = v1.registry.add(b"base"), v1.registry.add(b"other")
    top = v1.registry.add(b"top", base)
    v1.registry.tag("foo", "latest", top)
    v1.registry.faults.ancestry[top] = [top, other]
    with pytest.raises(TriokerError, match=f"parent: expected {other}"):
        await v1.pull("foo")
    assert v1.scene.whole(v1.store)


async def test_an_id_that_stands_for_another_image_here_is_refused() -> None:
    here = Image("a" * 64, 1, parent="b" * 64), Image("b" * 64, 1)
    with v1_scene(*reversed(here)) as v1:
        v1.registry.add(b"base")
        v1.registry.images["a" * 64] = v1.registry.images.popitem()[1]
        v1.registry.faults.ancestry["a" * 64] = ["a" * 64]
        v1.registry.tags["library/foo"] = {"latest": "a" * 64}
        v1.registry.lists["foo"] = []
        with pytest.raises(Conflict, match="two images have one id"):
            await v1.pull("foo")
        assert v1.store.lineage("a" * 64) == here


async def test_an_index_that_wants_a_login_says_so(v1: V1Scene) -> None:
    v1.registry.private = True
    with pytest.raises(Unauthorized, match=r"Please login first \(HTTP code 401\)"):
        await v1.pull("foo")


async def test_a_repository_that_is_nowhere_is_not_found(v1: V1Scene) -> None:
    with pytest.raises(NotFound, match="HTTP code: 404"):
        await v1.pull("foo")
    assert v1.told == []


async def test_a_cancelled_pull_leaves_nothing_and_holds_nobody_up(v1: V1Scene) -> None:
    top = v1.registry.add(b"top", v1.registry.add(b"base"))
    v1.registry.tag("foo", "latest", top)
    with trio.CancelScope() as scope:

        async def cancel_at_the_second(tar: bytes) -> None:
            if len(v1.unpacking.tars) == 1:
                scope.cancel()
                await trio.lowlevel.checkpoint()

        unpack = v1.unpacking.unpack

        class Cancelling:
            async def unpack(self, path, whiteouts, chunks, *, below=()):
                await cancel_at_the_second(b"")
                return await unpack(path, whiteouts, chunks)

        async with v1.indexes() as each:
            await PullerV1(v1.store, Cancelling(), v1.puller._claims).pull(each, "foo", "foo", "", v1.tell)
    assert scope.cancelled_caught
    assert not v1.store.all()
    assert v1.scene.whole(v1.store)
    await v1.pull("foo")
    assert v1.names() == {"foo:latest": top}


async def test_an_image_deleted_during_the_pull_is_known_again_at_its_end(v1: V1Scene) -> None:
    base = v1.registry.add(b"base")
    v1.registry.tag("base", "latest", base)
    await v1.pull("base")
    top = v1.registry.add(b"top", base)
    v1.registry.tag("top", "latest", top)

    async def deleting(progress) -> None:
        if progress.status == "Pulling fs layer":
            await v1.store.remove("base")

    async with v1.indexes() as each:
        await v1.puller.pull(each, "top", "top", "", deleting)
    assert [image.id for image in v1.store.lineage(top)] == [top, base]
    assert v1.names() == {"top:latest": top}
    assert v1.scene.whole(v1.store)
