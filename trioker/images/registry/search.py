"""Searching a registry: by the index of 2013, or where there is none by the names in v2's catalogue."""

from collections.abc import Sequence
from urllib.parse import urlencode

from trioker.http.client import Client
from trioker.images.reach import first_v2
from trioker.images.registry.documents import Document, printable
from trioker.images.registry.names import Registries, endpoints
from trioker.images.registry.tokens import Tokens
from trioker.images.registry.v1 import index_urls
from trioker.images.registry.v1_wire import ask, basic, first_answer, refusal
from trioker.images.registry.v2 import Session
from trioker.model.errors import NotFound
from trioker.model.progress import Credentials
from trioker.model.search import SearchResult

RESULTS = 1000
"""Taken of an index's answer at most; docker.io gives 25."""
DESCRIPTION = 1000
"""Characters of one description."""


async def search(tokens: Tokens, registries: Registries, term: str, credentials: Credentials) -> Sequence[SearchResult]:
    """What the default registry has for ``term``. Raises Unauthorized, TriokerError."""
    host = registries.default_host
    try:
        return await first_answer(
            index_urls(host, registries), lambda url: _search_index(tokens.client, url, term, credentials)
        )
    except NotFound:
        return await _search_catalogue(tokens, registries, term, credentials)


async def _search_index(client: Client, url: str, term: str, credentials: Credentials) -> Sequence[SearchResult]:
    reply = await ask(client, "GET", f"{url}/search?{urlencode({'q': term})}", basic(credentials))
    if reply.status != 200:
        raise refusal(reply)
    return [_result(each) for each in reply.document.documents("results", RESULTS) if each.text("name")]


def _result(found: Document) -> SearchResult:
    return SearchResult(printable(found.text("name")), printable(found.text("description"), DESCRIPTION))


async def _search_catalogue(
    tokens: Tokens, registries: Registries, term: str, credentials: Credentials
) -> Sequence[SearchResult]:
    host = registries.default_host
    place = await first_v2([each for each in endpoints(host, registries) if not each.mirror], tokens)
    if place is None:
        raise NotFound(f"{host}: no registry there that can be searched")
    names = await Session(tokens, place, credentials=credentials).catalog()
    return [SearchResult(name) for name in names if term.lower() in name.lower()]
