"""Searching, in both protocols."""

import pytest
from registry_v1 import RegistryV1, running_registry

from trioker.http.client import Client
from trioker.images.registry.names import Registries
from trioker.images.registry.search import search
from trioker.images.registry.tokens import Tokens
from trioker.model.errors import NotFound, TriokerError, Unauthorized
from trioker.model.progress import Credentials
from trioker.model.search import SearchResult


async def found(registry: RegistryV1, term: str) -> list[SearchResult]:
    client = Client()
    try:
        registries = Registries(default=registry.address)
        return list(await search(Tokens(client, registries), registries, term, Credentials()))
    finally:
        await client.aclose()


async def test_an_index_of_2013_is_searched(registry: RegistryV1) -> None:
    registry.descriptions = {"busybox": "tiny", "user/busybox": "mine\n\x1b[31m", "other": ""}
    assert await found(registry, "busy") == [
        SearchResult("busybox", "tiny"),
        SearchResult("user/busybox", "mine  [31m"),
    ]
    assert await found(registry, "a&b =") == []


async def test_a_registry_with_neither_cannot_be_searched(registry: RegistryV1) -> None:
    registry.faults.status["/search"] = 404
    with pytest.raises(NotFound, match="no registry there that can be searched"):
        await found(registry, "x")


async def test_an_index_that_wants_a_login_says_so(registry: RegistryV1) -> None:
    registry.faults.status["/search"] = 401
    with pytest.raises(Unauthorized):
        await found(registry, "x")


async def test_a_page_for_browsers_is_refused(registry: RegistryV1) -> None:
    registry.faults.html.add("/search")
    with pytest.raises(TriokerError, match="text/html instead of JSON"):
        await found(registry, "x")


async def test_where_there_is_no_search_v2s_catalogue_is_filtered() -> None:
    with running_registry() as registry:
        registry.catalogue = ["library/busybox", "team/BusyBee", "other"]
        assert await found(registry, "busy") == [SearchResult("library/busybox"), SearchResult("team/BusyBee")]
        assert await found(registry, "none") == []


async def test_nobody_there_is_told_as_such() -> None:
    with running_registry() as gone:
        pass
    with pytest.raises(TriokerError, match="refused"):
        await found(gone, "x")
