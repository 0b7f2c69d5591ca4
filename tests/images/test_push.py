"""Pushing: the same bytes as long as nothing changed, and no byte that is there already."""

import json

import attrs
import pytest
import trio
from oci import layer_tar, oci_image
from registry_v2 import Registry, on, serving, too_many
from transfer_fakes import NOBODY, Transfers

from trioker.model.container import Config
from trioker.model.errors import Conflict, Forbidden, InvalidParameter, NotFound
from trioker.model.image import Image

BASE, TOP = layer_tar(base=b"b" * 3000), layer_tar(top=b"t" * 2000)
IMAGE = oci_image(BASE, TOP, Cmd=["/bin/sh"])


@pytest.fixture
def registry():
    with serving(Registry()) as registry:
        yield registry


@pytest.fixture
async def daemon(tmp_path):
    return await Transfers(tmp_path / "blobs").open()


async def made_here(daemon, *tars, parent=""):
    """Images over each other, as imports and commits make them; the last one."""
    for tar in tars:
        image = Image("", 0, parent=parent, container_config=Config(command=("step",)))
        layer = daemon.store._catalog.images[parent].layer if parent else ""
        async with daemon.store.holding() as held:
            async with held.stage(layer) as staging:
                daemon.layers.tars[staging.key] = tar
                key = held.keep(await staging.commit(f"sha256:{len(tar):064x}"))
            daemon.layers.diffs[key] = ""  # as a build step's: nobody packed it yet
            daemon.layers.chains.pop(key)
            image = daemon.store.finished(attrs.evolve(image, id=f"{len(daemon.store.all()):064x}", layer=key))
            await daemon.store.publish([image])
        parent = image.id
    return image


def manifest(registry, repository, tag):
    return json.loads(registry.manifests[repository, tag][1])


async def test_what_was_pulled_is_pushed_byte_for_byte(registry, daemon):
    registry.put("app", "1", IMAGE)
    await daemon.pull(f"{registry.host}/app", "1")
    with serving(Registry()) as other:
        await daemon.store.tag(f"{registry.host}/app:1", f"{other.host}/copy", "2", force=False)
        await daemon.push(f"{other.host}/copy:2")
        assert other.manifests["copy", "2"] == (IMAGE.media_type, IMAGE.manifest)
        assert other.blobs == IMAGE.blobs
    assert f"2: digest: {IMAGE.digest} size: {len(IMAGE.manifest)}" in daemon.said
    assert daemon.trees.packed == []
    assert daemon.unused()


async def test_a_manifest_that_came_as_plain_json_is_pushed_as_what_it_is(registry, daemon):
    registry.put("app", "1", IMAGE._replace(media_type="application/json"))
    await daemon.pull(f"{registry.host}/app", "1")
    with serving(Registry()) as other:
        await daemon.store.tag(f"{registry.host}/app:1", f"{other.host}/app", "1", force=False)
        await daemon.push(f"{other.host}/app:1")
        assert other.manifests["app", "1"] == (IMAGE.media_type, IMAGE.manifest)


async def test_what_is_there_is_not_sent_again(registry, daemon):
    registry.put("app", "1", IMAGE)
    await daemon.pull(f"{registry.host}/app", "1")
    await daemon.push(f"{registry.host}/app")
    assert registry.count("POST|PATCH") == 0
    assert daemon.said.count("Layer already exists") == 3


async def test_a_blob_that_another_repository_of_the_registry_has_is_mounted(registry, daemon):
    registry.put("user/app", "1", IMAGE)
    await daemon.pull(f"{registry.host}/user/app", "1")
    await daemon.store.tag(f"{registry.host}/user/app:1", f"{registry.host}/copy", "1", force=False)
    await daemon.push(f"{registry.host}/copy", "1")
    assert registry.uploads == {}
    assert daemon.said.count("Mounted from user/app") == 3
    assert registry.manifests["copy", "1"][1] == IMAGE.manifest


async def test_where_mounting_is_not_allowed_it_is_uploaded(registry, daemon):
    registry.put("user/app", "1", IMAGE)
    await daemon.pull(f"{registry.host}/user/app", "1")
    await daemon.store.tag(f"{registry.host}/user/app:1", f"{registry.host}/copy", "1", force=False)
    registry.faults.append(on("POST .*mount=", lambda exchange: exchange.refuse(403, "DENIED")))
    await daemon.push(f"{registry.host}/copy", "1")
    assert daemon.said.count("Pushed") == 3


async def test_what_was_made_here_is_packed_once_and_has_the_same_digest_each_time(registry, daemon):
    top = await made_here(daemon, BASE, TOP)
    await daemon.store.tag(top.id, f"{registry.host}/app", "1", force=False)
    await daemon.push(f"{registry.host}/app", "1")
    pushed = registry.manifests["app", "1"]
    assert len(daemon.trees.packed) == 2
    assert manifest(registry, "app", "1")["mediaType"].endswith("manifest.v2+json")
    with serving(Registry()) as other:
        await daemon.store.tag(top.id, f"{other.host}/app", "1", force=False)
        await daemon.push(f"{other.host}/app", "1")
        assert other.manifests["app", "1"] == pushed
    assert len(daemon.trees.packed) == 2
    assert daemon.store.get(top.id).manifest in daemon.said[-1]


async def test_a_layer_whose_blob_went_is_packed_to_the_same_bytes(registry, tmp_path):
    daemon = await Transfers(tmp_path / "blobs", limit=0).open()
    top = await made_here(daemon, BASE, TOP)
    await daemon.store.tag(top.id, f"{registry.host}/app", "1", force=False)
    await daemon.push(f"{registry.host}/app", "1")
    pushed = registry.manifests["app", "1"]
    assert daemon.files("sha256") == {}
    await daemon.push(f"{registry.host}/app", "1")
    assert registry.manifests["app", "1"] == pushed
    assert len(daemon.trees.packed) == 4
    assert registry.count("PUT .*/blobs/") == 3


async def test_a_pulled_image_whose_blobs_went_keeps_its_configuration_as_long_as_its_layers_are_the_same(
    registry, daemon
):
    registry.put("app", "1", IMAGE)
    await daemon.pull(f"{registry.host}/app", "1")
    await daemon.blobs.forget(IMAGE.layers[0])
    with serving(Registry()) as other:
        await daemon.store.tag(f"{registry.host}/app:1", f"{other.host}/app", "1", force=False)
        await daemon.push(f"{other.host}/app", "1")
        assert manifest(other, "app", "1")["config"]["digest"] == IMAGE.config_digest
        again = await Transfers(daemon.directory.parent / "again").open()
        await again.pull(f"{other.host}/app", "1")
        assert {image.id for image in again.store.all()} == {image.id for image in daemon.store.all()}


async def test_a_damaged_blob_is_not_sent_but_packed_anew(registry, daemon):
    registry.put("app", "1", IMAGE)
    await daemon.pull(f"{registry.host}/app", "1")
    (daemon.directory / "sha256" / IMAGE.layers[0][7:]).write_bytes(b"x" * len(IMAGE.blobs[IMAGE.layers[0]]))
    daemon.blobs._parts.clear()
    daemon.blobs.part(IMAGE.layers[0])
    with serving(Registry()) as other:
        await daemon.store.tag(f"{registry.host}/app:1", f"{other.host}/app", "1", force=False)
        await daemon.push(f"{other.host}/app", "1")
        assert other.count("PUT .*/manifests/1") == 1
    assert len(daemon.trees.packed) == 1


async def test_an_image_that_changed_only_the_configuration_adds_no_layer(registry, daemon):
    base = await made_here(daemon, BASE)
    top = daemon.store.finished(
        Image("f" * 64, 0, parent=base.id, layer=base.layer, config=Config(env=("A=b",), memory=5))
    )
    await daemon.store.publish([top])
    await daemon.store.tag(top.id, f"{registry.host}/app", "1", force=False)
    await daemon.push(f"{registry.host}/app", "1")
    pushed = manifest(registry, "app", "1")
    config = json.loads(registry.blobs[pushed["config"]["digest"]])
    assert len(pushed["layers"]) == 1
    assert [each.get("empty_layer", False) for each in config["history"]] == [False, True]
    assert config["config"] == {"Env": ["A=b"]}


async def test_without_a_tag_all_tags_go(registry, daemon):
    top = await made_here(daemon, BASE, TOP)
    for tag in ("1", "2"):
        await daemon.store.tag(top.id, f"{registry.host}/app", tag, force=False)
    await daemon.push(f"{registry.host}/app")
    assert registry.manifests["app", "1"] == registry.manifests["app", "2"]
    assert daemon.said[0] == f"The push refers to a repository [{registry.host}/app] (len: 2)"
    assert registry.count("PUT .*/blobs/") == 3


async def test_large_blobs_go_in_chunks_and_on_after_a_failure(registry, daemon):
    top = await made_here(daemon, layer_tar(noise=bytes(range(256)) * 100))
    await daemon.store.tag(top.id, f"{registry.host}/app", "1", force=False)
    registry.faults.append(on("PUT .*/blobs/uploads/", too_many, times=1))
    await daemon.push(f"{registry.host}/app", "1")
    assert ("app", "1") in registry.manifests


async def test_what_is_not_here_cannot_be_pushed(registry, daemon):
    with pytest.raises(NotFound, match="No such id: nothing/here"):
        await daemon.push("nothing/here")
    with pytest.raises(InvalidParameter, match="a push needs a tag"):
        await daemon.push(f"{registry.host}/app@{IMAGE.digest}")
    assert registry.asked == []


async def test_a_refusal_is_told_in_the_registrys_words(registry, daemon):
    top = await made_here(daemon, BASE)
    await daemon.store.tag(top.id, f"{registry.host}/app", "1", force=False)
    registry.faults.append(on("POST", lambda exchange: exchange.refuse(403, "DENIED", "not yours")))
    with pytest.raises(Forbidden, match="denied: not yours"):
        await daemon.push(f"{registry.host}/app", "1")
    assert daemon.unused()


async def test_an_image_being_pushed_is_not_deleted(registry, daemon):
    top = await made_here(daemon, BASE)
    name = f"{registry.host}/app"
    await daemon.store.tag(top.id, name, "1", force=False)
    asked, go_on = trio.Event(), trio.Event()

    async def slow_pack(*_, **__):
        asked.set()
        await go_on.wait()

    daemon.trees.pack = slow_pack
    async with trio.open_nursery() as nursery:
        nursery.start_soon(daemon.pusher.push, name, "1", "", NOBODY, daemon.tell)
        await asked.wait()
        with pytest.raises(Conflict, match="a push"):
            await daemon.store.remove(f"{name}:1")
        nursery.cancel_scope.cancel()
    assert daemon.files("partial") == {}
    assert daemon.unused()
