"""Builds over fakes: files that COPY and ADD bring, company, limits."""

import tarfile

import pytest
import trio
from build_fakes import BASE, File, Yard, context_tar
from image_fakes import pieces

from trioker.images.build.bases import build_platform
from trioker.images.build.scratch import sweep
from trioker.images.registry.platforms import Platform
from trioker.model.errors import Conflict, TriokerError


@pytest.fixture
def yard(tmp_path):
    return Yard(tmp_path)


async def refusal(yard, dockerfile, files=(), **request):
    with pytest.raises(TriokerError) as caught:
        await yard.build(dockerfile, files, **request)
    assert yard.whole()
    return str(caught.value)


# -- files --------------------------------------------------------------------------------------------------------------------------------


async def test_files_go_where_copy_says_relative_to_the_working_directory(yard):
    image = await yard.build(
        "FROM base\nWORKDIR /srv\nWORKDIR app\nCOPY a b/ ./\nCOPY a name\nCOPY a /etc\nCOPY --chown=www a /own",
        {"a": "A", "b/c": "C"},
    )
    tree = yard.tree(image)
    found = {path: tree[path].content for path in ("/srv/app/a", "/srv/app/c", "/srv/app/name", "/etc/a", "/own")}
    assert found == {"/srv/app/a": b"A", "/srv/app/c": b"C", "/srv/app/name": b"A", "/etc/a": b"A", "/own": b"A"}
    assert tree["/own"].owner == "www"
    assert image.config.working_dir == "/srv/app"


async def test_a_new_directory_is_like_its_source_only_where_it_takes_its_place(yard):
    image = await yard.build(
        "FROM base\nCOPY d /as-d\nCOPY d /into/\nCOPY a d /both/",
        {"a": "A", "d": File(kind=tarfile.DIRTYPE, mode=0o700)},
    )
    modes = {path: yard.tree(image)[path].mode for path in ("/as-d", "/into", "/both")}
    assert modes == {"/as-d": 0o700, "/into": 0o755, "/both": 0o755}


async def test_a_working_directory_that_is_there_costs_no_layer(yard):
    image = await yard.build("FROM base\nWORKDIR /etc")
    assert image.layer == BASE
    assert image.config.working_dir == "/etc"


async def test_several_sources_need_a_directory(yard):
    text = await refusal(yard, "FROM base\nCOPY a b /x", {"a": "", "b": ""})
    assert (
        "When using COPY with more than one source file, the destination must be a directory and end with a /" in text
    )
    assert "step 2, line 2: COPY a b /x" in text


async def test_what_dockerignore_excludes_is_not_there_but_the_dockerfile_is_read(yard):
    image = await yard.build(
        "FROM base\nCOPY . /c/", {".dockerignore": "secret\nDockerfile\n", "secret": "s", "a": "A"}
    )
    assert "/c/a" in yard.tree(image)
    assert not {"/c/secret", "/c/Dockerfile"} & yard.tree(image).keys()
    assert "file not found in build context" in await refusal(
        yard, "FROM base\nCOPY secret /", {".dockerignore": "secret", "secret": "s"}
    )


async def test_here_documents_become_files_with_variables_in_them(yard):
    image = await yard.build('FROM base\nENV who=me\nCOPY <<one <<"two" /d/\nhi $who\none\n$raw\ntwo\n')
    assert yard.tree(image)["/d/one"].content == b"hi me\n"
    assert yard.tree(image)["/d/two"].content == b"$raw\n"


async def test_an_unknown_owner_fails_the_step_and_leaves_no_layer(yard):
    assert "no user nobody-knows" in await refusal(yard, "FROM base\nCOPY --chown=nobody-knows a /", {"a": ""})


async def test_add_unpacks_archives_of_the_context_and_copies_what_is_none(yard):
    import gzip

    inner = context_tar({"in/side": "I"})
    image = await yard.build(
        "FROM base\nADD plain.tar packed.tgz text.gz note /x/\nCOPY plain.tar /y/",
        {
            "plain.tar": inner,
            "packed.tgz": gzip.compress(context_tar({"zip": "Z"})),
            "text.gz": gzip.compress(b"t" * 2000),
            "note": "n",
        },
    )
    tree = yard.tree(image)
    assert {"/x/in/side", "/x/zip", "/x/text.gz", "/x/note", "/y/plain.tar"} <= tree.keys()
    assert not {"/x/plain.tar", "/x/packed.tgz", "/y/in/side"} & tree.keys()


async def test_what_is_unpacked_keeps_the_owners_it_has(yard):
    files = {"a.tar": context_tar({"in": File(b"I", uid=33)}), "note": "n"}
    image = await yard.build("FROM base\nADD --chown=www a.tar note /x/", files)
    tree = yard.tree(image)
    assert (tree["/x/in"].owner, tree["/x/note"].owner) == ("33:0", "www")


async def test_add_fetches_urls(yard):
    yard.sites.pages = {"http://x/a/file.txt?q=1": b"content"}
    yard.sites.headers = {b"last-modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
    image = await yard.build("FROM base\nADD http://x/a/file.txt?q=1 /d/\nADD http://x/a/file.txt?q=1 /name")
    node = yard.tree(image)["/d/file.txt"]
    assert (node.content, node.mode, node.mtime) == (b"content", 0o600, 1445412480)
    assert yard.tree(image)["/name"].content == b"content"


async def test_add_verifies_a_checksum(yard):
    import hashlib

    yard.sites.pages = {"http://x/f": b"content"}
    good = f"sha256:{hashlib.sha256(b'content').hexdigest()}"
    await yard.build(f"FROM base\nADD --checksum={good} http://x/f /f")
    text = await refusal(yard, f"FROM base\nADD --checksum=sha256:{'0' * 64} http://x/f /f")
    assert f"http://x/f has the digest {good}" in text
    assert "only for sources that are URLs" in await refusal(yard, f"FROM base\nADD --checksum={good} a /f", {"a": ""})


async def test_a_url_without_a_file_name_needs_one_in_the_destination(yard):
    yard.sites.pages = {"http://x/": b"content"}
    assert "cannot determine filename from url" in await refusal(yard, "FROM base\nADD http://x/ /d/")
    assert (await yard.build("FROM base\nADD http://x/ /d/name")).id


# -- company ------------------------------------------------------------------------------------------------------------------------------


async def test_an_image_a_build_stands_on_cannot_be_deleted_meanwhile(yard):
    cached = await yard.build("FROM base\nENV a=b")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(yard.build, "FROM base\nENV a=b\nRUN hang")
        await yard.workshop.hanging.wait()
        for name in (cached.id, BASE):
            with pytest.raises(Conflict, match=r"a build uses it|is still named"):
                await yard.store.remove(name)
        nursery.cancel_scope.cancel()
    await yard.store.remove(cached.id)


async def test_builds_side_by_side_do_not_disturb_each_other(yard):
    async with trio.open_nursery() as nursery:
        for number in range(8):
            context = pieces(context_tar({"Dockerfile": f"FROM base\nRUN write /a {number % 2}\nCOPY f /", "f": "F"}))
            request = {"context": context, "repository": f"app{number}"}
            nursery.start_soon(_build_quietly, yard, request)
    yard.whole()
    assert [yard.tree(yard.store.get(f"app{number}"))["/a"].content for number in range(4)] == [b"0", b"1", b"0", b"1"]


async def _build_quietly(yard, request):
    from trioker.model.build import BuildRequest

    async def say(data):
        await trio.lowlevel.checkpoint()

    await yard.builder.build(BuildRequest(**request), say)


async def test_a_full_disk_ends_a_build_as_an_error_of_its_own(yard):
    class Full:
        async def run(self, layer_key, config, say, name, *, connected):
            raise OSError(28, "No space left on device")

    yard.workshop = Full()
    yard.workshop.ran = yard.workshop.configs = []
    with pytest.raises(TriokerError, match="No space left on device"):
        await yard.build("FROM base\nRUN x")


def test_what_an_earlier_daemon_left_is_swept(tmp_path):
    (tmp_path / "build-abc" / "git").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    sweep(tmp_path)
    sweep(tmp_path / "nosuch")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


async def test_records_that_grow_with_every_step_are_bounded(yard):
    labels = "".join(f"LABEL l{number}=x\n" for number in range(500))
    text = await refusal(yard, f"FROM base\nENV large={'x' * 200_000}\n{labels}")
    assert "configurations of the build's images take more than" in text


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (Platform("linux", "amd64", "v3"), "linux/amd64"),
        (Platform("linux", "arm64", "v8"), "linux/arm64"),
        (Platform("linux", "arm", "v7"), "linux/arm/v7"),
    ],
)
def test_automatic_arguments_name_the_platform_as_docker_does(host, said):
    assert build_platform(host) == said
