"""What all tests share: quick ones go first, those that need root are skipped without it, and the file is built once."""

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from trioker.launcher.meter import Meter

PROJECT = Path(__file__).parent.parent

gc.disable()  # what is collected is kept to the end: looking through it for garbage again and again takes a fifth of the time

hypothesis.settings.register_profile("no clock", deadline=None)  # a busy machine is no fault
hypothesis.settings.load_profile("no clock")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    needs_root = [item for item in items if item.get_closest_marker("root")]
    if os.geteuid():
        for item in needs_root:
            item.add_marker(pytest.mark.skip(reason="needs root"))
    items.sort(key=lambda item: bool(item.get_closest_marker("root")))


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``trioker.pyz``, built of this tree."""
    output = tmp_path_factory.mktemp("dist") / "trioker.pyz"
    subprocess.run([sys.executable, PROJECT / "zipapp" / "build.py", output], check=True, stdout=subprocess.DEVNULL)
    return output


@pytest.fixture
def stay_here() -> Iterator[None]:
    """For what moves the working directory."""
    before = os.getcwd()
    yield
    os.chdir(before)


@pytest.fixture
def meter(stay_here: None) -> Iterator[Meter]:
    """One that nobody reads; the jobs it counts for move the working directory."""
    with open(os.devnull, "wb") as out:
        yield Meter(out.fileno())
