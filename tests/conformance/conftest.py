"""One real daemon for the whole suite, seen only from outside: nothing here imports trioker."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_client import Api
from build_yard import Yard
from busybox import busybox_tar
from daemon import Daemon, running_daemon
from polling import deadline

TEST_WITHIN = 120
"""Seconds for one test: a single wait gives up after 60, but a daemon that dribbles could go round that."""


@pytest.fixture(autouse=True)
def no_test_hangs() -> Iterator[None]:
    with deadline(TEST_WITHIN):
        yield


@pytest.fixture(scope="session")
def daemon(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with an image ``base`` made of busybox. Whatever test used it, nothing is left when it has stopped."""
    with running_daemon(pyz, tmp_path_factory.mktemp("conformance")) as daemon:
        daemon.api.import_image(busybox_tar(), "base")
        yield daemon


@pytest.fixture(scope="session")
def api(daemon: Daemon) -> Api:
    """Over the Unix socket, paths with the version."""
    return daemon.api


@pytest.fixture(params=["/v1.2", ""], ids=["v1.2", "unprefixed"])
def either(request: pytest.FixtureRequest, daemon: Daemon) -> Api:
    """Both forms of every path, one test each."""
    return Api(daemon.api.address, request.param, daemon.api.made)


@pytest.fixture(scope="module")
def empty_daemon(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A second daemon, without images, that pages of any origin may use."""
    with running_daemon(pyz, tmp_path_factory.mktemp("empty"), "--api-enable-cors") as daemon:
        yield daemon


@pytest.fixture
def yard(api: Api, request: pytest.FixtureRequest) -> Iterator[Yard]:
    yard = Yard(api, f"build{abs(hash(request.node.nodeid)) % 10**8}n")
    yield yard
    yard.remove()
