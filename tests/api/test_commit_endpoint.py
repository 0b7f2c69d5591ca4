"""POST /commit."""

import pytest

from trioker.model.commit import Commit
from trioker.model.container import Config
from trioker.model.errors import InvalidParameter
from trioker.testing.fake_backend import fake_id

NAME = fake_id("a")[:12]


@pytest.fixture(autouse=True)
def container(fake):
    fake.add_container("a")


@pytest.mark.parametrize(
    ("query", "commit"),
    [
        ("", Commit()),
        ("repo=myrepo&m=message", Commit(repository="myrepo", comment="message")),
        ("repo=a%2Fb&tag=1&comment=message&author=John+%3Cj%40x%3E", Commit("a/b", "1", "message", "John <j@x>")),
        ("m=page&comment=client", Commit(comment="page")),
    ],
)
async def test_a_commit_has_its_words_in_the_query(ask, fake, query, commit):
    answer = await ask("POST", f"/v1.2/commit?container={NAME}&{query}")
    assert (answer.status, answer.json) == (201, {"Id": fake.images.records[-1].id[:12]})
    assert fake.recorder.calls == [("commit", NAME, commit)]


@pytest.mark.parametrize(
    ("body", "config"),
    [
        (b"", None),
        (b" ", None),
        (b"null", None),
        (b"{}", None),
        ({"Cmd": None, "Tty": False}, None),
        ({"Cmd": ["cat", "/world"], "PortSpecs": ["22"]}, Config(command=("cat", "/world"), port_specs=("22",))),
        ({"Image": "other", "Entrypoint": ["sh"], "WorkingDir": "/x"}, Config(entrypoint=("sh",), working_dir="/x")),
    ],
)
@pytest.mark.parametrize("content_type", ["", "application/json", "application/x-www-form-urlencoded"])
async def test_the_body_says_what_the_image_shall_run(ask, fake, body, config, content_type):
    await ask("POST", f"/commit?container={NAME}", body, content_type)
    assert fake.recorder.calls == [("commit", NAME, Commit(config=config))]


@pytest.mark.parametrize(
    ("query", "body", "text"),
    [
        ("", b"", "container: none is named"),
        (f"container={NAME}", b"x", "body: not valid JSON: "),
        (f"container={NAME}", {"Cmd": "x"}, 'Cmd: expected a list of strings, got "x"'),
        (f"container={NAME}", [], "body: expected a JSON object, got []"),
    ],
)
async def test_what_cannot_be_read_is_refused(ask, fake, query, body, text):
    answer = await ask("POST", f"/commit?{query}", body)
    assert answer.status == 400
    assert answer.text.startswith(f"Bad parameter: {text}")
    assert fake.recorder.calls == []


async def test_no_such_container_is_a_404(ask):
    answer = await ask("POST", "/commit?container=nosuch")
    assert (answer.status, answer.text) == (404, "No such container: nosuch\n")


async def test_a_name_that_is_none_is_refused(ask, fake):
    fake.recorder.failures["commit"] = InvalidParameter("Illegal repository name: a:b")
    assert (await ask("POST", f"/commit?container={NAME}&repo=a:b")).status == 400
