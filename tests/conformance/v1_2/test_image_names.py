"""Images and their names: list, history, viz, tag, remove (page section 2.2; behaviour.md sections 0 and 5)."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from api_client import Api
from busybox import small_tar
from daemon import Daemon

pytestmark = pytest.mark.root


@pytest.fixture
def image(api: Api) -> Iterator[str]:
    """The short id of an image named ``one:latest``; what is made besides ``base`` is removed."""
    yield api.import_image(small_tar(file=b"12345"), "one")
    for row in api.ok("GET", "/images/json"):
        if row.get("Repository") != "base":
            api.ok(
                "DELETE", f"/images/{row['Repository']}:{row['Tag']}" if "Repository" in row else f"/images/{row['Id']}"
            )


def rows(api: Api, query: str = "") -> list[Any]:
    return list(api.ok("GET", f"/images/json?{query}"))


def names(api: Api, image: str) -> set[str]:
    return {f"{row['Repository']}:{row['Tag']}" for row in rows(api) if row["Id"].startswith(image) and "Tag" in row}


# -- looking --------------------------------------------------------------------------------------------------------------------


def test_a_row_has_the_pages_fields(either: Api, image: str) -> None:
    (row,) = rows(either, "filter=one")
    assert row.pop("Created") > 1_700_000_000
    assert re.fullmatch(image + r"[0-9a-f]{52}", row.pop("Id"))
    assert row == {"Repository": "one", "Tag": "latest", "Size": 5, "VirtualSize": 5}


def test_there_is_a_row_for_each_name(api: Api, image: str) -> None:
    api.ok("POST", f"/images/{image}/tag?repo=two&tag=v1")
    api.ok("POST", f"/images/{image}/tag?repo=one&tag=v1")
    assert names(api, image) == {"one:latest", "one:v1", "two:v1"}
    assert {row["Tag"] for row in rows(api, "filter=one")} == {"latest", "v1"}


@pytest.mark.parametrize("query", ["all=0", "all=1"])
def test_an_image_without_a_name_has_a_row_without_one(api: Api, image: str, query: str) -> None:
    nameless = api.ok("POST", "/images/create?fromSrc=-", small_tar(a=b""))["status"]
    (row,) = [row for row in rows(api, query) if row["Id"].startswith(nameless)]
    assert row.keys() == {"Id", "Created", "Size", "VirtualSize"}
    assert not [row for row in rows(api, f"{query}&filter=one") if row["Id"].startswith(nameless)]
    assert image != nameless


@pytest.mark.parametrize("name", ["one", "one:latest", "{full}", "{short}", "{four}"])
def test_an_image_is_found_by_name_and_by_id(either: Api, image: str, name: str) -> None:
    full = next(row["Id"] for row in rows(either) if row["Id"].startswith(image))
    assert either.ok("GET", f"/images/{name.format(full=full, short=image, four=image[:6])}/json")["id"] == full


def test_names_may_have_slashes(api: Api, image: str) -> None:
    api.ok("POST", f"/images/{image}/tag?repo=team/app&tag=v1")
    assert api.ok("GET", "/images/team/app:v1/json")["id"].startswith(image)
    assert api.ok("GET", "/images/team/app:v1/history")[0]["Id"] == image
    assert api.ok("POST", "/images/team/app:v1/tag?repo=deep/er/still") == b""
    assert api.ok("DELETE", "/images/team/app:v1") == [{"Untagged": image}]


def test_history_has_both_spellings_of_the_names(either: Api, image: str) -> None:
    either.ok("POST", f"/images/{image}/tag?repo=two")
    (row,) = either.ok("GET", "/images/one/history")
    assert row.pop("Created") > 1_700_000_000
    assert row == {
        "Id": image,
        "Tag": ["one:latest", "two:latest"],
        "Tags": ["one:latest", "two:latest"],
        "CreatedBy": "",
    }


def test_viz_is_a_graph_with_labels(empty_daemon: Daemon) -> None:
    api = empty_daemon.api
    image = api.import_image(small_tar(a=b""), "one")
    api.ok("POST", f"/images/{image}/tag?repo=two&tag=v1")
    nameless = api.ok("POST", "/images/create?fromSrc=-", small_tar(b=b""))["status"]
    lines = api.ok("GET", "/images/viz").decode().split("\n")
    assert lines[0] == "digraph docker {"
    assert set(lines[1:3]) == {f' base -> "{image}" [style=invis]', f' base -> "{nameless}" [style=invis]'}
    assert lines[3:] == [
        rf' "{image}" [label="{image}\none:latest\ntwo:v1",shape=box,fillcolor="paleturquoise",style="filled,rounded"];',
        " base [style=invisible]",
        "}",
        "",
    ]


# -- tagging --------------------------------------------------------------------------------------------------------------------


def test_a_tag_is_latest_unless_told(either: Api, image: str) -> None:
    either.ok("POST", f"/images/{image}/tag?repo=two")
    assert names(either, image) == {"one:latest", "two:latest"}


def test_a_name_that_is_taken_is_not_moved_without_force(either: Api, image: str) -> None:
    other = either.import_image(small_tar(b=b""), "two")
    for query in ("repo=two", "repo=two&force=0", "repo=two&tag=latest&force=False"):
        assert either.call("POST", f"/images/{image}/tag?{query}").status == 409
    assert names(either, other) == {"two:latest"}
    assert either.call("POST", f"/images/{image}/tag?repo=two&force=1").status == 201
    assert names(either, other) == set()
    assert names(either, image) == {"one:latest", "two:latest"}


def test_a_name_that_the_image_has_already_is_no_conflict(api: Api, image: str) -> None:
    assert api.call("POST", f"/images/{image}/tag?repo=one").status == 201


@pytest.mark.parametrize(
    "query", ["", "repo=", "repo=a:b", "repo=a&tag=b:c", "repo=a&tag=b/c", "repo=a&tag=%20", "repo=%00", "repo=a/../b"]
)
def test_a_name_that_is_none_is_refused(api: Api, image: str, query: str) -> None:
    answer = api.call("POST", f"/images/{image}/tag?{query}")
    assert answer.status == 400
    assert answer.text.startswith("Bad parameter")
    assert names(api, image) == {"one:latest"}


# -- removing -------------------------------------------------------------------------------------------------------------------


def test_the_last_name_takes_the_image_with_it(either: Api, image: str) -> None:
    assert either.ok("DELETE", "/images/one") == [{"Untagged": image}, {"Deleted": image}]
    assert either.call("GET", f"/images/{image}/json").status == 404


def test_one_of_several_names_is_only_taken_away(api: Api, image: str) -> None:
    api.ok("POST", f"/images/{image}/tag?repo=one&tag=v1")
    assert api.ok("DELETE", "/images/one:v1") == [{"Untagged": image}]
    assert names(api, image) == {"one:latest"}


def test_a_repository_is_removed_with_all_its_tags(api: Api, image: str) -> None:
    api.ok("POST", f"/images/{image}/tag?repo=one&tag=v1")
    assert api.ok("DELETE", "/images/one") == [{"Untagged": image}, {"Deleted": image}]


def test_an_image_without_a_name_is_removed_by_its_id(api: Api, image: str) -> None:
    nameless = api.ok("POST", "/images/create?fromSrc=-", small_tar(a=b""))["status"]
    assert api.ok("DELETE", f"/images/{nameless}") == [{"Deleted": nameless}]
    assert image


def test_an_image_with_a_name_is_not_removed_by_its_id(either: Api, image: str) -> None:
    answer = either.call("DELETE", f"/images/{image}")
    assert answer.status == 409
    assert answer.text.startswith(f"Conflict, {image} wasn't deleted")
    assert names(either, image) == {"one:latest"}


def test_an_image_that_a_container_stands_on_keeps_its_last_name(api: Api, image: str) -> None:
    with api.container("none", image="one", start=False):
        answer = api.call("DELETE", "/images/one")
        assert answer.status == 409
        assert names(api, image) == {"one:latest"}
    assert api.ok("DELETE", "/images/one") == [{"Untagged": image}, {"Deleted": image}]


def test_a_container_keeps_the_image_it_was_made_from(api: Api, image: str) -> None:
    with api.container("none", image="one", start=False) as container:
        other = api.import_image(small_tar(b=b""), "one")
        assert api.inspect(container)["Image"].startswith(image)
        assert api.inspect(container)["Config"]["Image"] == "one"
        assert other != image


def test_a_removed_image_leaves_no_file(daemon: Daemon, image: str) -> None:
    full = daemon.api.ok("GET", "/images/one/json")["id"]
    (layer,) = [each["Id"] for each in daemon.api.ok("GET", "/system/df")["Layers"] if full in each["Images"]]
    assert [path for path in daemon.root.rglob("*") if layer in path.name]
    daemon.api.ok("DELETE", "/images/one")
    assert not [path for path in daemon.root.rglob("*") if layer in path.name]
    assert full.startswith(image)
