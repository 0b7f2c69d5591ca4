"""Builds over fakes: what steps come to, what is said, what is left."""

from contextlib import aclosing

import pytest
import trio
from build_fakes import BASE, Yard, context_tar
from image_fakes import pieces

from trioker.model.container import DEFAULT_PATH, Config, Healthcheck, Label
from trioker.model.errors import InvalidParameter, NotFound, TriokerError
from trioker.model.image import Image, Tag


@pytest.fixture
def yard(tmp_path):
    return Yard(tmp_path)


async def refusal(yard, dockerfile, files=(), **request):
    with pytest.raises(TriokerError) as caught:
        await yard.build(dockerfile, files, **request)
    assert yard.whole()
    return str(caught.value)


def numbers(text, *images):
    """The text with the images' short ids as <0>, <1> ..."""
    for number, image in enumerate(images):
        text = text.replace(image.id[:12], f"<{number}>")
    return text


async def test_a_build_says_what_it_does_in_the_original_form(yard):
    image = await yard.build("FROM base\nENV a=b\nRUN say hello\nCMD run me", repository="me/app", tag="1")
    run, env, base = yard.store.lineage(image.id)[1:]
    text = numbers(yard.text, base, env, run, image).replace(run.container[:12], "<run>")
    assert text.splitlines() == [
        "Step 1 : FROM base",
        " ---> <0>",
        "Step 2 : ENV a=b",
        " ---> <1>",
        "Step 3 : RUN say hello",
        " ---> Running in <run>",
        "hello",
        " ---> <2>",
        "Removing intermediate container <run>",
        "Step 4 : CMD run me",
        " ---> <3>",
        "Successfully tagged me/app:1",
    ]
    assert yard.store.get("me/app:1") == image


async def test_quiet_hides_what_commands_print_and_nothing_else(yard):
    await yard.build("FROM base\nRUN say secret", quiet=True)
    assert "\nsecret\n" not in yard.text
    assert "RUN say secret" in yard.text


async def test_metadata_steps_share_their_parents_layer(yard):
    image = await yard.build(
        "FROM base\n"
        "MAINTAINER me\n"
        "LABEL a=1 b=2\n"
        "EXPOSE 80 90/udp\n"
        'VOLUME ["/etc"]\n'
        "USER www\n"
        "STOPSIGNAL SIGQUIT\n"
        'SHELL ["/bin/ash", "-c"]\n'
        "HEALTHCHECK --retries=2 CMD true\n"
        'ENTRYPOINT ["/entry"]\n'
        "CMD args\n"
        "ONBUILD RUN x"
    )
    assert image.layer == BASE
    assert yard.layers.parents.keys() == {BASE}
    assert image.author == "me"
    assert image.config == Config(
        env=("PATH=/bin",),
        labels=(Label("a", "1"), Label("b", "2")),
        exposed_ports=("80/tcp", "90/udp"),
        volumes=("/etc",),
        user="www",
        stop_signal="SIGQUIT",
        shell=("/bin/ash", "-c"),
        healthcheck=Healthcheck(("CMD-SHELL", "true"), retries=2),
        entrypoint=("/entry",),
        command=("/bin/ash", "-c", "args"),
        on_build=("RUN x",),
    )
    history = [each.container_config.command for each in yard.store.lineage(image.id)]
    assert history[0] == ("/bin/sh", "-c", "#(nop) ONBUILD RUN x")


async def test_a_path_is_there_to_be_added_to_also_where_the_base_image_names_none(yard):
    image = await yard.build("FROM scratch\nENV A=b PATH=$PATH:/opt/bin")
    assert image.config.env == (f"PATH={DEFAULT_PATH}:/opt/bin", "A=b")


async def test_a_volume_is_a_directory_for_the_steps_behind_it(yard):
    image = await yard.build('FROM base\nVOLUME ["/data", "/etc"]')
    assert yard.tree(image)["/data"].content is None
    assert image.config.volumes == ("/data", "/etc")


async def test_a_stop_signal_that_is_none_is_refused(yard):
    assert "Invalid signal: SIGFOO" in await refusal(yard, "FROM base\nSTOPSIGNAL SIGFOO")


async def test_an_entrypoint_takes_away_the_command_of_the_base_image_only(yard):
    theirs = await yard.build("FROM base\nENTRYPOINT /e")
    ours = await yard.build("FROM base\nCMD c\nENTRYPOINT /e")
    assert theirs.config.command == ()
    assert ours.config.command == ("/bin/sh", "-c", "c")


async def test_a_stage_that_begins_from_an_image_is_not_taken_for_one_that_made_it(yard):
    """Same parent, same step, another result: CMD was said here, or there."""
    first = await yard.build("FROM base\nCMD c\nENTRYPOINT /e", repository="first")
    parent = yard.store.get(first.parent)
    yard.records.tag_rows["middle", "latest"] = Tag("middle", "latest", parent.id)
    yard.open()
    second = await yard.build("FROM middle\nENTRYPOINT /e")
    assert second.parent == parent.id
    assert second.config.command == ()


async def test_a_command_runs_in_the_stages_environment_and_its_arguments_stay_out_of_the_image(yard):
    image = await yard.build(
        "FROM base\nARG version=1\nARG unset\nENV app=x\nWORKDIR /srv\nUSER www\nRUN env",
        build_args=(("version", "2"), ("HTTP_PROXY", "http://p"), ("app", "no"), ("unset", None)),
    )
    (config,) = yard.workshop.configs
    assert set(config.env) == {"PATH=/bin", "app=x", "version=2", "HTTP_PROXY=http://p"}
    assert (config.working_dir, config.user, config.command) == ("/srv", "www", ("/bin/sh", "-c", "env"))
    assert image.config.env == ("PATH=/bin", "app=x")


async def test_the_exec_form_runs_as_it_is_and_an_images_entrypoint_is_not_for_steps(yard):
    await yard.build('FROM base\nENTRYPOINT ["/entry"]\nRUN ["say", "say x"]')
    (config,) = yard.workshop.configs
    assert config.command == ("say", "say x")
    assert config.entrypoint == ()


async def test_a_failed_command_is_named_with_its_code_and_its_step(yard):
    text = await refusal(yard, "FROM base\nRUN write /a 1\nRUN fail 3\n")
    assert text == "The command '/bin/sh -c fail 3' returned a non-zero code: 3 (step 3, line 3: RUN fail 3)"


async def test_a_failed_script_is_told_on_one_line(yard):
    text = await refusal(yard, "FROM base\nRUN <<EOF\nfail 2\nmore\nEOF\n")
    assert text.splitlines() == [
        r"The command '/bin/sh -c fail 2\nmore\n' returned a non-zero code: 2 (step 2, line 2: RUN <<EOF)"
    ]


async def test_what_was_made_before_a_failure_is_found_by_the_next_try(yard):
    await refusal(yard, "FROM base\nRUN write /a 1\nRUN fail 3", repository="app")
    image = await yard.build("FROM base\nRUN write /a 1\nRUN write /b 2", repository="app")
    assert yard.workshop.ran == ["write /b 2"]
    assert yard.tree(image)["/a"].content == b"1"


async def test_a_failed_build_names_nothing(yard):
    await refusal(yard, "FROM base\nRUN fail 1", repository="app")
    with pytest.raises(NotFound):
        yard.store.get("app")


async def test_a_cancelled_build_leaves_nothing(yard):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(yard.build, "FROM base\nRUN write /a 1\nCOPY Dockerfile /\nRUN hang")
        await yard.workshop.hanging.wait()
        nursery.cancel_scope.cancel()
    assert yard.whole()
    assert [image.id for image in yard.store.all()] == [BASE]


async def test_one_transaction_makes_all_images_known(yard):
    before = yard.records.writes
    await yard.build("FROM base\nRUN write /a 1\nCOPY Dockerfile /d\nENV a=b", repository="app")
    assert yard.records.writes == before + 1


async def test_every_image_has_the_bytes_its_step_added(yard):
    image = await yard.build("FROM base\nRUN write /a 12345\nENV a=b")
    env, run, base = yard.store.lineage(image.id)
    assert (env.size, run.size) == (0, 5)
    assert env.layer == run.layer == run.id != base.layer


async def test_a_base_image_alone_is_named_anew(yard):
    image = await yard.build("FROM base", repository="same")
    assert image.id == BASE
    assert yard.store.get("same").id == BASE


async def test_a_bad_name_is_refused_before_anything_is_read(yard):
    async def never():
        raise AssertionError("read")
        yield b""

    with pytest.raises(InvalidParameter, match="Illegal repository name"):
        await yard.send(context=never(), repository="A?")


# -- FROM and stages --------------------------------------------------------------------------------------------------------------


async def test_a_missing_base_image_is_pulled_and_one_that_is_there_is_not(yard):
    yard.registry["other"] = Image("0" * 64, 5)
    image = await yard.build("FROM other:1\nENV a=b")
    await yard.build("FROM base\nENV a=b")
    assert yard.pulled == [("other", "1")]
    assert image.parent == "0" * 64


async def test_pull_asks_the_registry_once_for_an_image_that_is_there(yard):
    yard.registry["base"] = Image("0" * 64, 5)
    image = await yard.build("FROM base\nFROM base\nENV a=b", pull=True)
    assert yard.pulled == [("base", "latest")]
    assert image.parent == "0" * 64


async def test_a_base_image_nobody_has_ends_the_build_naming_it(yard):
    assert "nosuch: not found in the registry (step 1, line 1: FROM nosuch)" in await refusal(yard, "FROM nosuch")


async def test_from_takes_arguments_and_stages_inherit_them_only_when_declared(yard):
    image = await yard.build(
        "ARG image=nosuch\nARG v=1\nFROM $image\nARG v\nARG image=x\nENV v=$v image=$image none=$nothing",
        build_args=(("image", "base"),),
    )
    assert image.config.env == ("PATH=/bin", "v=1", "image=base", "none=")


async def test_a_later_stage_begins_from_an_earlier_one_or_copies_from_it(yard):
    image = await yard.build(
        "FROM base AS one\nRUN write /bin/app v1\nENV who=one\n"
        "FROM 0 AS two\nRUN write /two 2\n"
        "FROM base\nCOPY --from=one /bin/app /app\nCOPY --from=1 /two /two\nCOPY --from=base /etc/motd /motd"
    )
    tree = yard.tree(image)
    assert {path: node.content for path, node in tree.items() if path in ("/app", "/two", "/motd", "/bin/app")} == {
        "/app": b"v1",
        "/two": b"2",
        "/motd": b"hello",
    }
    assert image.config.env == ("PATH=/bin",)


async def test_stages_behind_the_target_are_not_run(yard):
    image = await yard.build("FROM base AS one\nRUN say 1\nFROM one AS two\nRUN say 2\n", target="ONE")
    assert yard.workshop.ran == ["say 1"]
    assert await yard.build("FROM base AS one\nRUN say 1\nFROM one AS two\nRUN say 2\n", target="0") == image
    assert "build target three" in await refusal(yard, "FROM base AS one", target="three")


async def test_scratch_begins_with_nothing_and_has_a_layer_of_its_own(yard):
    image = await yard.build('FROM scratch\nCMD ["/app"]\nCOPY app /', {"app": "x"})
    assert yard.text.splitlines()[:2] == ["Step 1 : FROM scratch", " --->"]
    assert image.config == Config(command=("/app",), env=(f"PATH={DEFAULT_PATH}",))
    assert {path for path, node in yard.tree(image).items() if node.content is not None} == {"/app"}
    assert yard.store.lineage(image.id)[-1].parent == ""


async def test_scratch_alone_is_no_image(yard):
    assert "No image was generated" in await refusal(yard, "FROM scratch")


async def test_a_step_of_a_stage_that_another_stage_has_made_already_is_not_done_twice(yard):
    await yard.build("FROM base AS a\nRUN say x\nFROM base AS b\nRUN say x")
    assert yard.workshop.ran == ["say x"]


@pytest.mark.parametrize("platform", ["linux/s390x", "windows/amd64", "linux/amd64/v1/x", "sparc"])
async def test_a_foreign_platform_is_refused(yard, platform):
    assert f"cannot build for the platform {platform}" in await refusal(yard, f"FROM --platform={platform} base")


async def test_the_hosts_platform_is_taken_by_any_of_its_names(yard):
    await yard.build(
        "FROM --platform=linux base\nFROM --platform=$BUILDPLATFORM base\nFROM --platform=$TARGETARCH base"
    )


async def test_triggers_of_the_base_image_run_and_are_not_inherited(yard):
    await yard.build("FROM base\nONBUILD COPY Dockerfile /d\nONBUILD RUN say triggered", repository="parent")
    image = await yard.build("FROM parent\nRUN say own", repository="child")
    assert yard.workshop.ran == ["say triggered", "say own"]
    assert "# Executing 2 build trigger(s)\nTrigger 1, COPY Dockerfile /d\n" in yard.text
    assert image.config.on_build == ()
    assert "/d" in yard.tree(image)


async def test_a_step_behind_onbuild_is_not_taken_for_the_trigger_itself(yard):
    """The same command over the same parent: once with the triggers still in the image, once run by them."""
    kept = await yard.build("FROM base\nONBUILD RUN say x\nRUN say x")
    yard.records.tag_rows["p", "latest"] = Tag("p", "latest", kept.parent)
    yard.open()
    triggered = await yard.build("FROM p")
    assert kept.config.on_build == ("RUN say x",)
    assert triggered.config.on_build == ()


# -- the Dockerfile and where it comes from -------------------------------------------------------------------------------------------


async def test_another_dockerfile_of_the_context_may_be_named(yard):
    image = await yard.build("FROM nosuch", {"sub/other": "FROM base\nENV a=b"}, dockerfile="sub/other")
    assert image.config.env == ("PATH=/bin", "a=b")


@pytest.mark.parametrize("content", [{}, {"Dockerfile": ""}, {"Dockerfile": " \n\n"}, {"Dockerfile": None}])
async def test_a_context_without_dockerfile_is_refused_in_the_originals_words(yard, content):
    with pytest.raises(InvalidParameter, match="Can't build a directory with no Dockerfile"):
        await yard.send(context=pieces(context_tar(content)))


async def test_an_empty_body_is_a_context_without_dockerfile(yard):
    for context in (pieces(), None):
        with pytest.raises(InvalidParameter, match="Can't build a directory with no Dockerfile"):
            await yard.send(context=context)
    assert yard.whole()


async def test_a_dockerfile_sent_by_itself_comes_with_a_context_or_without(yard):
    async def text():
        return b"FROM base\nCOPY a /a"

    image = await yard.send(context=pieces(context_tar({"a": "1"})), dockerfile_text=text)
    assert yard.tree(image)["/a"].content == b"1"
    with pytest.raises(TriokerError, match="COPY failed"):
        await yard.send(context=pieces(), dockerfile_text=text)


async def test_a_context_that_is_no_archive_is_refused(yard):
    for junk in (b"x" * 3000, context_tar({"Dockerfile": "FROM base"})[:700]):
        with pytest.raises(InvalidParameter, match="bad build context"):
            await yard.send(context=pieces(junk))
        assert yard.whole()


async def test_the_rest_of_a_refused_context_is_read_before_the_refusal(yard):
    read = trio.Event()

    async def context():
        yield b"x" * 3000
        yield b"more"
        read.set()

    async with aclosing(context()) as chunks:
        with pytest.raises(InvalidParameter, match="bad build context"):
            await yard.send(context=chunks)
    assert read.is_set()


async def test_a_context_whose_sender_breaks_off_fails_with_the_senders_error(yard):
    with pytest.raises(InvalidParameter, match="broken"):
        await yard.send(context=pieces(context_tar({"Dockerfile": "FROM base"})[:600], InvalidParameter("broken")))
    assert yard.whole()


async def test_a_build_that_is_cancelled_while_its_context_arrives_leaves_nothing(yard):
    with trio.move_on_after(0.1):
        await yard.send(context=pieces(context_tar({"Dockerfile": "FROM base"})[:600], trio.Event()))
    assert yard.whole()


async def test_a_remote_dockerfile_is_told_from_a_remote_tar_by_its_bytes(yard):
    yard.sites.pages = {
        "http://x/Dockerfile": b"FROM base\nENV from=text",
        "http://x/context": context_tar({"Dockerfile": "FROM base\nENV from=tar"}),
    }
    text = await yard.send(remote="http://x/Dockerfile")
    tar = await yard.send(remote="http://x/context")
    assert [each.config.env[-1] for each in (text, tar)] == ["from=text", "from=tar"]
    with pytest.raises(TriokerError, match="404"):
        await yard.send(remote="http://x/nothing")
    assert yard.whole()


async def test_a_syntax_error_is_told_with_its_line_before_anything_is_done(yard):
    text = await refusal(yard, "FROM base\nRUN say 1\nFRMO x\n")
    assert text == "dockerfile parse error on line 3: unknown instruction: FRMO (did you mean FROM?)"
    assert yard.workshop.ran == []


async def test_arguments_nobody_asks_for_are_warned_of(yard):
    await yard.build("FROM base\nARG known", build_args=(("known", "1"), ("z", "1"), ("a", "2"), ("NO_PROXY", "x")))
    assert "[Warning] One or more build-args [a z] were not consumed\n" in yard.text
