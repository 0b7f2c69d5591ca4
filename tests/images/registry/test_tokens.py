import logging
from base64 import b64decode
from urllib.parse import parse_qs

import pytest
import trio
from v2_peer import BASE, Asked, NoNetwork, Registry, complaint, over_sockets, reply, session

from trioker.images.registry.names import Endpoint, Registries
from trioker.images.registry.tokens import KEPT, Tokens, merged
from trioker.images.registry.v2 import Session
from trioker.model.errors import Forbidden, TriokerError, Unauthorized
from trioker.model.progress import Credentials

REALM = "https://auth.example/token"
ANN = Credentials(username="ann", password="s3cret")
OCI = "application/vnd.oci.image.manifest.v1+json"


class Guarded(Registry):
    """A registry that wants tokens, and the server that gives them."""

    def __init__(self, realm: str = REALM) -> None:
        super().__init__()
        self.realm = realm
        self.valid: set[str] = set()
        self.given = 0
        self.lifetime = 300
        self.wrong_login = False
        self.more: dict = {}
        self.twists.append(self.guard)
        self.add_manifest("lib/app", "1", OCI, b"{}")

    def guard(self, asked: Asked) -> tuple | None:
        if asked.url.startswith(self.realm):
            return self.give(asked)
        if asked.authorization.removeprefix("Bearer ") in self.valid:
            return None
        challenge = f'Bearer realm="{self.realm}",service="r.example",scope="repository:lib/app:pull"'
        return complaint(401, "UNAUTHORIZED", "authentication required", www_authenticate=challenge)

    def give(self, asked: Asked) -> tuple:
        if self.wrong_login:
            return complaint(401, "UNAUTHORIZED", "incorrect username or password")
        self.given += 1
        token = f"token{self.given}"
        self.valid.add(token)
        return reply(200, {"token": token, "expires_in": self.lifetime, **self.more})

    @property
    def token_requests(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.url.startswith(self.realm)]


async def test_a_token_is_fetched_once_and_shown_from_then_on():
    registry = Guarded()
    client = session(registry)
    assert await client.ping()
    await client.manifest("1")
    await client.manifest("1")
    assert registry.given == 1
    assert [asked.path for asked in registry.asked] == ["/v2/", "/token", *["/v2/lib/app/manifests/1"] * 2]
    assert registry.token_requests[0].query == {"service": ["r.example"], "scope": ["repository:lib/app:pull"]}
    assert registry.token_requests[0].authorization == ""


async def test_a_push_asks_for_push_and_for_what_the_registry_adds():
    registry = Guarded()
    client = session(registry, push=True, credentials=ANN)
    await client.manifest("1")
    asked = registry.token_requests[0]
    assert asked.query["scope"] == ["repository:lib/app:pull,push"]
    assert asked.query["account"] == ["ann"]
    assert b64decode(asked.authorization.removeprefix("Basic ")) == b"ann:s3cret"


async def test_a_mount_asks_for_the_other_repository_too():
    registry = Guarded()
    digest = registry.add_blob("lib/other", b"x")
    client = session(registry, push=True)
    await client.ping()
    assert await client.mount(digest, "lib/other")
    assert registry.token_requests[-1].query["scope"] == ["repository:lib/app:pull,push", "repository:lib/other:pull"]


async def test_an_identity_token_goes_by_post():
    registry = Guarded()
    await session(registry, credentials=Credentials(token="refresh me")).manifest("1")
    asked = registry.token_requests[0]
    assert asked.method == "POST"
    assert "refresh" not in asked.url
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["refresh_token"],
        "service": ["r.example"],
        "client_id": ["trioker"],
        "refresh_token": ["refresh me"],
        "scope": ["repository:lib/app:pull"],
    }


async def test_sessions_share_tokens_but_not_with_other_accounts():
    registry = Guarded()
    tokens = Tokens(NoNetwork(registry))
    for credentials in (ANN, ANN, Credentials(), Credentials(username="ann", password="other")):
        await Session(tokens, Endpoint(BASE), "lib/app", credentials=credentials).manifest("1")
    assert registry.given == 3


async def test_a_token_is_fetched_anew_before_it_expires(autojump_clock):
    registry = Guarded()
    client = session(registry)
    await client.manifest("1")
    await trio.sleep(registry.lifetime * 0.8)
    await client.manifest("1")
    assert registry.given == 1
    await trio.sleep(registry.lifetime * 0.2)
    await client.manifest("1")
    assert registry.given == 2


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        ({}, 60),
        ({"expires_in": 1000}, 1000),
        ({"expires_in": 1000, "issued_at": "2001-09-09T01:46:40Z"}, 900),
        ({"expires_in": 1000, "issued_at": "2001-09-09T00:00:00Z"}, 1000),
        ({"expires_in": 1000, "issued_at": "2012-09-09T00:00:00Z"}, 1000),
        ({"expires_in": 1000, "issued_at": "yesterday"}, 1000),
    ],
)
async def test_a_token_lives_as_long_as_its_server_says(answer, seconds, autojump_clock):
    registry = Guarded()
    registry.lifetime = None
    registry.more = answer
    tokens = Tokens(NoNetwork(registry), wall=lambda: 10**9 + 100)
    client = Session(tokens, Endpoint(BASE), "lib/app")
    await client.manifest("1")
    await trio.sleep(seconds * 0.85)
    await client.manifest("1")
    assert registry.given == 1
    await trio.sleep(seconds * 0.1)
    await client.manifest("1")
    assert registry.given == 2


async def test_a_token_that_is_refused_is_renewed_once():
    registry = Guarded()
    client = session(registry)
    await client.manifest("1")
    registry.valid.clear()
    await client.manifest("1")
    assert registry.given == 2


async def test_a_registry_that_takes_no_token_ends_in_an_error():
    registry = Guarded()
    registry.twists.insert(0, lambda _: registry.valid.clear())
    with pytest.raises(
        Unauthorized, match=r"^unauthorized: authentication required \(manifest for registry.example/lib/app:1\)"
    ):
        await session(registry).manifest("1")
    assert registry.given == 1


async def test_many_requests_at_once_share_one_token():
    registry = Guarded()
    client = session(registry)
    await client.ping()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(client.manifest, "1")
    assert registry.given == 1


async def test_a_wrong_password_is_told_without_repeating_it(caplog):
    caplog.set_level(logging.DEBUG)
    registry = Guarded()
    registry.wrong_login = True
    with pytest.raises(Unauthorized, match="unauthorized: incorrect username or password") as caught:
        await session(registry, credentials=ANN).manifest("1")
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert "s3cret" not in caplog.text + repr(chain) + repr(ANN)


@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.example/token",
        "ftp://auth.example/",
        "/token",
        "",
        "https://",
        "https://u:p@auth.example/",
        "https://[auth",
    ],
)
async def test_credentials_go_to_no_token_server_that_others_can_listen_to(realm):
    registry = Registry()
    challenge = f'Bearer realm="{realm}"'
    registry.twists.append(lambda _: reply(401, www_authenticate=challenge))
    with pytest.raises(TriokerError, match="the registry asks for a token from"):
        await session(registry, credentials=ANN).manifest("1")
    assert len(registry.asked) == 1


@pytest.mark.parametrize(
    ("url", "realm"), [("http://localhost:5000", "http://127.0.0.1:5001/token"), (BASE, "http://auth.lan:5001/token")]
)
async def test_a_token_server_that_was_allowed_may_be_plain(url, realm):
    registry = Guarded(realm)
    tokens = Tokens(NoNetwork(registry), Registries(insecure=frozenset({"auth.lan:5001"})))
    await Session(tokens, Endpoint(url), "lib/app", credentials=ANN).manifest("1")
    assert registry.given == 1


@pytest.mark.parametrize("host", ["127.0.0.1:4243", "localhost:4243", "[::1]", "127.1", "169.254.169.254"])
async def test_a_registry_elsewhere_gets_no_request_to_this_machine_for_a_token(host):
    registry = Guarded(f"http://{host}/build?remote=http://evil.example/Dockerfile#")
    with pytest.raises(TriokerError, match="the registry asks for a token from this machine"):
        await session(registry, credentials=Credentials(token="t0ken")).manifest("1")
    assert registry.given == 0


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, {}),
        reply(200, {"token": ""}),
        reply(200, {"token": 7}),
        reply(200, {"token": "a\r\nX-Evil: 1"}),
        reply(200, {"token": "é"}),
        reply(200, {"token": "a" * 50_000}),
        reply(200, b"<html>", content_type="text/html"),
        reply(200, b"null"),
        reply(200, b"[" * 10_000),
        reply(200, {"token": "a", "expires_in": -1}),
        reply(404),
        reply(302, location="https://elsewhere.example/"),
    ],
)
async def test_a_broken_token_server_is_an_error(answer):
    registry = Guarded()
    registry.give = lambda _: answer
    with pytest.raises(TriokerError, match=r"token from auth\.example"):
        await session(registry).manifest("1")


async def test_a_realm_with_a_query_keeps_it():
    registry = Guarded("https://auth.example/token?x=1")
    await session(registry).manifest("1")
    assert registry.token_requests[0].query["x"] == ["1"]


async def test_a_mirror_is_never_shown_credentials():
    registry = Guarded()
    endpoint = Endpoint(BASE, mirror=True)
    await Session(Tokens(NoNetwork(registry)), endpoint, "lib/app", credentials=ANN).manifest("1")
    assert registry.token_requests[0].authorization == ""


def basic_guard(asked: Asked) -> tuple | None:
    if asked.authorization == "Basic YW5uOnMzY3JldA==":
        return None
    return complaint(401, "UNAUTHORIZED", "authentication required", www_authenticate='Basic realm="Registry"')


async def test_basic_is_shown_where_it_is_asked_for():
    registry = Registry()
    registry.twists.append(basic_guard)
    client = session(registry, credentials=ANN)
    assert await client.ping()
    await client.check_login()
    assert [asked.authorization for asked in registry.asked] == ["", "Basic YW5uOnMzY3JldA=="]


@pytest.mark.parametrize(
    "credentials", [Credentials(), Credentials(username="ann", password="x"), Credentials(token="t")]
)
async def test_who_is_refused_is_told(credentials):
    registry = Registry()
    registry.twists.append(basic_guard)
    with pytest.raises(Unauthorized, match=r"^unauthorized: authentication required"):
        await session(registry, credentials=credentials).check_login()


async def test_an_unknown_way_to_log_in_is_named():
    registry = Registry()
    registry.twists.append(lambda _: reply(401, www_authenticate="Negotiate"))
    with pytest.raises(Unauthorized, match="the registry wants negotiate authentication"):
        await session(registry, credentials=ANN).check_login()


async def test_a_403_is_a_denial():
    registry = Registry()
    registry.twists.append(lambda _: complaint(403, "DENIED", "requested access to the resource is denied"))
    with pytest.raises(Forbidden, match=r"^denied: requested access to the resource is denied \(manifest for"):
        await session(registry).manifest("1")


async def test_tokens_do_not_pile_up():
    registry = Guarded()
    tokens = Tokens(NoNetwork(registry))
    for number in range(KEPT + 10):
        credentials = Credentials(username=str(number), password="x")
        await Session(tokens, Endpoint(BASE), "lib/app", credentials=credentials).manifest("1")
    assert len(tokens._kept) == KEPT


def test_scopes_of_one_resource_become_one():
    scopes = ["repository:b:push,pull", "registry:catalog:*", "repository:b:pull", "repository:a:pull"]
    assert merged(scopes) == ("registry:catalog:*", "repository:a:pull", "repository:b:pull,push")


async def test_a_token_works_over_the_wire():
    registry = Guarded()
    async with over_sockets(registry, credentials=ANN) as client:
        registry.realm = f"{client._base.removesuffix('/v2/')}/token"
        await client.manifest("1")
        await client.check_login()
    assert registry.given == 1
