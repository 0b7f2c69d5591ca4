"""Our side of a conversation with the registry of tests/harness/registry_v1.py."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from registry_v1 import RegistryV1

from trioker.http.client import Client
from trioker.images.registry.names import Registries
from trioker.images.registry.v1 import Index
from trioker.model.progress import Credentials

USER = Credentials("somebody", "a password", "somebody@example.com")


@asynccontextmanager
async def asking(registry: RegistryV1, credentials: Credentials = USER) -> AsyncIterator[Index]:
    """An index at that registry."""
    client = Client()
    try:
        yield Index(client, registry.url, Registries(default=f"http://{registry.address}"), credentials)
    finally:
        await client.aclose()
