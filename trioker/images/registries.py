"""Everything between this daemon and registries, put together: one client, one cache of tokens, one shelf of blobs."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs

from trioker.http.client import Client, Proxies, ca_context
from trioker.images.blobs import BlobStore
from trioker.images.layers_in import LayersIn
from trioker.images.layers_out import LayersOut
from trioker.images.ports import Layers, Trees, Unpacker
from trioker.images.pull import Puller
from trioker.images.pull_v1 import PullerV1
from trioker.images.push import Pusher
from trioker.images.push_v1 import PusherV1
from trioker.images.registry.login import login
from trioker.images.registry.names import Registries
from trioker.images.registry.search import search
from trioker.images.registry.tokens import NOBODY, Tokens
from trioker.images.store import ImageStore
from trioker.model.options import RegistryOptions
from trioker.model.progress import Credentials, Tell
from trioker.model.search import SearchResult


@attrs.frozen
class RegistryAccess:
    """Implements ``api.backend.Registries``."""

    tokens: Tokens
    names: Registries
    puller: Puller
    pusher: Pusher

    async def pull(self, name: str, tag: str, registry: str, credentials: Credentials, tell: Tell) -> None:
        """Fetch images; see ``Puller.pull``."""
        await self.puller.pull(name, tag, registry, credentials, tell)

    async def pull_base(self, name: str, tag: str, tell: Tell) -> None:
        """What a build begins with; nobody's credentials are asked for there."""
        await self.puller.pull(name, tag, "", NOBODY, tell)

    async def push(self, name: str, tag: str, registry: str, credentials: Credentials, tell: Tell) -> None:
        """Send images; see ``Pusher.push``."""
        await self.pusher.push(name, tag, registry, credentials, tell)

    async def search(self, term: str, credentials: Credentials) -> Sequence[SearchResult]:
        """Repositories of the default registry."""
        return await search(self.tokens, self.names, term, credentials)

    async def login(self, credentials: Credentials, server: str) -> str:
        """Check credentials; see ``registry.login``."""
        return await login(self.tokens, self.names, credentials, server)


@asynccontextmanager
async def open_client(options: RegistryOptions, proxies: Proxies) -> AsyncIterator[Client]:
    """The client for registries and for what users fetch by URL. Raises trioker.http.tls.BadCertificate for ``options.ca``."""
    tls: ssl.SSLContext | None = ca_context(str(options.ca)) if options.ca else None
    client = Client(tls=tls, insecure=options.insecure, proxies=proxies)
    try:
        yield client
    finally:
        await client.aclose()


def registry_access(
    options: RegistryOptions,
    client: Client,
    *,
    store: ImageStore,
    layers: Layers,
    trees: Trees,
    unpacker: Unpacker,
    blobs: BlobStore,
) -> RegistryAccess:
    """Pulling and pushing over these. Raises InvalidParameter for a registry's name in ``options`` that cannot be one."""
    names = Registries(options.default, options.mirrors, frozenset(options.insecure))
    tokens = Tokens(client, names)
    out = LayersOut(layers, trees, blobs)
    puller = Puller(store, layers, LayersIn(blobs, unpacker), blobs, PullerV1(store, unpacker), tokens, names)
    pusher = Pusher(store, out, blobs, PusherV1(store, out), tokens, names)
    return RegistryAccess(tokens, names, puller, pusher)
