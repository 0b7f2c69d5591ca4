"""POST /build: what of a request reaches the builder, and the text that comes back."""

import errno
import json
from urllib.parse import quote

import pytest

from trioker.api.v1_2.building import DOCKERFILE_LIMIT, build_request, split_name
from trioker.api.v1_2.parameters import Parameters
from trioker.model.build import BuildRequest
from trioker.model.errors import InvalidParameter, TriokerError
from trioker.model.progress import Progress
from trioker.testing.fake_backend import fake_id

TAR = b"ustar" * 100
FORM = "multipart/form-data; boundary=b0undary"


def form(*files):
    parts = (
        b'--b0undary\r\nContent-Disposition: form-data; name="%b"; filename="x"\r\n\r\n%b\r\n' % (name, data)
        for name, data in files
    )
    return b"".join(parts) + b"--b0undary--\r\n"


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({}, BuildRequest()),
        ({"t": "app"}, BuildRequest(repository="app")),
        ({"t": "app:1"}, BuildRequest(repository="app", tag="1")),
        ({"tag": "host:5000/app"}, BuildRequest(repository="host:5000/app")),
        ({"t": "host:5000/app:1", "tag": "x"}, BuildRequest(repository="host:5000/app", tag="1")),
        ({"t": ""}, BuildRequest()),
        ({"remote": "git://h/x#a:b"}, BuildRequest(remote="git://h/x#a:b")),
        ({"dockerfile": "a/Dockerfile.prod"}, BuildRequest(dockerfile="a/Dockerfile.prod")),
        ({"dockerfile": ""}, BuildRequest()),
        ({"q": "True", "nocache": "1", "pull": "true", "rm": "False", "forcerm": "1", "target": "test"},
         BuildRequest(quiet=True, no_cache=True, pull=True, target="test")),
        ({"q": "False", "nocache": "False", "rm": "False"}, BuildRequest()),
        ({"buildargs": '{"A": "1", "B": null}'}, BuildRequest(build_args=(("A", "1"), ("B", None)))),
        ({"buildargs": "null"}, BuildRequest()),
        ({"buildargs": "{}"}, BuildRequest()),
        ({"labels": "{}", "networkmode": "host", "shmsize": "0"}, BuildRequest()),
    ],
)  # fmt: skip
def test_the_query_is_read(query, wanted):
    assert build_request(Parameters(query)) == wanted


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"q": "x"}, 'q: expected 1, true, 0 or false, got "x"'),
        ({"nocache": "2"}, 'nocache: expected 1, true, 0 or false, got "2"'),
        ({"rm": "x"}, 'rm: expected 1, true, 0 or false, got "x"'),
        ({"forcerm": "x"}, 'forcerm: expected 1, true, 0 or false, got "x"'),
        ({"pull": "x"}, 'pull: expected 1, true, 0 or false, got "x"'),
        ({"buildargs": "{"}, "buildargs: not valid JSON: "),
        ({"buildargs": "[1]"}, 'buildargs: expected an object like {"NAME": "value"}, got [1]'),
        ({"buildargs": '{"A": 1}'}, 'buildargs: expected an object like {"NAME": "value"}, got {"A": 1}'),
        ({"t": "a b"}, "Illegal repository name: a b"),
    ],
)
async def test_a_query_that_cannot_be_read_is_refused_before_anything_is_built(ask, fake, query, text):
    target = "&".join(f"{name}={quote(value)}" for name, value in query.items())
    answer = await ask("POST", f"/build?{target}", TAR)
    assert answer.status == 400
    assert answer.text.startswith(f"Bad parameter: {text}")
    assert fake.recorder.calls == []


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a", ("a", "")),
        ("a:1", ("a", "1")),
        ("h:5/a", ("h:5/a", "")),
        ("h:5/a:1", ("h:5/a", "1")),
        (":1", (":1", "")),
        ("", ("", "")),
    ],
)
def test_a_colon_before_a_slash_is_a_port(name, parts):
    assert split_name(name) == parts


async def test_the_text_comes_as_it_is_said_and_ends_with_the_image(ask, fake):
    fake.builder.said = [b"Step 1 : FROM base\n", b" ---> 0123\n"]
    answer = await ask("POST", "/v1.2/build?t=app", TAR, "application/tar", [(b"x-registry-config", b"e30=")])
    assert answer.status == 200
    assert answer.headers == {"Content-Type": "text/plain; charset=utf-8"}
    assert answer.text == f"Step 1 : FROM base\n ---> 0123\nSuccessfully built {fake_id('app:latest')[:12]}\n"
    assert fake.builder.context == TAR
    assert fake.recorder.calls == [("build", BuildRequest(repository="app"))]


async def test_a_build_from_a_url_reads_no_body(ask, fake):
    await ask("POST", "/build?remote=http%3A%2F%2Fh%2FDockerfile", TAR)
    assert fake.builder.context == b""
    assert fake.recorder.calls == [("build", BuildRequest(remote="http://h/Dockerfile"))]


@pytest.mark.parametrize(
    "files",
    [
        [(b"Context", TAR), (b"Dockerfile", b"FROM base\n")],
        [(b"Dockerfile", b"FROM base\n"), (b"Context", TAR)],
        [(b"Other", b"x"), (b"Dockerfile", b"FROM base\n"), (b"Other", b"x"), (b"Context", TAR), (b"Other", b"x")],
    ],
)
@pytest.mark.parametrize("appetite", [2**62, 100])
async def test_the_form_of_2013_has_both_files_in_any_order(ask, fake, files, appetite):
    fake.builder.appetite = appetite
    answer = await ask("POST", "/build?t=app", form(*files), FORM)
    assert answer.text.startswith("Successfully built ")
    assert fake.builder.dockerfile == b"FROM base\n"
    assert TAR.startswith(fake.builder.context)
    assert fake.builder.context == TAR or appetite == 100


async def test_a_form_may_have_no_context(ask, fake):
    await ask("POST", "/build", form((b"Dockerfile", b"FROM base\n")), FORM)
    assert (fake.builder.context, fake.builder.dockerfile) == (b"", b"FROM base\n")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (form((b"Context", TAR)), 'body: the form has no file "Dockerfile"'),
        (form(), 'body: the form has no file "Dockerfile"'),
        (form((b"Dockerfile", bytes(DOCKERFILE_LIMIT + 1))), f"Dockerfile: longer than {DOCKERFILE_LIMIT} bytes"),
        (form((b"Context", TAR))[:-20], "body: the form ends before its last boundary"),
    ],
)
async def test_a_form_that_is_none_fails_the_build(ask, body, text):
    answer = await ask("POST", "/build", body, FORM)
    assert (answer.status, answer.text) == (200, f"Error build: Bad parameter: {text}\n")


async def test_a_form_without_a_boundary_is_refused(ask, fake):
    answer = await ask("POST", "/build", b"x", "multipart/form-data")
    assert (answer.status, answer.text) == (
        400,
        "Bad parameter: Content-Type: multipart/form-data without its boundary\n",
    )
    assert fake.recorder.calls == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            TriokerError("The command [false] returned a non-zero code: 1"),
            "The command [false] returned a non-zero code: 1",
        ),
        (InvalidParameter("Can't build a directory"), "Bad parameter: Can't build a directory"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
    ],
)
async def test_a_failure_is_the_last_line(ask, fake, error, text):
    fake.recorder.failures["build"] = error
    answer = await ask("POST", "/build", TAR)
    assert (answer.status, answer.text) == (200, f"Error build: {text}\n")


@pytest.mark.parametrize(("said", "shown"), [([b"a\n"], "a\n"), ([b"a\n", b"no end", b""], "a\nno end\n")])
async def test_the_last_line_stands_alone(ask, fake, said, shown):
    fake.builder.said = said
    fake.recorder.failures["build"] = TriokerError("it broke")
    assert (await ask("POST", "/build", TAR)).text == f"{shown}Error build: it broke\n"


async def test_what_a_pull_tells_is_shown_line_by_line_without_its_counts(ask, fake):
    fake.builder.said = [b"Step 1 : FROM base"]
    fake.builder.told = [
        Progress("Pulling repository base"),
        Progress("Downloading", "01", 1, 2),
        Progress("Complete", "01"),
    ]
    text = (await ask("POST", "/build", TAR)).text
    assert text.splitlines()[:-1] == ["Step 1 : FROM base", "Pulling repository base", "01: Complete"]


async def test_docker_py_finds_the_image_in_the_text(ask, fake):
    fake.builder.said = [b"output without an end"]
    text = (await ask("POST", "/build", TAR)).text
    assert text.splitlines()[-1] == f"Successfully built {fake_id('a build')[:12]}"


def test_build_args_keep_their_order():
    names = [f"N{number}" for number in range(20, 0, -1)]
    request = build_request(Parameters({"buildargs": json.dumps(dict.fromkeys(names, "x"))}))
    assert [name for name, _ in request.build_args] == names
