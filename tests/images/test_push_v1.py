"""Pushing from the store to a registry of 2013."""

import json
from collections.abc import Iterator

import pytest
from registry_v1 import running_registry
from v1_scene import V1Scene, v1_scene

from trioker.http.client import Client
from trioker.images.push_v1 import EMPTY_TAR
from trioker.images.registry.names import Registries
from trioker.images.registry.v1 import registry_at
from trioker.model.container import Config
from trioker.model.errors import TriokerError, Unauthorized
from trioker.model.image import Image, Tag
from trioker.model.progress import Credentials

BASE = Image("a" * 64, 1_000_000_000, config=Config(command=("sh",)))
MIDDLE = Image("b" * 64, 2_000_000_000, parent=BASE.id, layer=BASE.layer, comment="only configuration")
TOP = Image("c" * 64, 3_000_000_000, parent=MIDDLE.id)
USER = Credentials("somebody", "a password")
TAGS = [Tag("foo", "latest", TOP.id), Tag("foo", "v1", TOP.id), Tag("foo", "old", BASE.id)]


@pytest.fixture
def v1() -> Iterator[V1Scene]:
    with v1_scene(BASE, MIDDLE, TOP) as v1:
        v1.registry.users = {USER.username: (USER.password, "", True)}
        v1.archives.tars = {BASE.id: b"base layer", TOP.id: b"top layer" * 100_000}
        yield v1


async def push(v1: V1Scene, credentials: Credentials = USER, repository: str = "foo") -> None:
    async with v1.indexes(credentials) as each:
        await v1.pusher.push(each, repository, TAGS, v1.tell)


async def test_a_repository_goes_with_all_its_generations_and_tags(v1: V1Scene) -> None:
    await push(v1)
    assert {key: image.layer for key, image in v1.registry.images.items()} == {
        BASE.id: b"base layer",
        MIDDLE.id: EMPTY_TAR,
        TOP.id: b"top layer" * 100_000,
    }
    assert v1.registry.tags == {"library/foo": {"latest": TOP.id, "v1": TOP.id, "old": BASE.id}}
    assert [(each["id"], each.get("Tag", "")) for each in v1.registry.lists["foo"]] == [
        (BASE.id, "old"),
        (MIDDLE.id, ""),
        (TOP.id, "latest"),
        (TOP.id, "v1"),
    ]
    assert {each["checksum"] for each in v1.registry.lists["foo"]} == {
        each.checksum for each in v1.registry.images.values()
    }
    sent = json.loads(v1.registry.images[MIDDLE.id].json)
    assert (sent["id"], sent["parent"], sent["comment"]) == (MIDDLE.id, BASE.id, "only configuration")


async def test_what_was_pushed_is_what_is_pulled(v1: V1Scene) -> None:
    await push(v1)
    with v1_scene() as other:
        async with v1.indexes() as each:
            await other.puller.pull(each, "foo", "foo", "", other.tell)
        for pushed, pulled in zip((TOP, MIDDLE, BASE), other.store.lineage(TOP.id), strict=True):
            assert (pulled.id, pulled.parent, pulled.created_ns, pulled.config) == (
                pushed.id, pushed.parent, pushed.created_ns, pushed.config,
            )  # fmt: skip
        assert other.names() == v1.names() | {tag.reference: tag.image_id for tag in TAGS}


async def test_what_the_registry_has_is_not_sent_again(v1: V1Scene) -> None:
    await push(v1)
    v1.told.clear()
    await push(v1)
    assert len(v1.registry.asked_for("PUT", "/layer")) == 3
    assert [each.id for each in v1.told if each.status == "Image already pushed, skipping"] == [
        each.id[:12] for each in (BASE, MIDDLE, TOP)
    ]


async def test_the_upload_is_told(v1: V1Scene) -> None:
    await push(v1)
    assert [each.current for each in v1.told if each.id == BASE.id[:12] and each.current is not None] == [
        len(b"base layer")
    ]
    assert f"Pushing repository foo to {v1.registry.address} (3 tags)" in {each.status for each in v1.told}


async def test_every_registry_of_the_index_gets_it(v1: V1Scene) -> None:
    with running_registry() as second:
        v1.registry.faults.endpoints = f"{v1.registry.address},{second.address}"
        await push(v1)
        assert second.images.keys() == v1.registry.images.keys()
        assert second.tags == v1.registry.tags
        (last,) = v1.registry.asked_for("PUT", "/images")
        assert last.headers["x-docker-endpoints"] == f"{v1.registry.address},{second.address}"


async def test_one_image_goes_straight_to_a_registry(v1: V1Scene) -> None:
    with running_registry(open=True) as registry:
        client = Client()
        await v1.pusher.push_image(registry_at(client, registry.url, Registries(), Credentials()), TOP.id, v1.tell)
        await client.aclose()
        assert registry.images.keys() == {BASE.id, MIDDLE.id, TOP.id}
        assert registry.tags == registry.lists == {}


@pytest.mark.parametrize("credentials", [Credentials(), Credentials("somebody", "wrong")])
async def test_a_push_without_the_right_to_is_refused(v1: V1Scene, credentials: Credentials) -> None:
    with pytest.raises(Unauthorized, match="Please login first"):
        await push(v1, credentials)
    assert not v1.registry.images


@pytest.mark.parametrize("ending", ["/json", "/layer", "/latest", "/images"])
async def test_a_refusal_on_the_way_ends_the_push(v1: V1Scene, ending: str) -> None:
    v1.registry.faults.status[ending] = 418
    with pytest.raises(TriokerError, match="HTTP code: 418: as told"):
        await push(v1)


async def test_a_busy_registry_gets_the_same_bytes_again(v1: V1Scene) -> None:
    v1.registry.faults.once["/layer"] = 503
    await push(v1)
    assert v1.registry.images[BASE.id].layer == b"base layer"
