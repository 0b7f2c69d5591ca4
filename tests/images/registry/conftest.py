"""A registry of 2013 to talk to."""

from collections.abc import Iterator

import pytest
from registry_v1 import RegistryV1, running_registry
from v1_peer import USER


@pytest.fixture
def registry() -> Iterator[RegistryV1]:
    """With one user."""
    with running_registry() as registry:
        registry.users[USER.username] = (USER.password, USER.email, True)
        yield registry
