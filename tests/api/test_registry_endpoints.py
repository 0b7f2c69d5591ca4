"""Pull, push, search and login: what of a request reaches the registries, and what is told of them."""

import base64
import json

import pytest
from api_client import objects

from trioker.model.errors import Forbidden, InvalidParameter, NotFound, TriokerError, Unauthorized
from trioker.model.progress import Credentials, Progress
from trioker.model.search import SearchResult

WHO = Credentials("hannibal", "p?>ss~", "hannibal@a-team.com")
WHO_JSON = {"username": "hannibal", "password": "p?>ss~", "email": "hannibal@a-team.com"}
NOBODY = Credentials()


def header(value, encode=base64.urlsafe_b64encode):
    encoded = encode(value if isinstance(value, bytes) else json.dumps(value).encode())
    return [(b"x-registry-auth", encoded)]


@pytest.mark.parametrize(
    ("query", "call"),
    [
        ("fromImage=ubuntu", ("ubuntu", "", "")),
        ("fromImage=ubuntu&tag=precise", ("ubuntu", "precise", "")),
        ("fromImage=img%3Atag", ("img:tag", "", "")),
        ("fromImage=host:5000/a/b@sha256:00&tag=", ("host:5000/a/b@sha256:00", "", "")),
        ("fromImage=0123&registry=http%3A%2F%2Fh%2Fv1%2F", ("0123", "", "http://h/v1/")),
        ("fromImage=ubuntu&fromSrc=-&repo=x", ("ubuntu", "", "")),
    ],
)
async def test_a_pull_names_what_it_wants(ask, fake, query, call):
    answer = await ask("POST", f"/v1.2/images/create?{query}")
    assert (answer.status, answer.body) == (200, b"")
    assert fake.recorder.calls == [("pull", *call, NOBODY)]


async def test_a_pull_may_come_in_a_form(ask, fake):
    await ask("POST", "/images/create", b"fromImage=a%2Fb&tag=1", "application/x-www-form-urlencoded")
    assert fake.recorder.calls == [("pull", "a/b", "1", "", NOBODY)]


async def test_a_pull_tells_object_by_object(ask, fake):
    fake.registries.told = [Progress("Pulling repository busybox"), Progress("Downloading", "0123", 1, 2)]
    answer = await ask("POST", "/images/create?fromImage=busybox")
    assert answer.headers == {"Content-Type": "application/json"}
    assert [each["status"] for each in objects(answer.body.decode())] == ["Pulling repository busybox", "Downloading"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidParameter("Illegal repository name: x!"), 400),
        (Unauthorized("Please login first (HTTP code 401)"), 401),
        (Forbidden("no"), 403),
        (NotFound("Repository not found"), 404),
        (TriokerError("busybox:latest pull is already in progress"), 500),
    ],
)
@pytest.mark.parametrize("path", ["create?fromImage=x", "base/push"])
async def test_a_transfer_that_fails_at_once_has_a_status(ask, fake, error, status, path):
    fake.recorder.failures |= {"pull": error, "push": error}
    answer = await ask("POST", f"/images/{path}")
    assert answer.status == status
    assert answer.text.endswith(f"{error}\n")
    assert answer.headers == {"Content-Type": "text/plain; charset=utf-8"}


@pytest.mark.parametrize("path", ["create?fromImage=x", "base/push"])
async def test_a_transfer_that_fails_later_ends_in_an_error(ask, fake, path):
    fake.registries.told = [Progress("Working")]
    fake.recorder.failures |= dict.fromkeys(("pull", "push"), NotFound("blob sha256:00: 404"))
    answer = await ask("POST", f"/images/{path}")
    assert answer.status == 200
    assert objects(answer.body.decode())[-1] == {
        "error": "blob sha256:00: 404",
        "errorDetail": {"message": "blob sha256:00: 404"},
    }


@pytest.mark.parametrize(
    ("path", "call"),
    [
        ("base", ("base", "", "")),
        ("a/b", ("a/b", "", "")),
        ("host:5000/a/b?tag=1", ("host:5000/a/b", "1", "")),
        ("0123?registry=http%3A%2F%2Fh", ("0123", "", "http://h")),
    ],
)
async def test_a_push_names_what_it_sends(ask, fake, path, call):
    name, _, query = path.partition("?")
    await ask("POST", f"/v1.2/images/{name}/push?{query}")
    assert fake.recorder.calls == [("push", *call, NOBODY)]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(WHO_JSON, ""), (WHO_JSON, "plain/text"), ({"USERNAME": "hannibal", **WHO_JSON}, "application/json")],
)
async def test_a_push_has_its_credentials_in_the_body(ask, fake, body, content_type):
    await ask("POST", "/images/base/push", body, content_type)
    assert fake.recorder.calls[0][-1] == WHO


@pytest.mark.parametrize("body", [b"", b" \n", b"{}", b"null"])
async def test_a_push_without_credentials_is_nobodys(ask, fake, body):
    await ask("POST", "/images/base/push", body)
    assert fake.recorder.calls[0][-1] == NOBODY


@pytest.mark.parametrize(
    "headers",
    [
        header(WHO_JSON),
        header(WHO_JSON, base64.b64encode),
        header(WHO_JSON, lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")),
        header({"auth": base64.b64encode(b"hannibal:p?>ss~").decode(), "email": WHO.email}),
        header({"auth": base64.b64encode(b"hannibal:p?>ss~").decode().rstrip("="), "email": WHO.email}),
    ],
)
@pytest.mark.parametrize(
    "request_line", ["POST /images/create?fromImage=x", "POST /images/x/push", "GET /images/search?term=x"]
)
async def test_credentials_may_come_in_the_header_of_later_clients(ask, fake, request_line, headers):
    await ask(*request_line.split(), headers=headers)
    assert fake.recorder.calls[0][-1] == WHO


@pytest.mark.parametrize("name", ["identitytoken", "registrytoken", "IdentityToken"])
async def test_a_token_may_stand_for_name_and_password(ask, fake, name):
    await ask("POST", "/images/create?fromImage=x", headers=header({name: "t0k"}))
    assert fake.recorder.calls[0][-1] == Credentials(token="t0k")


@pytest.mark.parametrize("value", [{}, b"null", {"username": ""}])
async def test_an_empty_header_is_nobody(ask, fake, value):
    await ask("POST", "/images/create?fromImage=x", headers=header(value))
    assert fake.recorder.calls[0][-1] == NOBODY


SECRET = "s3cr3t"


@pytest.mark.parametrize(
    "encoded",
    [
        SECRET.encode() + b"!",
        b"=" + SECRET.encode(),
        b"\xff\xff",
        base64.b64encode(SECRET.encode()),
        base64.b64encode(b'{"username": "x", "password": "s3cr3t"'),
        base64.b64encode(b'{"username": "x", "password": ["s3cr3t"]}'),
        base64.b64encode(b'{"username": "x", "password": "s3cr3t\\u0000"}'),
        base64.b64encode(b'{"auth": "s3cr3t!"}'),
        base64.b64encode(b'["s3cr3t"]'),
        base64.b64encode(b"\xff\xfe"),
    ],
)
async def test_a_header_that_cannot_be_read_is_refused_and_not_repeated(ask, fake, encoded):
    answer = await ask("POST", "/images/create?fromImage=x", headers=[(b"x-registry-auth", encoded)])
    assert answer.status == 400
    assert answer.text.startswith("Bad parameter: X-Registry-Auth: ")
    assert SECRET not in answer.text
    assert fake.recorder.calls == []


@pytest.mark.parametrize(
    "body", [b"s3cr3t", {"password": ["s3cr3t"]}, ["s3cr3t"], {"username": "x", "password": 5}, {"auth": "s3cr3t!"}]
)
@pytest.mark.parametrize("path", ["/auth", "/images/base/push"])
async def test_credentials_that_cannot_be_read_are_refused_and_not_repeated(ask, fake, path, body):
    answer = await ask("POST", path, body)
    assert answer.status == 400
    assert answer.text.startswith("Bad parameter: body: ")
    assert SECRET not in answer.text
    assert fake.recorder.calls == []


def test_credentials_do_not_show_themselves():
    assert "hannibal" not in repr(WHO)
    assert WHO.password not in repr(WHO)


async def test_a_search_lists_names_and_descriptions(ask, fake):
    fake.registries.found = [SearchResult("cespare/sshd"), SearchResult("sshd", "a daemon")]
    answer = await ask("GET", "/v1.2/images/search?term=sshd")
    assert answer.body == b'[{"Name":"cespare/sshd","Description":""},{"Name":"sshd","Description":"a daemon"}]'
    assert fake.recorder.calls == [("search", "sshd", NOBODY)]


async def test_a_search_that_finds_nothing_is_an_empty_list(ask):
    assert (await ask("GET", "/images/search?term=x")).body == b"[]"


async def test_a_search_needs_a_term(ask, fake):
    answer = await ask("GET", "/images/search")
    assert (answer.status, answer.text) == (400, "Bad parameter: term: nothing to search for\n")
    assert fake.recorder.calls == []


@pytest.mark.parametrize(
    ("more", "server"), [({}, ""), ({"serveraddress": "https://index.docker.io/v1/"}, "https://index.docker.io/v1/")]
)
async def test_a_login_asks_the_registry(ask, fake, more, server):
    answer = await ask("POST", "/v1.2/auth", {**WHO_JSON, **more})
    assert (answer.status, answer.json) == (200, {"Status": "Login Succeeded\n"})
    assert fake.recorder.calls == [("login", WHO, server)]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unauthorized("Wrong login/password, please try again"), 401),
        (Forbidden("Login: Your account hasn't been activated."), 403),
        (TriokerError("Registration: no"), 500),
    ],
)
async def test_a_login_that_fails_says_why(ask, fake, error, status):
    fake.recorder.failures["login"] = error
    answer = await ask("POST", "/auth", WHO_JSON)
    assert (answer.status, answer.text) == (status, f"{error}\n")


@pytest.mark.parametrize("body", [{}, b"null", {"password": "x"}])
async def test_a_login_needs_a_name(ask, fake, body):
    answer = await ask("POST", "/auth", body)
    assert (answer.status, answer.text) == (400, "Bad parameter: username: no user is named\n")
    assert fake.recorder.calls == []
