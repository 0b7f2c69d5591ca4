from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioker.images.dockerfile.instructions import (
    Add,
    Arg,
    Assignment,
    Cmd,
    Command,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Heredoc,
    Label,
    Maintainer,
    OnBuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from trioker.images.dockerfile.parser import LARGEST, MOST_INSTRUCTIONS, parse, parse_trigger
from trioker.model.container import Healthcheck as Probe
from trioker.model.errors import InvalidParameter


def one(text):
    """The only instruction behind FROM."""
    [instruction] = parse(f"FROM a\n{text}").stages[0].instructions
    return instruction


def refusal(text):
    with pytest.raises(InvalidParameter) as caught:
        parse(text)
    return str(caught.value)


def line(text):
    return Command((text,), in_shell=True)


def words(*each):
    return Command(each, in_shell=False)


def pairs(**values):
    return tuple(Assignment(name, value) for name, value in values.items())


@pytest.mark.parametrize(
    ("text", "instruction"),
    [
        ("MAINTAINER  Jane Doe <j@x>", Maintainer("Jane Doe <j@x>")),
        ("RUN echo a   b", Run(line("echo a   b"))),
        ("run echo", Run(line("echo"))),
        ('RUN ["a", "b c"]', Run(words("a", "b c"))),
        ("RUN [ -f x ] && y", Run(line("[ -f x ] && y"))),
        ("RUN ['a']", Run(line("['a']"))),
        ("RUN --network=none  x --y", Run(line("x --y"), "none")),
        ("RUN --security=sandbox x", Run(line("x"))),
        ("RUN -- --x", Run(line("--x"))),
        ("CMD x", Cmd(line("x"))),
        ("CMD []", Cmd(words())),
        ('ENTRYPOINT ["/x"]', Entrypoint(words("/x"))),
        ('SHELL ["/bin/bash", "-c"]', Shell(("/bin/bash", "-c"))),
        ("ENV a b c", Env(pairs(a="b c"))),
        ("ENV a=b c=d", Env(pairs(a="b", c="d"))),
        (r'ENV a="b c" d=e\ f g=', Env(pairs(a='"b c"', d=r"e\ f", g=""))),
        ("ENV a=b=c", Env(pairs(a="b=c"))),
        ("LABEL \"a b\"='c d'", Label((Assignment('"a b"', "'c d'"),))),
        ("ARG a", Arg(pairs(a=None))),
        ("ARG a=1 b c=", Arg(pairs(a="1", b=None, c=""))),
        ("EXPOSE 80 $P/udp", Expose(("80", "$P/udp"))),
        ("COPY a b /c/", Copy(("a", "b"), "/c/")),
        ('COPY ["a b", "/c d"]', Copy(("a b",), "/c d")),
        ("COPY --from=0 --chown=u:g --chmod=755 --link a b", Copy(("a",), "b", (), "0", "u:g", "755")),
        ("COPY --parents --exclude=x --exclude=y a b", Copy(("a",), "b", exclude=("x", "y"), parents=True)),
        ("COPY --link=false a b", Copy(("a",), "b")),
        ('COPY --chown="a b" a b', Copy(("a",), "b", owner="a b")),
        ("ADD http://x/y /z", Add(("http://x/y",), "/z")),
        (f"ADD --checksum=sha256:{'a' * 64} x y", Add(("x",), "y", checksum=f"sha256:{'a' * 64}")),
        ("ADD --checksum=$SUM --keep-git-dir x y", Add(("x",), "y", checksum="$SUM", keep_git_dir=True)),
        ("WORKDIR /a b", Workdir("/a b")),
        ("USER me:us", User("me:us")),
        ("VOLUME /a /b", Volume(("/a", "/b"))),
        ('VOLUME ["/a b"]', Volume(("/a b",))),
        ("STOPSIGNAL SIGQUIT", StopSignal("SIGQUIT")),
        ("HEALTHCHECK NONE", Healthcheck(Probe(("NONE",)))),
        ("HEALTHCHECK CMD curl x", Healthcheck(Probe(("CMD-SHELL", "curl x")))),
        (
            'HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=500ms --start-interval=0 --retries=3 CMD ["a","b"]',
            Healthcheck(Probe(("CMD", "a", "b"), 90 * 10**9, 15 * 10**8, 5 * 10**8, 3)),
        ),
        ("ONBUILD run  x", OnBuild("run  x")),
        ("ONBUILD COPY . /", OnBuild("COPY . /")),
    ],
)
def test_each_instruction_is_read(text, instruction):
    assert one(text) == instruction


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("FROM a", From("a")),
        ("from a:1 as Build", From("a:1", "build")),
        ("FROM --platform=linux/amd64 a@sha256:1 AS b-1.x_y", From("a@sha256:1", "b-1.x_y", "linux/amd64")),
        ("\N{ZERO WIDTH NO-BREAK SPACE}FROM a\r\n", From("a")),
        ("\n\n# c\n  FROM a", From("a")),
    ],
)
def test_a_stage_begins_with_its_image(text, origin):
    assert parse(text.encode()).stages[0].origin == origin


def test_arguments_may_stand_before_the_first_stage_and_stages_follow_each_other():
    file = parse("ARG v=1\nFROM a:$v AS b\nRUN x\nFROM b\nFROM c\nRUN y\nRUN z")
    assert file.arguments == (Arg(pairs(v="1")),)
    assert [stage.origin.image for stage in file.stages] == ["a:$v", "b", "c"]
    assert [len(stage.instructions) for stage in file.stages] == [1, 0, 2]


def test_an_instruction_knows_its_line_and_its_text():
    instruction = one("# c\nRUN a \\\n # inside\n  b")
    assert (instruction.line, instruction.text) == (3, "RUN a   b")


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("RUN a \\\nb", "a b"),
        ("RUN a\\\nb", "ab"),
        ("RUN a \\  \t\n b", "a  b"),
        ("RUN a \\\r\n b\r", "a  b"),
        ("RUN a \\\n#c\n# d \\\n b", "a  b"),
        ("RUN a \\\\\n", "a \\\\"),
        ("RUN a \\", "a"),
        ("RUN \\\n a", "a"),
        ("RUN \\\n\\\n a", "a"),
        ("RUN echo '#' # x", "echo '#' # x"),
        ("RUN a \\\n\n b", "a  b"),
    ],
)
def test_lines_are_continued_over_comments(text, command):
    assert one(text).command == line(command)


def test_an_empty_line_inside_an_instruction_is_warned_of():
    assert parse("FROM a\nRUN b \\\n\n c").warnings == ("Empty continuation line found in: RUN b  c",)
    assert parse("FROM a\nRUN b \\\n # x\n c").warnings == ()


def test_the_escape_directive_changes_what_continues_a_line():
    file = parse("# Syntax = docker/dockerfile:1\n# escape=`\nFROM a\nRUN b\\ `\n c\nENV x=a` b")
    assert file.escape == "`"
    assert file.stages[0].instructions == (Run(line("b\\  c")), Env(pairs(x="a` b")))


def test_behind_a_comment_there_are_no_directives():
    assert parse("# hello\n# escape=`\nFROM a").escape == "\\"
    assert parse("\n# escape=`\nFROM a").escape == "\\"
    assert parse("# unknown=1\n# escape=`\nFROM a").escape == "\\"


@pytest.mark.parametrize(
    ("text", "instruction"),
    [
        ("RUN <<EOF\na\n  b\\\n# c\nEOF", Run(line("a\n  b\\\n# c\n"))),
        ("RUN <<-EOF\n\ta\n\t\tb\n\tEOF", Run(line("a\nb\n"))),
        ("RUN <<EOF sh >x\na\nEOF", Run(line("<<EOF sh >x\na\nEOF"))),
        ("RUN cat <<A && b 3<<-B\n1\nA\n\t2\n\tB", Run(line("cat <<A && b 3<<-B\n1\nA\n\t2\nB"))),
        ("RUN echo $((1<<2)) <<<x '<<EOF'", Run(line("echo $((1<<2)) <<<x '<<EOF'"))),
        ("COPY <<EOF /x\n a $b\n\nEOF", Copy((), "/x", (Heredoc("EOF", " a $b\n\n"),))),
        ("COPY <<'EOF' /x\nEOF", Copy((), "/x", (Heredoc("EOF", "", expands=False),))),
        (
            'COPY <<-"a b" y <<b /x\n\t1\n\ta b\n2\r\nb\r',
            Copy(("y",), "/x", (Heredoc("a b", "1\n", False), Heredoc("b", "2\r\n"))),
        ),
        ("ADD <<E\\OF /x\n1\nEOF", Add((), "/x", (Heredoc("EOF", "1\n", expands=False),))),
        ("ONBUILD COPY <<EOF /x\na\nEOF", OnBuild("COPY <<EOF /x\na\nEOF\n")),
        ("CMD cat <<EOF", Cmd(line("cat <<EOF"))),
    ],
)
def test_here_documents_are_read(text, instruction):
    assert one(text) == instruction


def test_a_script_is_run_by_the_interpreter_it_names():
    script = "#!/usr/bin/env  python3 -u \nprint(1)\n"
    *runner, file, content, interpreter, argument = one(f"RUN <<EOF\n{script}EOF").command.arguments(())
    assert runner[:2] == ["/bin/sh", "-c"]
    assert file.startswith("/dev/shm/")
    assert (content, interpreter, argument) == (script, "/usr/bin/env", "python3 -u")


def test_a_trigger_is_read_again_as_it_was_written():
    trigger = one("ONBUILD COPY --chown=1 <<EOF x /y/\na\nEOF").trigger
    assert parse_trigger(trigger) == Copy(("x",), "/y/", (Heredoc("EOF", "a\n"),), owner="1")


@pytest.mark.parametrize("text", ["", "FROM x", "ONBUILD RUN x", "RUN x\nRUN y", "MAINTAINER x", "NO x"])
def test_a_trigger_of_a_strange_image_is_one_instruction(text):
    with pytest.raises(InvalidParameter, match="ONBUILD trigger"):
        parse_trigger(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FOO x", "unknown instruction: FOO"),
        ("RUM x", "unknown instruction: RUM (did you mean RUN?)"),
        ("copi a b", "unknown instruction: copi (did you mean COPY?)"),
        (f"{'x' * 10**5} a", f"unknown instruction: {'x' * 256}"),
        ("RUN", "RUN requires at least one argument"),
        ("RUN []", "RUN requires at least one argument"),
        ("CMD", "CMD requires at least one argument"),
        ("RUN [1]", "when using JSON array syntax, arrays must be comprised of strings only"),
        ('RUN ["\\u0000"]', "a NUL byte"),
        ('RUN ["\\ud800"]', "bytes that are not UTF-8"),
        ("RUN \0", "a NUL byte"),
        ("RUN --mount=type=cache,target=/x y", "RUN --mount needs BuildKit, which this is not"),
        ("RUN --network=host y", "RUN --network=host is not supported; use default or none"),
        (
            "RUN --security=insecure y",
            "RUN --security=insecure is not supported: a step has no more rights than a container",
        ),
        ("RUN --foo y", "unknown flag: --foo"),
        ("CMD --foo", "unknown flag: --foo"),
        ("COPY --from a b", "missing a value on flag: from"),
        ("COPY --from=a --from=b a b", "duplicate flag specified: from"),
        ("COPY --link=maybe a b", "expecting boolean value for flag link, not: maybe"),
        ("COPY --from=$x a b", "COPY --from does not expand variables; name a stage by FROM ... AS instead"),
        ("COPY --checksum=x a b", "unknown flag: --checksum"),
        (
            "COPY a",
            "COPY requires at least two arguments, but only 1 was provided. Destination could not be determined",
        ),
        ('ADD ["", "b"]', "ADD takes no empty paths"),
        ("ADD --checksum=md5:1 a b", "ADD --checksum must be sha256: and 64 hexadecimal digits, not md5:1"),
        ("COPY x <<EOF\nEOF", "COPY cannot accept a heredoc as a destination"),
        ("COPY --from=a <<EOF /\nEOF", "COPY --from takes no here-documents"),
        ("RUN <<EOF\nx", "unterminated heredoc: no line is 'EOF'"),
        ("SHELL /bin/sh -c", "SHELL requires the arguments to be in JSON form"),
        ("SHELL []", "SHELL requires the arguments to be in JSON form"),
        ("ENV a", "ENV must have two arguments"),
        ("ENV a=b c", "Syntax error - can't find = in 'c'. Must be of the form: name=value"),
        ("LABEL =b", "LABEL names can not be blank"),
        ("ARG =b", "ARG names can not be blank"),
        ('VOLUME [""]', "VOLUME specified can not be an empty string"),
        ("VOLUME []", "VOLUME specified can not be an empty string"),
        ("HEALTHCHECK curl", "unknown type 'curl' in HEALTHCHECK (try CMD)"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK CMD []", "missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK --retries=-1 CMD x", "--retries must be a number that is not negative, not -1"),
        ("ONBUILD", "ONBUILD requires at least one argument"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("FROM a b", "FROM requires either one or three arguments"),
        ("FROM a to b", "FROM requires either one or three arguments"),
        (
            "FROM a AS 1b",
            "invalid name for build stage: '1b', name can't start with a number or contain symbols",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text, message):
    assert refusal(f"FROM a\n# c\n{text}") == f"dockerfile parse error on line 3: {message}"


@pytest.mark.parametrize("text", ["30", "s", "1x", "-1s", "0.5ms", "1e3s", "9" * 18 + "h", "1ms" * 9, "1,5s"])
def test_a_health_check_takes_sensible_times(text):
    assert f"duration '{text}' for --interval" in refusal(f"FROM a\nHEALTHCHECK --interval={text} CMD x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "the Dockerfile has no FROM: it names no image to begin with"),
        (b"# only\n\n", "the Dockerfile has no FROM: it names no image to begin with"),
        (b"ARG a", "the Dockerfile has no FROM: it names no image to begin with"),
        (b"RUN a\nFROM b", "dockerfile parse error on line 1: Please provide a source image with `from` prior to run"),
        (b"# escape=x\nFROM a", "dockerfile parse error on line 1: invalid ESCAPE 'x'. Must be ` or \\"),
        (
            b"# escape=`\n# ESCAPE=`\nFROM a",
            "dockerfile parse error on line 2: only one escape parser directive can be used",
        ),
        (b"FROM \xff", "dockerfile parse error on line 1: bytes that are not UTF-8"),
        (b"#" * (LARGEST + 1), f"the Dockerfile is larger than {LARGEST} bytes"),
        (
            b"FROM a\n" * (MOST_INSTRUCTIONS + 1),
            f"dockerfile parse error on line {MOST_INSTRUCTIONS + 1}: more than {MOST_INSTRUCTIONS} instructions",
        ),
    ],
)
def test_a_file_that_cannot_be_built_is_refused(text, message):
    assert refusal(text) == message


def test_a_comment_may_be_of_any_bytes():
    assert parse(b"# caf\xe9\nFROM a\nRUN b \\\n# \xff\n c").stages[0].instructions == (Run(line("b  c")),)


PIECES = st.sampled_from(
    [
        *(
            "FROM a\n",
            "RUN ",
            "COPY ",
            "ADD ",
            "ENV ",
            "ARG ",
            "LABEL ",
            "ONBUILD ",
            "HEALTHCHECK ",
            "SHELL ",
            "EXPOSE ",
        ),
        *(
            "CMD ",
            "# escape=`\n",
            "#",
            "\\\n",
            "\\",
            "`",
            "\n",
            "\r\n",
            " ",
            "\t",
            '"',
            "'",
            "<<EOF",
            "<<-'A B'",
            "EOF\n",
        ),
        *(
            "--",
            "--from=",
            "--chmod",
            "[",
            "]",
            '["a",',
            '"b"]',
            "=",
            "$",
            "${",
            "}",
            "a",
            "b=c",
            "/",
            "\0",
            "\x85",
            "é",
            "\ufeff",
        ),
    ]
)


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=40).map(lambda each: "FROM a\n" + "".join(each))))
def test_whatever_comes_is_read_or_refused(source):
    with suppress(InvalidParameter):
        assert parse(source).stages


@pytest.mark.parametrize(
    "text",
    [
        'ENV a="' + "\\" * (LARGEST - 100),
        "RUN --x=" + "'\"" * (LARGEST // 2 - 50),
        "RUN " + "[" * (LARGEST - 100),
        "COPY " + "<<E " * (LARGEST // 4 - 50),
        "ENV " + "a=b " * (LARGEST // 4 - 50),
        "RUN a" + "\\\n" * (LARGEST // 2 - 50),
        "RUN a" + "\\\n#\n" * (LARGEST // 4 - 50),
        "# " + "= " * (LARGEST // 2 - 50),
        "LABEL " + '"' * (LARGEST - 100),
        "HEALTHCHECK --interval=" + "1s" * (LARGEST // 2 - 50) + " CMD x",
        "RUN <<E\n" + "\t\n" * (LARGEST // 2 - 50) + "E",
        "RUN" + " " * (LARGEST - 100),
        "ONBUILD " * (LARGEST // 8 - 50),
    ],
    ids=lambda text: text[:12],
)
def test_the_largest_of_every_kind_is_read_or_refused_in_linear_time(text):
    """Each takes less than a second; what is not linear takes hours, and is seen by that."""
    with suppress(InvalidParameter):
        parse(f"FROM a\n{text}")
