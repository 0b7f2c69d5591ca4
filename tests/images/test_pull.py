"""Pulling from a registry that is honest, and from one that is not."""

import gzip
import json
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from oci import LAYER, digest_of, layer_tar, oci_image, oci_index
from registry_v2 import Registry, cut_blobs, endless_head, endless_redirect, html, on, serving, too_many
from transfer_fakes import NOBODY, Transfers

from trioker.images.registry.names import Registries
from trioker.model.errors import InvalidParameter, NotFound, TriokerError, Unauthorized
from trioker.model.image import Tag

BASE, TOP = layer_tar(base=b"b" * 3000), layer_tar(top=b"t" * 2000)
IMAGE = oci_image(BASE, TOP, Cmd=["/bin/sh"], Memory=7)
EVIL = oci_image(BASE, layer_tar(evil=b""))
OTHER = gzip.compress(layer_tar(other=b"content"), 1, mtime=0)
HONEST = {**IMAGE.blobs, **EVIL.blobs, digest_of(OTHER): OTHER}


@pytest.fixture
def registry():
    with serving(Registry()) as registry:
        yield registry


@pytest.fixture
async def daemon(tmp_path):
    return await Transfers(tmp_path / "blobs").open()


async def test_a_pulled_image_has_the_id_of_its_configuration_and_a_generation_for_each_layer(registry, daemon):
    registry.put("user/app", "1", IMAGE)
    await daemon.pull(f"{registry.host}/user/app:1")
    top, base = daemon.store.lineage(IMAGE.config_digest[7:])
    assert daemon.store.tags() == (Tag(f"{registry.host}/user/app", "1", top.id),)
    assert (top.config.command, top.config.memory) == (("/bin/sh",), 0)
    assert [daemon.layers.tars[image.layer] for image in (base, top)] == [BASE, TOP]
    assert (base.size, top.size) == (len(BASE), len(TOP))
    assert top.manifest == IMAGE.digest
    assert daemon.scene.whole(daemon.store)
    assert daemon.unused()


async def test_what_is_told_is_what_users_know(registry, daemon):
    registry.put("app", "1", IMAGE)
    name = f"{registry.host}/app"
    await daemon.pull(name, "1")
    assert daemon.said[0] == f"Pulling repository {name}"
    assert daemon.said[-2:] == [f"Digest: {IMAGE.digest}", f"Status: Downloaded newer image for {name}:1"]
    for layer in IMAGE.layers:
        told = [each.status for each in daemon.told if each.id == layer[7:19]]
        assert list(dict.fromkeys(told)) in (
            ["Pulling fs layer", "Downloading", "Download complete", "Extracting", "Pull complete"],
            ["Pulling fs layer", "Downloading", "Extracting", "Download complete", "Pull complete"],
            ["Pulling fs layer", "Download complete", "Extracting", "Pull complete"],
        )
    daemon.told.clear()
    await daemon.pull(name, "1")
    assert daemon.said.count("Already exists") == 2
    assert daemon.said[-1] == f"Status: Image is up to date for {name}:1"


async def test_a_layer_that_is_here_is_not_fetched(registry, daemon):
    other = oci_image(BASE, layer_tar(other=b"o"))
    registry.put("app", "1", IMAGE)
    registry.put("app", "2", other)
    await daemon.pull(f"{registry.host}/app", "1")
    await daemon.pull(f"{registry.host}/app", "2")
    assert registry.count(f"GET .*/blobs/{IMAGE.layers[0]}") == 1
    assert len(daemon.layers.parents) == 3
    assert daemon.scene.whole(daemon.store)


async def test_without_a_tag_all_tags_are_pulled_and_what_is_no_image_for_us_is_passed_over(registry, daemon):
    registry.put("app", "1", IMAGE)
    registry.put("app", "2", oci_image(layer_tar(second=b"2")))
    registry.put_manifest("app", "arm", oci_index(arm64=oci_image(BASE, architecture="arm64")))
    registry.put_manifest("app", "old", b'{"schemaVersion": 1}', "application/vnd.docker.distribution.manifest.v1+json")
    await daemon.pull(f"{registry.host}/app")
    assert [tag.tag for tag in daemon.store.tags()] == ["1", "2"]
    skipped = [status for status in daemon.said if status.startswith("Skipping")]
    assert "no matching manifest for linux/amd64" in skipped[0]
    assert "schema 1" in skipped[1]


async def test_a_registrys_tag_that_none_can_be_reaches_no_terminal(registry, daemon):
    registry.put("app", "1", IMAGE)
    registry.put("app", "\x1b]0;evil\x07", IMAGE)
    await daemon.pull(f"{registry.host}/app")
    assert [tag.tag for tag in daemon.store.tags()] == ["1"]
    (skipped,) = [status for status in daemon.said if status.startswith("Skipping")]
    assert skipped.isprintable()


async def test_without_any_tag_for_us_the_error_says_why(registry, daemon):
    registry.put_manifest("app", "arm", oci_index(arm64=oci_image(BASE, architecture="arm64")))
    with pytest.raises(NotFound, match=r"no matching manifest for linux/amd64.* it has: linux/arm64"):
        await daemon.pull(f"{registry.host}/app")


async def test_an_index_is_followed_to_the_image_for_this_host_and_the_tag_may_be_a_digest(registry, daemon):
    registry.put("app", "amd", IMAGE)
    index = oci_index(arm64=oci_image(BASE, architecture="arm64"), amd64=IMAGE)
    registry.put_manifest("app", "multi", index)
    await daemon.pull(f"{registry.host}/app@{digest_of(index)}")
    (tag,) = daemon.store.tags()
    assert (tag.tag, tag.image_id) == (digest_of(index), IMAGE.config_digest[7:])
    assert f"Digest: {digest_of(index)}" in daemon.said
    assert daemon.store.lineage(tag.image_id)[0].manifest == IMAGE.digest


async def test_an_image_without_layers_gets_an_empty_one_and_keeps_it(registry, daemon):
    registry.put("app", "none", oci_image(Env=["A=b"]))
    for _ in range(2):
        await daemon.pull(f"{registry.host}/app", "none")
    (image,) = daemon.store.all()
    assert image.config.env == ("A=b",)
    assert daemon.scene.whole(daemon.store)


async def test_a_layer_may_be_the_same_twice(registry, daemon):
    registry.put("app", "1", oci_image(BASE, TOP, BASE, BASE))
    await daemon.pull(f"{registry.host}/app", "1")
    assert len(daemon.store.all()) == 4
    assert registry.count(f"GET .*/blobs/{IMAGE.layers[0]}") == 1
    assert daemon.scene.whole(daemon.store)


async def test_two_pulls_of_one_image_at_once_fetch_and_unpack_each_layer_once(registry, daemon):
    registry.put("app", "1", IMAGE)
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(daemon.pull, f"{registry.host}/app", "1")
    assert registry.count("GET .*/blobs/") == 3
    assert len(daemon.unpacker.unpacked) == 2
    assert daemon.scene.whole(daemon.store)
    assert daemon.unused()


async def test_a_client_that_does_not_read_holds_nobody_else_up(registry, daemon):
    registry.put("app", "1", IMAGE)
    stuck = trio.Event()

    async def never(_):
        stuck.set()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(daemon.puller.pull, f"{registry.host}/app", "1", "", NOBODY, never)
        await stuck.wait()
        await daemon.pull(f"{registry.host}/app", "1")
        nursery.cancel_scope.cancel()
    assert daemon.store.tags()


async def test_a_cancelled_pull_leaves_no_image_and_keeps_what_it_fetched(registry, daemon):
    registry.put("app", "1", IMAGE)
    daemon.unpacker.hold = trio.Event()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(daemon.pull, f"{registry.host}/app", "1")
            while daemon.said.count("Download complete") < 2:
                await trio.sleep(0.01)
            scope.cancel()
    assert daemon.scene.whole(daemon.store)
    assert daemon.unused()
    assert not daemon.store.all()
    daemon.unpacker.hold = None
    await daemon.pull(f"{registry.host}/app", "1")
    assert registry.count("GET .*/blobs/") == 3
    assert len(daemon.store.all()) == 2


async def test_an_image_deleted_while_it_is_pulled_again_is_there_afterwards(registry, daemon):
    registry.put("app", "1", IMAGE)
    registry.put("app", "2", oci_image(BASE, layer_tar(other=b"o")))
    await daemon.pull(f"{registry.host}/app", "1")
    daemon.unpacker.hold = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(daemon.pull, f"{registry.host}/app", "2")
        while "Download complete" not in daemon.said[-3:]:
            await trio.sleep(0.01)
        await daemon.store.remove(f"{registry.host}/app:1")
        assert not daemon.store.all()
        daemon.unpacker.hold.set()
    assert len(daemon.store.all()) == 2
    assert daemon.scene.whole(daemon.store)


async def test_a_restart_finds_what_was_fetched_and_what_is_damaged_of_it_is_fetched_anew(registry, tmp_path):
    registry.put("app", "1", IMAGE)
    daemon = await Transfers(tmp_path / "blobs").open()
    await daemon.pull(f"{registry.host}/app", "1")
    (tmp_path / "blobs/sha256" / IMAGE.layers[0][7:]).write_bytes(b"x" * len(IMAGE.blobs[IMAGE.layers[0]]))
    registry.asked.clear()
    again = await Transfers(tmp_path / "blobs", records=daemon.records).open()
    await again.pull(f"{registry.host}/app", "1")
    assert registry.count("GET .*/blobs/") == 1
    assert len(again.store.all()) == 2


async def test_half_a_layer_that_was_damaged_before_the_restart_is_fetched_anew(registry, tmp_path):
    registry.put("app", "1", IMAGE)
    daemon = await Transfers(tmp_path / "blobs").open()
    (tmp_path / "blobs/partial" / IMAGE.layers[0][7:]).write_bytes(b"damaged")
    await daemon.pull(f"{registry.host}/app", "1")
    assert registry.count(f"GET .*/blobs/{IMAGE.layers[0]}") == 2
    assert daemon.scene.whole(daemon.store)
    assert daemon.unused()


async def test_a_layer_that_was_fetched_anew_meanwhile_is_not_thrown_away_for_the_damaged_one(registry, tmp_path):
    registry.put("app", "1", IMAGE)
    daemon = await Transfers(tmp_path / "blobs").open()
    (tmp_path / "blobs/partial" / IMAGE.layers[0][7:]).write_bytes(b"damaged")
    unpack = daemon.unpacker.unpack

    async def stumble_late(*args, **options):
        try:
            return await unpack(*args, **options)
        finally:
            while not daemon.blobs.get(IMAGE.layers[0]):
                await trio.sleep(0.01)

    daemon.unpacker.unpack = stumble_late
    with trio.fail_after(30):
        await daemon.pull(f"{registry.host}/app", "1")
    assert registry.count(f"GET .*/blobs/{IMAGE.layers[0]}") == 2
    assert daemon.scene.whole(daemon.store)


# -- names, endpoints, mirrors -------------------------------------------------------------------------------------------------


async def test_names_without_a_host_are_the_default_registrys_with_or_without_library(registry, tmp_path):
    daemon = await Transfers(tmp_path / "blobs", Registries(default=registry.host)).open()
    registry.put("library/one", "latest", IMAGE)
    registry.put("two", "latest", IMAGE)
    await daemon.pull("one:latest")
    await daemon.pull("two", "latest")
    assert [tag.repository for tag in daemon.store.tags()] == ["one", "two"]
    with pytest.raises(NotFound, match="manifest for three:latest not found: manifest unknown"):
        await daemon.pull("three:latest")


async def test_a_mirror_is_asked_first_and_its_failures_are_nobodys_concern(registry, tmp_path):
    registry.put("library/app", "1", IMAGE)
    with serving(Registry()) as mirror:
        registries = Registries(default=registry.host, mirrors=("http://127.0.0.1:1", mirror.url))
        daemon = await Transfers(tmp_path / "blobs", registries).open()
        await daemon.pull("app:1")
        assert mirror.count("GET .*/manifests/1")
        mirror.put("library/other", "1", IMAGE)
        registry.asked.clear()
        await daemon.pull("other:1")
        assert not registry.asked
    assert [tag.repository for tag in daemon.store.tags()] == ["app", "other"]


async def test_a_registry_that_nobody_serves_is_said_so(daemon):
    with pytest.raises(TriokerError, match=r"127.0.0.1:1.*refused"):
        await daemon.pull("127.0.0.1:1/app:1")


@pytest.mark.parametrize("name", ["", "host:99999/x", "a//b", "x@sha256:12", "x:" + "t" * 200])
async def test_bad_names_are_refused_before_anybody_is_asked(daemon, name):
    with pytest.raises(InvalidParameter):
        await daemon.puller.pull(name, "", "", NOBODY, daemon.tell)
    assert daemon.said == []


# -- a registry that misbehaves ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def refused(daemon, error, match):
    """A pull that fails with this error, and leaves nothing but what is sound."""
    with pytest.raises(error, match=match) as caught:
        yield caught
    assert not daemon.store.all()
    assert daemon.scene.whole(daemon.store)
    assert daemon.unused()
    for kind in ("sha256", "partial"):
        for name in daemon.files(kind):
            kept = (daemon.directory / kind / name).read_bytes()
            assert any(blob.startswith(kept) and digest[7:] == name for digest, blob in HONEST.items())


async def test_a_connection_that_breaks_again_and_again_costs_no_byte_twice(registry, daemon):
    image = oci_image(layer_tar(big=bytes(range(256)) * 1000, more=gzip.compress(b"x") * 9000))
    registry.put("app", "1", image)
    registry.faults.append(cut_blobs(after=1000, times=2))
    await daemon.pull(f"{registry.host}/app", "1")
    assert registry.count(f"GET .*/blobs/{image.layers[0]}") == 3
    assert daemon.scene.whole(daemon.store)


@pytest.mark.parametrize("which", [0, 1, "config"])
async def test_a_blob_of_another_digest_is_refused_and_not_kept(registry, daemon, which):
    registry.put("app", "1", IMAGE)
    digest = IMAGE.config_digest if which == "config" else IMAGE.layers[which]
    registry.blobs[digest] = bytes(reversed(IMAGE.blobs[digest]))
    async with refused(daemon, TriokerError, f"blob {digest}: what the registry sent has another digest"):
        await daemon.pull(f"{registry.host}/app", "1")
    assert digest[7:] not in daemon.files("sha256")


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x"], ids=["shorter", "longer"])
async def test_a_blob_of_another_length_is_refused(registry, daemon, change):
    registry.put("app", "1", IMAGE)
    registry.blobs[IMAGE.layers[1]] = change(IMAGE.blobs[IMAGE.layers[1]])
    async with refused(daemon, TriokerError, f"blob {IMAGE.layers[1]}: expected [0-9]+ bytes, the registry has"):
        await daemon.pull(f"{registry.host}/app", "1")


async def test_a_layer_that_unpacks_to_something_else_than_its_image_says_is_dropped(registry, daemon):
    manifest = json.loads(IMAGE.manifest)
    manifest["layers"][1] = {"mediaType": LAYER, "digest": digest_of(OTHER), "size": len(OTHER)}
    blobs = {**IMAGE.blobs, digest_of(OTHER): OTHER}
    registry.put("app", "1", IMAGE._replace(manifest=json.dumps(manifest).encode(), blobs=blobs))
    async with refused(daemon, TriokerError, f"layer {digest_of(OTHER)} unpacks to .*, and its image says"):
        await daemon.pull(f"{registry.host}/app", "1")


async def test_a_layer_the_unpacker_refuses_is_named_in_its_words(registry, daemon):
    registry.put("app", "1", EVIL)
    async with refused(daemon, InvalidParameter, "the entry ../evil leaves the root"):
        await daemon.pull(f"{registry.host}/app", "1")


@pytest.mark.parametrize(
    ("pattern", "reply", "message"),
    [
        ("GET /v2/$", html, "text/html instead of JSON"),
        ("GET .*/manifests/", html, "text/html instead of JSON"),
        ("GET .*/manifests/", endless_redirect, "more than 5 redirects"),
        ("GET .*/blobs/", endless_redirect, "more than 5 redirects"),
        ("GET .*/manifests/", endless_head, "no sound HTTP"),
        ("GET .*/blobs/", endless_head, "no sound HTTP"),
    ],
)
async def test_what_makes_no_sense_is_refused_at_once(registry, daemon, pattern, reply, message):
    registry.put("app", "1", IMAGE)
    registry.faults.append(on(pattern, reply))
    async with refused(daemon, TriokerError, message):
        await daemon.pull(f"{registry.host}/app", "1")


async def test_too_many_requests_are_asked_again(registry, daemon):
    registry.put("app", "1", IMAGE)
    registry.faults += [on("GET .*/manifests/", too_many, times=1), on("GET .*/blobs/", too_many, times=1)]
    await daemon.pull(f"{registry.host}/app", "1")
    assert len(daemon.store.all()) == 2


async def test_a_registry_that_wants_to_know_who_asks_is_not_asked_for_ever(registry, daemon):
    registry.put("app", "1", IMAGE)

    def who(exchange):
        exchange.refuse(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate='Basic realm="r"')

    registry.faults.append(on("GET", who))
    async with refused(daemon, Unauthorized, "unauthorized: authentication required"):
        await daemon.pull(f"{registry.host}/app", "1")
    assert len(registry.asked) < 6


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"schemaVersion": 1}', "old schema 1 format"),
        (b"{", "not valid JSON"),
        (b"[]", "expected a JSON object"),
        (json.dumps({**json.loads(IMAGE.manifest), "layers": [{"digest": "sha256:../x"}]}).encode(), "layer of type"),
    ],
)
async def test_manifests_that_are_none_are_refused(registry, daemon, raw, message):
    registry.put_manifest("app", "1", raw, IMAGE.media_type)
    async with refused(daemon, TriokerError, message):
        await daemon.pull(f"{registry.host}/app", "1")
