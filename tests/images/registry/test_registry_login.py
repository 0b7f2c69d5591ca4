"""Logging in, in both protocols."""

import json

import pytest
from registry_v1 import RegistryV1, running_registry
from v1_peer import USER

from trioker.http.client import Client
from trioker.images.registry.login import CREATED, SUCCEEDED, login
from trioker.images.registry.names import Registries
from trioker.images.registry.tokens import Tokens
from trioker.model.errors import Forbidden, InvalidParameter, TriokerError, Unauthorized
from trioker.model.progress import Credentials


async def logged_in(credentials: Credentials, server: str, default: str = "docker.io") -> str:
    client = Client()
    try:
        registries = Registries(default=default)
        return await login(Tokens(client, registries), registries, credentials, server)
    finally:
        await client.aclose()


async def test_a_user_the_index_knows_is_let_in(registry: RegistryV1) -> None:
    assert await logged_in(USER, registry.address) == SUCCEEDED == "Login Succeeded\n"
    assert await logged_in(USER, f"http://{registry.address}/v1/") == SUCCEEDED
    assert await logged_in(USER, "", default=registry.address) == SUCCEEDED


async def test_a_user_it_does_not_know_is_made(registry: RegistryV1) -> None:
    assert await logged_in(Credentials("new", "password", "new@example.com"), registry.address) == CREATED
    assert registry.users["new"] == ("password", "new@example.com", True)
    assert "e-mail to activate it.\n" in CREATED


async def test_nothing_secret_is_sent_before_the_protocol_is_known(registry: RegistryV1) -> None:
    await logged_in(USER, registry.address)
    first = registry.asked[0]
    assert (first.method, first.path) == ("GET", "/v2/")
    assert "authorization" not in first.headers


@pytest.mark.parametrize(
    ("credentials", "kind", "text"),
    [
        (Credentials("somebody", "wrong password"), Unauthorized, "^Wrong login/password, please try again$"),
        (Credentials("lazy", "password"), Forbidden, "hasn't been activated"),
        (Credentials("new", "1234"), TriokerError, "Registration: Password: at least 5 characters"),
    ],
)
async def test_a_refusal_is_told_in_the_words_of_2013(
    registry: RegistryV1, credentials: Credentials, kind: type[TriokerError], text: str
) -> None:
    registry.users["lazy"] = ("password", "", False)
    with pytest.raises(kind, match=text) as refused:
        await logged_in(credentials, registry.address)
    assert type(refused.value) is kind


@pytest.mark.parametrize(
    ("status", "kind"), [(403, Forbidden), (401, Unauthorized), (404, TriokerError), (500, TriokerError)]
)
async def test_an_index_that_will_not_is_asked_once(
    registry: RegistryV1, status: int, kind: type[TriokerError]
) -> None:
    registry.faults.status["/users/"] = status
    with pytest.raises(kind):
        await logged_in(USER, registry.address)
    assert len(registry.asked_for("POST", "/users/")) == 1


async def test_a_v2_registry_checks_the_credentials() -> None:
    with running_registry() as registry:
        registry.catalogue = []
        registry.users[USER.username] = (USER.password, "", True)
        assert await logged_in(USER, registry.address) == SUCCEEDED
        with pytest.raises(Unauthorized):
            await logged_in(Credentials("somebody", "wrong"), registry.address)
        assert not registry.asked_for("POST", "")


@pytest.mark.parametrize("server", ["ftp://x", "a b", "user@host", "https://"])
async def test_a_server_that_is_none_is_refused(server: str) -> None:
    with pytest.raises(InvalidParameter):
        await logged_in(USER, server)


async def test_the_password_is_in_no_error(registry: RegistryV1) -> None:
    registry.faults.status["/users/"] = 418
    with pytest.raises(TriokerError) as refused:
        await logged_in(USER, registry.address)
    assert USER.password not in str(refused.value)
    assert USER.password not in json.dumps([each.path for each in registry.asked])
