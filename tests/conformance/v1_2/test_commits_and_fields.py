"""Commits through the API, the fields that today's Dockerfiles set, and the cache of the builder of 2013."""

from collections.abc import Iterator

import pytest
from api_client import Api

pytestmark = pytest.mark.root

SCRIPT = ["sh", "-c", "touch /made; exit 3"]


@pytest.fixture
def container(api: Api) -> Iterator[str]:
    """One that has written a file and ended."""
    with api.container(*SCRIPT, AttachStdout=True) as container:
        assert api.wait(container) == 3
        yield container


def test_an_image_runs_what_its_commit_said(either: Api, container: str) -> None:
    body = {"Cmd": ["cat", "/made"], "WorkingDir": "/tmp"}
    image = either.ok("POST", f"/commit?container={container}&m=why&author=me", body)["Id"]
    shown = either.ok("GET", f"/images/{image}/json")
    assert (shown["comment"], shown["author"], shown["container"][:12]) == ("why", "me", container)
    assert (shown["config"]["Cmd"], shown["config"]["WorkingDir"]) == (["cat", "/made"], "/tmp")
    assert either.run(image=image) == (0, b"")
    assert either.ok("GET", f"/images/{image}/history")[1]["Tags"] == ["base:latest"]
    either.ok("DELETE", f"/images/{image}")


def test_an_image_runs_what_its_container_did_where_its_commit_says_nothing(either: Api, container: str) -> None:
    image = either.ok("POST", f"/commit?container={container}", b"null")["Id"]
    assert either.ok("GET", f"/images/{image}/json")["config"]["Cmd"] == SCRIPT
    assert either.run(image=image) == (3, b"")
    either.ok("DELETE", f"/images/{image}")


def test_an_image_made_by_the_builder_of_2013_is_found_again(either: Api, container: str) -> None:
    config = either.inspect(container)["Config"]
    base = either.ok("GET", "/images/base/json")["id"]
    image = either.ok("POST", f"/commit?container={container}")["Id"]
    assert either.ok("POST", "/images/getCache", {"Id": base, **config})["Id"].startswith(image)
    assert either.call("POST", "/images/getCache", {"Id": base, **config, "Env": ["X=y"]}).status == 404
    either.ok("DELETE", f"/images/{image}")


def test_what_the_page_does_not_have_is_shown_where_it_is_set(either: Api) -> None:
    more = {
        "Entrypoint": ["/bin/echo"], "WorkingDir": "/tmp", "Labels": {"a": "b"}, "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGINT",
        "Healthcheck": {"Test": ["CMD", "true"]}, "OnBuild": ["RUN true"],
    }  # fmt: skip
    with either.container("x", start=False, **more) as container:
        shown = either.inspect(container)
    assert {key: shown["Config"][key] for key in more} == more
    assert (shown["Path"], shown["Args"]) == ("/bin/echo", ["x"])
