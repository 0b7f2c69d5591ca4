"""The whole daemon and a registry of 2013: pulled, run, pushed, searched, by HTTP and by a client of the time."""

import collections
import collections.abc
import gc
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_client import Api, objects
from busybox import busybox_tar, small_tar
from daemon import Daemon, running_daemon
from registry_v1 import RegistryV1, running_registry

pytestmark = pytest.mark.root

USER = {"username": "somebody", "password": "a password", "email": "somebody@example.com"}


@pytest.fixture(scope="module")
def registry() -> Iterator[RegistryV1]:
    with running_registry() as registry:
        registry.users[USER["username"]] = (USER["password"], USER["email"], True)
        yield registry


@pytest.fixture(scope="module")
def daemon(pyz: Path, tmp_path_factory: pytest.TempPathFactory, registry: RegistryV1) -> Iterator[Daemon]:
    """Its default registry is the one of 2013."""
    with running_daemon(pyz, tmp_path_factory.mktemp("v1"), "--default-registry", registry.address) as daemon:
        yield daemon


@pytest.fixture
def api(daemon: Daemon, registry: RegistryV1) -> Iterator[Api]:
    """Without images before and after."""
    faults = vars(registry.faults).copy()
    yield daemon.api
    vars(registry.faults).update(faults)
    for row in daemon.api.ok("GET", "/images/json"):
        daemon.api.call(
            "DELETE", f"/images/{row['Repository']}:{row['Tag']}" if "Repository" in row else f"/images/{row['Id']}"
        )
    assert daemon.api.ok("GET", "/images/json?all=1") == []


def told(api: Api, path: str, body: Any = None, **options: Any) -> list[dict[str, Any]]:
    """The objects of a stream."""
    answer = api.call("POST", path, body, **options)
    assert answer.status == 200, answer.text
    return objects(answer.text)


def done(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same, none of which is an error."""
    assert not [each for each in objects if "error" in each], objects
    return objects


def failure(objects: list[dict[str, Any]]) -> str:
    """The error that a stream ended with."""
    return str(objects[-1]["error"])


def names(api: Api) -> dict[str, str]:
    return {
        f"{row['Repository']}:{row['Tag']}": row["Id"] for row in api.ok("GET", "/images/json") if "Repository" in row
    }


def two_generations(registry: RegistryV1, repository: str, tag: str = "latest") -> tuple[str, str]:
    base = registry.add(
        busybox_tar(), comment="the base", config={"Env": ["WORD=spoken"], "Memory": 1 << 20, "Hostname": "evil"}
    )
    made = {"Cmd": ["/bin/sh", "-c", "make"]}
    config = {"Cmd": ["cat", "/top"], "Env": ["WORD=spoken"]}
    top = registry.add(small_tar(top=b"on top\n"), base, container_config=made, config=config, author="somebody")
    registry.tag(repository, tag, top)
    return base, top


@pytest.mark.parametrize("host", [True, False], ids=["host in the name", "default registry"])
def test_an_image_is_pulled_with_its_ids_and_runs(api: Api, registry: RegistryV1, host: bool) -> None:
    base, top = two_generations(registry, "team/pulled")
    name = f"{registry.address}/team/pulled" if host else "team/pulled"
    done(told(api, f"/images/create?fromImage={name}"))
    assert names(api) == {f"{name}:latest": top}
    image = api.ok("GET", f"/images/{name}/json")
    assert (image["id"], image["parent"], image["author"]) == (top, base, "somebody")
    assert image["config"]["Memory"] == 0
    assert [each["CreatedBy"] for each in api.ok("GET", f"/images/{name}/history") if each["CreatedBy"]] == [
        "/bin/sh -c make"
    ]
    with api.container(image=name) as container:  # its own command
        assert api.wait(container) == 0
        assert api.logs(container) == b"on top\n"


def test_one_tag_or_all_of_them(api: Api, registry: RegistryV1) -> None:
    registry.tag("few", "one", registry.add(small_tar(one=b"1")))
    registry.tag("few", "two", registry.add(small_tar(two=b"2")))
    done(told(api, "/images/create?fromImage=few%3Aone"))
    assert names(api).keys() == {"few:one"}
    done(told(api, "/images/create?fromImage=few"))
    assert names(api).keys() == {"few:one", "few:two"}


def test_an_image_is_pulled_by_its_id_from_a_registry(api: Api) -> None:
    with running_registry(open=True) as other:
        image = other.add(small_tar(file=b"x"), other.add(small_tar(base=b"y")))
        done(told(api, f"/images/create?fromImage={image}&registry={other.url}"))
    assert api.ok("GET", f"/images/{image}/json")["id"] == image
    assert names(api) == {}


def test_what_is_pushed_can_be_pulled(api: Api, registry: RegistryV1) -> None:
    api.import_image(busybox_tar(), "team/mine", "v1")
    image = names(api)["team/mine:v1"]
    done(told(api, "/images/team/mine/push", USER))
    assert registry.tags["team/mine"] == {"v1": image}
    stored = registry.images[image]
    assert stored.announced == stored.checksum
    assert json.loads(stored.json)["id"] == image
    api.ok("DELETE", "/images/team/mine:v1")
    done(told(api, "/images/create?fromImage=team/mine"))
    assert names(api) == {"team/mine:v1": image}
    assert api.run("cat", "/etc/motd", image="team/mine:v1") == (0, b"hello from the image\n")


def test_an_image_is_pushed_by_its_id_to_a_registry(api: Api) -> None:
    api.import_image(small_tar(file=b"x"), "local")
    image = names(api)["local:latest"]
    with running_registry(open=True) as other:
        done(told(api, f"/images/{image}/push?registry={other.url}", USER))
        assert other.images.keys() == {image}


def test_a_connection_that_breaks_is_taken_up_again(api: Api, registry: RegistryV1) -> None:
    base, top = two_generations(registry, "broken")
    registry.faults.cut_layers = 2
    done(told(api, "/images/create?fromImage=broken"))
    assert names(api) == {"broken:latest": top}
    assert [each for each in registry.asked_for("GET", f"{base}/layer") if "range" in each.headers]


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ({"status": {"/images": 401}}, "Please login first (HTTP code 401)"),
        ({"status": {"/images": 418}}, "HTTP code: 418"),
        ({"status": {"/tags": 404}}, "Repository not found"),
        ({"no_endpoints": True}, "didn't contain any endpoints"),
        ({"wrong_checksums": True}, "but the index says sha256:0000"),
        ({"html": {"/ancestry"}}, "text/html instead of JSON"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_goes_wrong_is_told_and_nothing_stays(
    api: Api, registry: RegistryV1, fault: dict[str, Any], text: str
) -> None:
    two_generations(registry, "wrong")
    vars(registry.faults).update(fault)
    answer = api.call("POST", "/images/create?fromImage=wrong")
    assert text in answer.text
    assert api.ok("GET", "/images/json?all=1") == []


def test_a_cyclic_ancestry_is_told(api: Api, registry: RegistryV1) -> None:
    base, top = two_generations(registry, "cyclic")
    registry.faults.ancestry = {top: [top, base, top]}
    assert "its own ancestor" in failure(told(api, "/images/create?fromImage=cyclic"))


@pytest.mark.parametrize("body", [None, {**USER, "password": "wrong"}], ids=["nobody", "wrong password"])
def test_a_push_without_the_right_to_is_refused(api: Api, registry: RegistryV1, body: Any) -> None:
    api.import_image(small_tar(file=b"x"), "team/refused")
    assert "Please login first (HTTP code 401)" in failure(told(api, "/images/team/refused/push", body))
    assert "team/refused" not in registry.tags


def test_the_index_is_searched(api: Api, registry: RegistryV1) -> None:
    registry.descriptions = {"busybox": "tiny"}
    assert api.ok("GET", "/images/search?term=busy") == [{"Name": "busybox", "Description": "tiny"}]
    assert api.ok("GET", "/images/search?term=nothing") == []


def test_the_index_knows_who_somebody_is(api: Api, registry: RegistryV1, daemon: Daemon) -> None:
    registry.users["lazy"] = ("password", "", False)
    assert api.ok("POST", "/auth", USER) == {"Status": "Login Succeeded\n"}
    assert api.call("POST", "/auth", {**USER, "password": "not it at all"}).status == 401
    assert api.call("POST", "/auth", {**USER, "username": "lazy", "password": "password"}).status == 403
    created = api.ok("POST", "/auth", {**USER, "username": "new"})
    assert created["Status"].startswith("Account created.")
    assert USER["password"] not in daemon.log_text()
    assert "not it at all" not in daemon.log_text()


# -- a client of the time -------------------------------------------------------------------------------------------------


@pytest.fixture
def client(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """docker-py 0.3.2; requests 2.2.1, which it pins, looks for names that Python 3.10 took away."""
    for name in ("Callable", "Mapping", "MutableMapping"):
        monkeypatch.setattr(collections, name, getattr(collections.abc, name), raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import docker
    client = docker.Client(base_url=f"unix://{daemon.socket}", version="1.2", timeout=20)
    client.trust_env = False
    yield client
    client.close()
    gc.collect()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_docker_py_pulls_and_pushes(client: Any, api: Api, registry: RegistryV1) -> None:
    _, top = two_generations(registry, "team/py")
    assert '"error"' not in client.pull("team/py")
    assert names(api) == {"team/py:latest": top}
    assert client.tag("team/py", "team/again") is True
    registry.anybody_pushes = True
    try:
        assert '"error"' not in client.push("team/again")
    finally:
        registry.anybody_pushes = False
    assert registry.tags["team/again"] == {"latest": top}
    assert [each["Name"] for each in client.search("busy")] == [
        name for name in registry.descriptions if "busy" in name
    ]
