"""Checking who somebody is (page, "Check auth configuration"): with a v2 registry, or with an index of 2013, which also takes new users."""

import json

import attrs

from trioker.http.client import Client
from trioker.images.reach import first_v2
from trioker.images.registry.names import Registries, endpoints
from trioker.images.registry.tokens import Tokens
from trioker.images.registry.v1 import index_urls
from trioker.images.registry.v1_wire import ask, basic, first_answer, refusal
from trioker.images.registry.v2 import Session
from trioker.model.errors import Forbidden, TriokerError, Unauthorized
from trioker.model.progress import Credentials

SUCCEEDED = "Login Succeeded\n"
CREATED = "Account created. Please use the confirmation link we sent to your e-mail to activate it.\n"
_TAKEN = "already exists"
_INACTIVE = "Login: Your account hasn't been activated. Please check your e-mail for a confirmation link."


async def login(tokens: Tokens, registries: Registries, credentials: Credentials, server: str = "") -> str:
    """The words for success. ``server`` is a host or URL as clients name registries (``https://index.docker.io/v1/``), "" the default one.

    v2 is looked for first: that says nothing of the credentials, and never makes an account by mistake. Raises Unauthorized, Forbidden,
    InvalidParameter for ``server``, TriokerError.
    """
    host = attrs.evolve(registries, default=server or registries.default).default_host
    places = [each for each in endpoints(host, registries) if not each.mirror]
    place = await first_v2(places, tokens)
    if place is None:
        urls = index_urls(host, registries)
        return await first_answer(urls, lambda url: _log_in_v1(tokens.client, url, credentials))
    await Session(tokens, place, credentials=credentials).check_login()
    return SUCCEEDED


async def _log_in_v1(client: Client, url: str, credentials: Credentials) -> str:
    user = {"username": credentials.username, "password": credentials.password, "email": credentials.email}
    headers = [(b"content-type", b"application/json")]
    reply = await ask(client, "POST", f"{url}/users/", headers, json.dumps(user).encode(), tries=1)
    if reply.status == 201:
        return CREATED
    if reply.status == 403:
        raise Forbidden(_INACTIVE)
    if reply.status == 400 and _TAKEN in reply.error:
        return await _check_user(client, url, credentials)
    if reply.status == 400:
        raise TriokerError(f"Registration: {reply.error or reply.code}")
    raise refusal(reply)


async def _check_user(client: Client, url: str, credentials: Credentials) -> str:
    reply = await ask(client, "GET", f"{url}/users/", basic(credentials))
    match reply.status:
        case 200:
            return SUCCEEDED
        case 401:
            raise Unauthorized("Wrong login/password, please try again")
        case 403:
            raise Forbidden(_INACTIVE)
        case _:
            raise refusal(reply)
