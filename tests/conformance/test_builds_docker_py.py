"""docker-py 0.3.2, a client of the time, builds (``version="1.2"``)."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon import Daemon
from test_docker_py import client, docker, pytestmark

__all__ = ["client", "pytestmark"]  # its fixture, its marks


@pytest.fixture
def name(client: Any) -> Iterator[str]:
    """For one image."""
    yield "docker-py-built"
    client.remove_image("docker-py-built")


def test_a_dockerfile_by_itself(client: Any, name: str) -> None:
    image, text = client.build(fileobj=io.BytesIO(b"FROM base\nRUN echo hello\nCMD echo built\n"), tag=name, rm=True)
    assert "\nhello\n" in text
    assert client.inspect_image(name)["id"].startswith(image)


def test_a_directory_with_a_tag(client: Any, name: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM base\nADD . /src\nRUN cat /src/sub/file\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_text("content\n")
    image, text = client.build(str(tmp_path), f"{name}:latest")
    assert "\ncontent\n" in text
    assert client.inspect_image(f"{name}:latest")["id"].startswith(image)


def test_a_failure(client: Any, daemon: Daemon) -> None:
    image, text = client.build(fileobj=io.BytesIO(b"FROM base\nRUN exit 7\n"))
    assert image is None
    assert text.splitlines()[-1].startswith("Error build: The command '/bin/sh -c exit 7' returned a non-zero code: 7")


assert docker  # imported there, with the names it looks for lent to it
