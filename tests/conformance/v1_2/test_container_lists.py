"""``GET /containers/json`` with every parameter (page; behaviour.md sections 0 and 4)."""

from collections.abc import Iterator
from typing import Any

import pytest
from api_client import Api
from daemon import Daemon
from polling import wait_until

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def family(api: Api) -> Iterator[list[str]]:
    """Short ids of five containers, newest first: created, running, exited with 3, running, exited with 0."""
    ids = [
        api.create(*command)
        for command in (("true",), ("sleep", "1000"), ("sh", "-c", "exit 3"), ("sleep", "1000", "0"), ("true",))
    ]
    for each in ids[:4]:
        api.start(each)
    api.wait(ids[0])
    api.wait(ids[2])
    yield ids[::-1]
    for each in ids:
        api.remove(each)


def shown(api: Api, query: str, family: list[str]) -> str:
    """Which of the family a list shows, as digits in the list's order."""
    rows = api.ok("GET", f"/containers/json?{query}")
    return "".join(str(family.index(row["Id"][:12])) for row in rows if row["Id"][:12] in family)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "13"),
        ("all=0", "13"),
        ("all=1", "01234"),
        ("all=True", "01234"),
        ("limit=-1", "13"),
        ("limit=0", ""),
        ("limit=1", "0"),
        ("limit=3", "012"),
        ("limit=3&all=1", "012"),
        ("limit=1000", "01234"),
        ("since={2}", "01"),
        ("since={0}", ""),
        ("before={2}", "34"),
        ("before={4}", ""),
        ("since={4}&before={0}", "123"),
        ("since={4}&before={0}&limit=1", "1"),
        ("since={4}&limit=2&all=0", "01"),
        ("before=0123456789ab", ""),
        ("since=0123456789ab&limit=5", "01234"),
        ("only_ids=1&trunc_cmd=0&all=1", "01234"),
    ],
)
def test_which_containers_are_shown(either: Api, family: list[str], query: str, expected: str) -> None:
    assert shown(either, query.format(*family), family) == expected


def test_since_and_before_take_full_ids_too(api: Api, family: list[str]) -> None:
    full = api.inspect(family[2])["Id"]
    assert shown(api, f"since={full}", family) == "01"
    assert shown(api, f"before={full}", family) == "34"


def test_the_list_has_an_alias(either: Api, family: list[str]) -> None:
    assert either.ok("GET", "/containers/ps?limit=2") == either.ok("GET", "/containers/json?limit=2")
    assert len(family) == 5


def row_of(api: Api, container: str, query: str = "all=1") -> Any:
    return next(row for row in api.ok("GET", f"/containers/json?{query}") if row["Id"][:12] == container)


def test_a_row_has_the_pages_fields(either: Api, family: list[str]) -> None:
    row = row_of(either, family[2])
    shown = either.inspect(family[2])
    assert row.pop("Created") > 1_700_000_000
    assert row == {
        "Id": shown["Id"], "Image": "base:latest", "Command": "sh -c exit 3", "Status": "Exit 3", "Ports": "", "SizeRw": 0, "SizeRootFs": 0,
    }  # fmt: skip


def test_a_command_without_arguments_ends_with_a_blank(api: Api, family: list[str]) -> None:
    assert row_of(api, family[0])["Command"] == "true "


def test_status_tells_how_long_and_how_it_ended(api: Api, family: list[str]) -> None:
    assert row_of(api, family[0])["Status"] == "Exit 0"
    assert row_of(api, family[4])["Status"] == "Exit 0"
    assert row_of(api, family[1])["Status"].startswith("Up ")
    with api.container("sleep", "1000") as container:
        assert row_of(api, container)["Status"] == "Up Less than a second"
        wait_until(lambda: row_of(api, container)["Status"] == "Up 1 seconds", "a second")


def test_sizes_are_told_when_asked_for(api: Api) -> None:
    with api.container("sh", "-c", "head -c 300000 /dev/zero > /file") as container:
        api.wait(container)
        row = row_of(api, container, "all=1&size=1")
        assert 300_000 <= row["SizeRw"] < 400_000
        assert row["SizeRootFs"] > 1_000_000
        assert row_of(api, container)["SizeRw"] == 0


def test_an_image_without_a_name_is_shown_by_its_id(api: Api) -> None:
    image = api.ok("POST", "/images/create?fromSrc=-", b"\0" * 1024)["status"]
    with api.container("true", image=image, start=False) as container:
        assert row_of(api, container)["Image"] == image
    api.ok("DELETE", f"/images/{image}")


def test_an_empty_store_has_empty_lists(empty_daemon: Daemon) -> None:
    api = empty_daemon.api
    assert api.call("GET", "/containers/json?all=1").body == b"[]"
    assert api.call("GET", "/images/json?all=1").body == b"[]"
    assert api.call("GET", "/images/viz").body == b""
    info = api.ok("GET", "/info")
    assert (info["Containers"], info["Images"]) == (0, 0)
