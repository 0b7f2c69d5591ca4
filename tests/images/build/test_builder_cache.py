"""What the build cache takes for the same, and what not."""

import pytest
from build_fakes import File, Yard

DOCKERFILE = "FROM base\nCOPY file /f\nRUN write /made by-run\nCMD run"


@pytest.fixture
def yard(tmp_path):
    return Yard(tmp_path)


def cached(yard):
    return yard.text.count(" ---> Using cache\n")


FIRST = File(b"content", mtime=100)


@pytest.mark.parametrize(
    ("second", "hits"),
    [
        (FIRST, 3),
        (File(b"content", mtime=200), 3),
        (File(b"CONTENT", mtime=100), 0),
        (File(b"content", mode=0o755), 0),
        (File(b"content", uid=7), 0),
    ],
    ids=["same", "touched", "content", "mode", "owner"],
)
async def test_a_copy_is_found_again_by_all_but_the_times(yard, second, hits):
    await yard.build(DOCKERFILE, {"file": FIRST})
    await yard.build(DOCKERFILE, {"file": second})
    assert cached(yard) == hits
    assert len(yard.workshop.ran) == (0 if hits else 1)


async def test_names_in_a_copied_directory_count(yard):
    for files, hits in (({"d/a": "1"}, 0), ({"d/a": "1"}, 1), ({"d/b": "1"}, 0), ({"d/a": "1", "d/e": None}, 0)):
        await yard.build("FROM base\nCOPY d /d", files)
        assert cached(yard) == hits, files


async def test_a_file_the_copy_does_not_take_is_none_of_its_business(yard):
    await yard.build(DOCKERFILE, {"file": FIRST, "other": "1"})
    await yard.build(DOCKERFILE, {"file": FIRST, "other": "2"})
    assert cached(yard) == 3


async def test_the_cache_outlives_the_daemon(yard):
    image = await yard.build(DOCKERFILE, {"file": FIRST})
    yard.open()
    assert await yard.build(DOCKERFILE, {"file": FIRST}) == image


async def test_no_cache_does_everything_again_and_later_builds_take_the_newer(yard):
    await yard.build(DOCKERFILE, {"file": FIRST})
    newer = await yard.build(DOCKERFILE, {"file": FIRST}, no_cache=True)
    assert cached(yard) == 0
    assert await yard.build(DOCKERFILE, {"file": FIRST}) == newer


async def test_another_step_before_makes_all_behind_it_anew(yard):
    await yard.build("FROM base\nRUN write /a 1\nRUN write /b 1")
    await yard.build("FROM base\nENV x=y\nRUN write /a 1\nRUN write /b 1")
    assert cached(yard) == 0


async def test_blanks_and_letters_of_the_instruction_do_not_count(yard):
    await yard.build("FROM base\nRUN write /a 1\nENV a=b")
    await yard.build("from base\n# a comment\nrun    write /a 1\nENV a b")
    assert cached(yard) == 2


async def test_a_declared_argument_counts_and_a_proxy_does_not(yard):
    text = "FROM base\nARG v\nRUN env"
    for args, hits in (
        ((), 0),
        ((("v", "1"),), 0),
        ((("v", "1"), ("HTTP_PROXY", "http://a")), 1),
        ((("v", "1"), ("HTTP_PROXY", "http://b")), 1),
        ((("v", "2"),), 0),
    ):
        await yard.build(text, build_args=args)
        assert cached(yard) == hits, args


async def test_what_a_url_gives_decides_not_its_name(yard):
    url = "http://x/f"
    for content, hits in ((b"1", 0), (b"1", 1), (b"2", 0)):
        yard.sites.pages = {url: content}
        await yard.build(f"FROM base\nADD {url} /f")
        assert cached(yard) == hits, content
    assert yard.sites.asked == [url] * 3


async def test_what_another_stage_gives_decides(yard):
    text = "FROM base AS one\nRUN write /out {}\nRUN say {}\nFROM base\nCOPY --from=one /out /out"
    await yard.build(text.format("same", "1"))
    await yard.build(text.format("same", "2"))
    assert cached(yard) == 2, "the file is the same though the stage is not"
    await yard.build(text.format("other", "2"))
    assert cached(yard) == 0


async def test_a_changed_here_document_is_another_step(yard):
    for content, hits in (("1", 0), ("1", 1), ("2", 0)):
        await yard.build(f"FROM base\nCOPY <<EOF /f\n{content}\nEOF\n")
        assert cached(yard) == hits


async def test_a_failed_step_is_never_found(yard):
    for _ in range(2):
        with pytest.raises(Exception, match="non-zero code: 1"):
            await yard.build("FROM base\nRUN fail 1")
        assert yard.workshop.ran == ["fail 1"]


async def test_what_a_deleted_image_made_is_not_found(yard):
    image = await yard.build("FROM base\nRUN write /a 1", repository="app")
    await yard.store.remove("app")
    again = await yard.build("FROM base\nRUN write /a 1", repository="app")
    assert again.id != image.id
