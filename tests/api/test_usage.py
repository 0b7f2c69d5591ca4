"""GET /system/df: what takes room, and who uses it."""

import attrs
import pytest

from trioker.model.container import Config, Label, Phase, State, VolumeMount
from trioker.model.usage import DiskUsage, LayerUsage
from trioker.testing.fake_backend import fake_id

BASE = fake_id("base:latest")


@pytest.fixture
def stock(fake):
    """base <- app:1, and base <- step <- cached, which a build left; container c of app; volume v is its, volume w nobody's."""
    images = fake.images
    app = images.add("app:1", BASE, layer="b" * 64, config=Config(labels=(Label("k", "v"),)))
    step = images.add("step", BASE, layer="c" * 64, recipe="r1", size=300)
    cached = images.add(
        "cached", step.id, layer="c" * 64, recipe="r2", size=0, container_config=Config(command=("sh", "-c", "x"))
    )
    container = fake.add_container("c", State(Phase.RUNNING))
    used = attrs.evolve(container, image_id=app.id, volumes=(VolumeMount("/v", "v" * 64),))
    fake.containers.records[0] = used
    fake.system.usage = DiskUsage(
        layers=(
            LayerUsage("a" * 64, "", 1000, (BASE,)),
            LayerUsage("b" * 64, "a" * 64, 200, (app.id,)),
            LayerUsage("c" * 64, "a" * 64, 300, (step.id, cached.id)),
            LayerUsage("d" * 64, "b" * 64, 40, container=container.id),
        ),
        volumes=(("v" * 64, 5), ("w" * 64, 6)),
        blobs=700,
        blob_limit=9000,
    )
    images.records[0] = attrs.evolve(images.records[0], layer="a" * 64)
    return fake


async def test_everything_that_takes_room_is_told(ask, stock):
    told = (await ask("GET", "/v1.2/system/df")).json
    assert list(told) == ["LayersSize", "Images", "Containers", "Volumes", "BuildCache", "Layers", "Blobs"]
    assert told["LayersSize"] == 1500
    assert told["Blobs"] == {"Size": 700, "Limit": 9000}
    assert [(layer["Size"], layer["Container"]) for layer in told["Layers"]] == [
        (1000, ""), (200, ""), (300, ""), (40, fake_id("c")),
    ]  # fmt: skip
    assert told["Layers"][2] == {
        "Id": "c" * 64, "Parent": "a" * 64, "Size": 300, "Images": [fake_id("step"), fake_id("cached")], "Container": "",
    }  # fmt: skip


async def test_an_image_tells_what_it_shares_and_with_how_many_containers(ask, stock):
    base, app = (await ask("GET", "/system/df")).json["Images"]
    assert base == {
        "Id": BASE, "ParentId": "", "RepoTags": ["base:latest"], "RepoDigests": [], "Created": 1364102658, "Labels": {},
        "Size": 1000, "VirtualSize": 1000, "SharedSize": 1000, "Containers": 0,
    }  # fmt: skip
    assert (app["Id"], app["Size"], app["SharedSize"], app["Containers"]) == (fake_id("app:1"), 1200, 1000, 1)
    assert app["Labels"] == {"k": "v"}


async def test_what_only_a_build_would_miss_is_the_build_cache(ask, stock):
    told = (await ask("GET", "/system/df")).json
    assert [(each["ID"], each["Size"], each["Description"]) for each in told["BuildCache"]] == [
        (fake_id("step"), 300, ""), (fake_id("cached"), 0, "sh -c x"),
    ]  # fmt: skip


async def test_a_build_that_has_a_name_and_its_steps_are_no_cache(ask, stock):
    stock.images.names.append(attrs.evolve(stock.images.names[0], repository="made", image_id=fake_id("cached")))
    told = (await ask("GET", "/system/df")).json
    assert told["BuildCache"] == []
    assert [each["RepoTags"] for each in told["Images"]] == [["base:latest"], ["app:1"], ["made:latest"]]


async def test_a_step_with_a_container_is_an_image(ask, stock):
    container = stock.containers.records[0]
    stock.containers.records.append(attrs.evolve(container, id=fake_id("e"), image_id=fake_id("step")))
    told = (await ask("GET", "/system/df")).json
    assert fake_id("step") in [each["Id"] for each in told["Images"]]
    assert [each["ID"] for each in told["BuildCache"]] == [fake_id("cached")]


async def test_an_image_by_its_digest_shows_it_beside_its_tags(ask, stock):
    digest = "sha256:" + "0" * 64
    stock.images.names.append(attrs.evolve(stock.images.names[0], tag=digest))
    base = (await ask("GET", "/system/df")).json["Images"][0]
    assert (base["RepoTags"], base["RepoDigests"]) == (["base:latest"], [f"base@{digest}"])


async def test_a_container_tells_its_own_bytes_and_those_of_its_tree(ask, stock):
    (row,) = (await ask("GET", "/system/df")).json["Containers"]
    assert (row["SizeRw"], row["SizeRootFs"]) == (40, 1240)
    assert (row["Id"], row["Image"], row["ImageID"], row["State"]) == (
        fake_id("c"),
        "app:1",
        fake_id("app:1"),
        "running",
    )
    assert row["Status"].startswith("Up ")


async def test_a_volume_tells_how_many_have_it(ask, stock):
    volumes = (await ask("GET", "/system/df")).json["Volumes"]
    assert [(each["Name"][0], each["UsageData"]) for each in volumes] == [
        ("v", {"Size": 5, "RefCount": 1}), ("w", {"Size": 6, "RefCount": 0}),
    ]  # fmt: skip


async def test_what_came_since_the_figures_were_taken_counts_nothing(ask, stock):
    stock.images.add("new:1", layer="e" * 64)
    stock.add_container("new")
    told = (await ask("GET", "/system/df")).json
    assert [each["Size"] for each in told["Images"] if each["RepoTags"] == ["new:1"]] == [0]
    assert (told["Containers"][0]["SizeRw"], told["Containers"][0]["SizeRootFs"]) == (0, 0)


async def test_an_empty_store_is_told_as_empty(ask, fake):
    fake.images.records.clear()
    fake.images.names.clear()
    told = (await ask("GET", "/system/df")).json
    assert told == {
        "LayersSize": 0, "Images": [], "Containers": [], "Volumes": [], "BuildCache": [], "Layers": [], "Blobs": {"Size": 0, "Limit": 0},
    }  # fmt: skip
