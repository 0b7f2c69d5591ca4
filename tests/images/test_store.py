import attrs
import pytest
import trio
import trio.testing
from image_fakes import Scene, pieces

from trioker.model.container import Config
from trioker.model.errors import Conflict, InvalidParameter, NotFound, TriokerError
from trioker.model.image import Image, Removal, Tag

A = Image("a" * 64, 1)
B = Image("b" * 64, 2, parent=A.id)


@pytest.fixture
def scene():
    return Scene()


# Opening


def test_images_and_names_are_there_after_a_restart(scene):
    store = scene.put(A, B, tags=[Tag("r", "x", B.id), Tag("r", "latest", A.id)]).open()
    assert store.all() == (B, A)
    assert store.tags() == (Tag("r", "latest", A.id), Tag("r", "x", B.id))
    assert store.get("r") is A
    assert store.lineage(B.id) == (B, A)
    assert store.name_of(B.id) == "r:x"


def test_an_image_without_its_layer_is_reported_and_out_of_sight_but_not_forgotten(scene, caplog):
    scene.put(A, B, tags=[Tag("r", "x", B.id)])
    del scene.layers.parents[B.id]
    store = scene.open()
    assert store.all() == (A,)
    assert store.tags() == ()
    assert B.id in scene.records.image_rows
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert all(B.id in record.getMessage() for record in caplog.records)


def test_a_name_of_an_unknown_image_is_ignored_with_a_warning(scene, caplog):
    assert scene.put(A, tags=[Tag("r", "x", "f" * 64)]).open().tags() == ()
    assert "r:x names image ffff" in caplog.text


# Tagging


async def test_a_name_is_given_moved_by_force_and_otherwise_refused(scene):
    store = scene.put(A, B).open()
    await store.tag(A.id, "r", "v1", force=False)
    assert store.get("r:v1") is A
    with pytest.raises(Conflict, match=r"^Conflict, r:v1 already names image a{12}$"):
        await store.tag(B.id, "r", "v1", force=False)
    assert store.get("r:v1") is A
    await store.tag(B.id, "r", "v1", force=True)
    assert store.get("r:v1") is B
    assert scene.whole(store)


async def test_a_name_the_image_has_already_costs_no_write(scene):
    store = scene.put(A, tags=[Tag("r", "latest", A.id)]).open()
    await store.tag("r", "r", "", force=False)
    assert scene.records.writes == 0


@pytest.mark.parametrize(("repository", "tag"), [("", "x"), ("a b", "x"), ("a:b", "x"), ("a", "x/y")])
async def test_a_bad_name_is_refused(scene, repository, tag):
    store = scene.put(A).open()
    with pytest.raises(InvalidParameter, match=r"^Illegal"):
        await store.tag(A.id, repository, tag, force=False)


async def test_a_missing_image_cannot_be_tagged(scene):
    with pytest.raises(NotFound, match=r"^No such image: nope$"):
        await scene.open().tag("nope", "r", "x", force=False)


async def test_a_tag_that_could_not_be_written_is_not_there(scene):
    store = scene.put(A).open()
    scene.records.broken = True
    with pytest.raises(TriokerError, match="disk full"):
        await store.tag(A.id, "r", "x", force=False)
    assert store.tags() == ()


async def test_a_change_that_began_is_finished_though_its_caller_is_cancelled(scene):
    store = scene.put(A).open()
    scene.records.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: store.tag(A.id, "r", "x", force=False))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        scene.records.gate.set()
    assert store.get("r:x") is A
    assert scene.whole(store)


async def test_readers_do_not_wait_for_a_change(scene):
    store = scene.put(A).open()
    scene.records.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: store.tag(A.id, "r", "x", force=False))
        await trio.testing.wait_all_tasks_blocked()
        assert store.all() == (A,)
        assert store.tags() == ()
        scene.records.gate.set()


# Removing


async def test_removing_the_last_name_removes_the_image_its_record_and_its_layer(scene):
    store = scene.put(A, B, tags=[Tag("r", "latest", B.id)]).open()
    removed = await store.remove("r")
    assert removed == (Removal(untagged=B.id), Removal(deleted=B.id), Removal(deleted=A.id))
    assert store.all() == ()
    assert scene.whole(store)


async def test_an_image_a_container_was_made_from_stays_with_its_last_name(scene):
    store = scene.put(A, tags=[Tag("r", "latest", A.id)]).run("c" * 64, A).open()
    with pytest.raises(Conflict, match="container cccccccccccc uses it"):
        await store.remove("r")
    assert scene.records.writes == 0
    assert scene.whole(store)


async def test_a_removal_that_could_not_be_written_changes_nothing(scene):
    store = scene.put(A, tags=[Tag("r", "latest", A.id)]).open()
    scene.records.broken = True
    with pytest.raises(TriokerError, match="disk full"):
        await store.remove("r")
    assert scene.whole(store)


async def test_an_image_that_a_container_took_at_the_last_moment_comes_back(scene):
    store = scene.put(A, B, tags=[Tag("r", "latest", B.id)]).open()
    scene.layers.parents["c" * 64] = A.id  # its layer is there, the engine has not told yet
    assert await store.remove("r") == (Removal(untagged=B.id), Removal(deleted=B.id))
    assert store.all() == (A,)
    assert list(scene.records.image_rows) == [A.id]
    with pytest.raises(Conflict, match="just come into use"):
        await store.remove(A.id)
    assert store.get(A.id) is A


async def test_a_layer_that_cannot_be_removed_is_logged_and_the_image_is_gone(scene, caplog):
    store = scene.put(A).open()
    scene.layers.failing.add(A.id)
    assert await store.remove(A.id) == (Removal(deleted=A.id),)
    assert store.all() == ()
    assert "its layer could not be removed" in caplog.text


async def test_of_two_removals_at_once_one_finds_nothing(scene):
    store = scene.put(A, tags=[Tag("r", "latest", A.id)]).open()
    outcomes = []

    async def remove():
        try:
            outcomes.append(len(await store.remove("r")))
        except NotFound:
            outcomes.append("not found")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(remove)
        nursery.start_soon(remove)
    assert sorted(outcomes, key=str) == [2, "not found"]
    assert scene.whole(store)


# Importing


async def test_an_import_makes_a_base_image_with_a_name(scene):
    store = scene.open()
    image = await store.import_stream(pieces(b"", b"tar", b"ball"), "r", "")
    assert scene.unpacker.seen == b"tarball"
    assert store.get("r:latest") is image
    assert image.comment == "Imported from -"
    assert (image.config, image.container_config, image.parent) == (None, Config(), "")
    assert (image.docker_version, image.size, image.created_ns) == ("9.8.7", len(b"tarball"), 1)
    assert image.architecture
    assert scene.whole(store)


async def test_an_import_without_a_repository_has_no_name(scene):
    store = scene.open()
    image = await store.import_stream(pieces(b"tar"), "", "v1")
    assert store.all() == (image,)
    assert store.tags() == ()
    assert scene.whole(store)


async def test_an_import_moves_a_name_that_exists(scene):
    store = scene.put(A, tags=[Tag("r", "v1", A.id)]).open()
    image = await store.import_stream(pieces(b"tar"), "r", "v1")
    assert store.get("r:v1") is image
    assert store.get(A.id) is A
    assert scene.whole(store)


async def test_an_imports_history_does_not_tell_the_password_it_was_fetched_with(scene):
    image = await scene.open().import_url("http://me:s3cret@host/x.tar?sig=s3cret", "", "", _unheard)
    assert image.comment == "Imported from http://host/x.tar"


async def _unheard(taken, total):
    pass


async def test_an_import_from_a_url_tells_how_far_it_is(scene):
    store, told = scene.open(), []

    async def report(taken, total):
        told.append((taken, total))

    image = await store.import_url("http://host/x.tar", "host:5000/r", "v1", report)
    assert told == [(10, 13), (13, 13)]
    assert image.comment == "Imported from http://host/x.tar"
    assert store.get("host:5000/r:v1") is image
    assert scene.unpacker.seen == b"0123456789abc"
    assert scene.whole(store)


async def test_a_bad_name_is_refused_before_anything_is_read(scene):
    store = scene.open()
    for repository, tag in (("a b", ""), ("a", "b/c")):
        with pytest.raises(InvalidParameter, match=r"^Illegal"):
            await store.import_stream(pieces(AssertionError("read")), repository, tag)
        with pytest.raises(InvalidParameter, match=r"^Illegal"):
            await store.import_url("http://host/", repository, tag, None)
    assert scene.web.fetched == []


@pytest.mark.parametrize("body", [(), (b"", b"")])
async def test_an_empty_body_is_refused(scene, body):
    store = scene.open()
    with pytest.raises(InvalidParameter, match="empty"):
        await store.import_stream(pieces(*body), "r", "")
    assert scene.whole(store)


@pytest.mark.parametrize(
    ("body", "error"),
    [((b"tar", b"evil"), InvalidParameter), ((b"tar", ConnectionResetError("gone")), ConnectionResetError)],
)
async def test_an_import_that_fails_half_way_leaves_nothing(scene, body, error):
    store = scene.open()
    with pytest.raises(error):
        await store.import_stream(pieces(*body), "r", "")
    assert store.all() == ()
    assert scene.whole(store)


async def test_an_import_whose_record_cannot_be_written_leaves_nothing(scene):
    store = scene.open()
    scene.records.broken = True
    with pytest.raises(TriokerError, match="disk full"):
        await store.import_stream(pieces(b"tar"), "r", "")
    assert store.all() == ()
    assert scene.whole(store)


async def test_an_import_cancelled_while_it_reads_leaves_nothing(scene):
    store = scene.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: store.import_stream(pieces(b"tar", trio.Event()), "r", ""))
        await trio.testing.wait_all_tasks_blocked()
        assert scene.layers.staged
        nursery.cancel_scope.cancel()
    assert store.all() == ()
    assert scene.whole(store)


async def test_an_import_cancelled_once_its_layer_is_committed_is_finished(scene):
    store = scene.open()
    scene.records.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: store.import_stream(pieces(b"tar"), "r", ""))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        scene.records.gate.set()
    assert len(store.all()) == 1
    assert scene.whole(store)


async def test_a_name_removed_while_it_is_imported_anew_leaves_one_whole_image(scene):
    store = scene.put(A, tags=[Tag("r", "latest", A.id)]).open()
    more = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: store.import_stream(pieces(b"tar", more), "r", ""))
        await trio.testing.wait_all_tasks_blocked()
        await store.remove("r")
        more.set()
    (image,) = store.all()
    assert store.get("r") is image
    assert scene.whole(store)


# Layers that images share


async def test_two_imports_of_one_tar_share_the_layer_and_it_goes_with_the_last(scene):
    store = scene.open()
    one = await store.import_stream(pieces(b"tar"), "one", "")
    scene.unpacker.seen = b""
    two = await store.import_stream(pieces(b"tar"), "two", "")
    assert one.id != two.id
    assert one.layer == two.layer
    assert scene.whole(store)
    await store.remove("one")
    assert scene.layers.parents.keys() == {two.layer}
    await store.remove("two")
    assert scene.layers.parents == {}


async def test_an_image_that_only_changed_the_configuration_shares_its_parents_layer(scene):
    renamed = Image("e" * 64, 5, parent=A.id, layer=A.layer)
    store = scene.put(A, renamed, tags=[Tag("r", "latest", renamed.id), Tag("q", "latest", A.id)]).open()
    assert await store.remove("r") == (Removal(untagged=renamed.id), Removal(deleted=renamed.id))
    assert scene.layers.parents.keys() == {A.layer}
    await store.remove("q")
    assert scene.layers.parents == {}


async def test_images_are_published_together_with_their_names_once_their_layers_are_on_the_disk(scene):
    store = scene.open()
    async with store.holding() as held:
        async with held.stage("") as staging:
            key = held.keep(await staging.commit("sha256:d", durable=False))
        low = Image("1" * 64, 1, layer=key)
        high = Image("2" * 64, 2, parent=low.id, layer=key, recipe="R")
        await store.publish([low, high], [Tag("r", "latest", high.id)])
    assert scene.layers.settled == [key, key]
    assert store.get("r") == high
    assert store.made_by(low.id, "R") == high
    assert store.made_by(high.id, "R") is None
    assert scene.whole(store)


async def test_a_job_that_comes_to_nothing_leaves_no_layer(scene):
    store = scene.open()

    async def build():
        async with store.holding() as held:
            await held.create("8" * 64, "")
            await held.create("9" * 64, "8" * 64)
            raise TriokerError("step 2")

    with pytest.raises(TriokerError, match="step 2"):
        await build()
    assert scene.layers.parents == {}


async def test_a_step_that_failed_is_discarded_and_the_others_stay_held(scene):
    store = scene.open()
    async with store.holding() as held:
        await held.create("8" * 64, "")
        await held.create("9" * 64, "8" * 64)
        await held.discard("9" * 64)
        assert scene.layers.parents.keys() == {"8" * 64}


async def test_a_layer_that_a_pull_has_found_outlives_its_image_and_goes_with_the_pull(scene):
    scene.put(A, tags=[Tag("r", "latest", A.id)])
    scene.layers.chains[A.layer] = "sha256:a"
    store = scene.open()
    async with store.holding() as held:
        assert held.find("sha256:b") == ""
        assert held.find("sha256:a") == A.layer
        assert await store.remove("r") == (Removal(untagged=A.id), Removal(deleted=A.id))
        assert scene.layers.parents.keys() == {A.layer}
    assert scene.layers.parents == {}


async def test_what_was_built_on_a_deleted_image_is_not_published(scene):
    store = scene.put(A).open()
    await store.remove(A.id)
    with pytest.raises(NotFound, match="deleted meanwhile"):
        await store.publish([attrs.evolve(B, layer="x")])
    assert store.all() == ()


async def test_an_image_that_a_build_needs_is_not_deleted_before_its_end(scene):
    store = scene.put(A, tags=[Tag("r", "latest", A.id)]).open()
    with store.pinned(A.id, "a build"), pytest.raises(Conflict, match="a build uses it"):
        await store.remove("r")
    await store.remove("r")
    assert store.all() == ()


async def test_a_digest_is_a_name(scene):
    digest = "sha256:" + "d" * 64
    store = scene.put(A, tags=[Tag("r", digest, A.id)]).open()
    assert store.get(f"docker.io/library/r@{digest}") is A
    assert store.name_of(A.id) == f"r@{digest}"
