"""The endpoints of the page's section 2.2, but for creation."""

import json

import attrs
import pytest

from trioker.api.v1_2.images import virtual_sizes
from trioker.model.container import Config
from trioker.model.errors import Conflict, TriokerError
from trioker.model.image import Image, Tag
from trioker.testing.fake_backend import fake_id

BASE = fake_id("base:latest")


@pytest.fixture
def family(fake):
    """base:latest <- middle <- top (untagged) and middle <- app:1 and app:2; alone stands lone."""
    middle = fake.images.add("middle", BASE, container_config=Config(command=("/bin/sh", "-c", "make")))
    fake.images.add("top", middle.id)
    app = fake.images.add("app:1", middle.id)
    fake.images.names.append(Tag("app", "2", app.id))
    fake.images.add("lone")
    return fake


def names(rows):
    return [f"{row['Repository']}:{row['Tag']}" if "Tag" in row else row["Id"] for row in rows]


async def test_a_row_has_the_keys_of_the_page_in_its_order(ask):
    (row,) = (await ask("GET", "/v1.2/images/json")).json
    assert list(row.items()) == [
        ("Repository", "base"), ("Tag", "latest"), ("Id", BASE), ("Created", 1364102658), ("Size", 1000), ("VirtualSize", 1000),
    ]  # fmt: skip


@pytest.mark.usefixtures("family")
async def test_the_list_has_a_row_for_each_tag_and_each_untagged_head(ask):
    rows = (await ask("GET", "/images/json?all=0&only_ids=0")).json
    assert names(rows) == ["app:1", "app:2", "base:latest", fake_id("top"), fake_id("lone")]
    assert list(rows[3]) == ["Id", "Created", "Size", "VirtualSize"]
    assert [row["VirtualSize"] for row in rows] == [3000, 3000, 1000, 3000, 1000]


@pytest.mark.usefixtures("family")
async def test_all_shows_every_untagged_image(ask):
    rows = (await ask("GET", "/images/json?all=1")).json
    assert names(rows) == ["app:1", "app:2", "base:latest", fake_id("middle"), fake_id("top"), fake_id("lone")]


@pytest.mark.parametrize(
    ("repository", "found"), [("app", ["app:1", "app:2"]), ("ap", []), ("app:1", []), ("base", ["base:latest"])]
)
@pytest.mark.usefixtures("family")
async def test_a_filter_is_a_whole_repository_name(ask, repository, found):
    assert names((await ask("GET", f"/images/json?all=1&filter={repository}")).json) == found


async def test_an_empty_list_is_a_list(ask, fake):
    fake.images.records.clear()
    fake.images.names.clear()
    assert (await ask("GET", "/images/json?filter=")).body == b"[]"
    answer = await ask("GET", "/images/viz", b"false")
    assert (answer.status, answer.body) == (200, b"")


async def test_what_was_pulled_by_a_digest_has_no_tag(ask, fake):
    other = fake.images.add("other")
    digest = "sha256:" + "0" * 64
    fake.images.names += [Tag("other", digest, other.id), Tag("base", digest, BASE)]
    assert names((await ask("GET", "/images/json")).json) == ["base:latest", "other:<none>"]
    assert names((await ask("GET", "/images/json?filter=other")).json) == ["other:<none>"]
    assert (await ask("GET", f"/images/{other.id}/history")).json[0]["Tags"] == [f"other@{digest}"]


def generations(count):
    ids = [f"{number:064x}" for number in range(count + 1)]
    return [Image(ids[number + 1], 0, ids[number] if number else "", size=number) for number in range(count)]


@pytest.mark.parametrize("turn", [1, -1])
def test_a_tree_is_its_lineages_sum_in_whatever_order_they_come(turn):
    line = generations(100)
    assert virtual_sizes(line[::turn]) == {image.id: number * (number + 1) // 2 for number, image in enumerate(line)}


class Counted:
    """An image that counts how often its size is asked for."""

    def __init__(self, image):
        self.id, self.parent, self.looks = image.id, image.parent, 0

    @property
    def size(self):
        self.looks += 1
        return 1


def test_each_generation_of_a_long_lineage_is_looked_at_once():
    line = [Counted(image) for image in generations(1000)]
    assert virtual_sizes(line)[line[-1].id] == 1000
    assert {image.looks for image in line} == {1}


def test_a_lineage_that_bites_its_tail_or_lost_its_end_is_added_up_all_the_same():
    first, second, third = generations(3)
    ring = [attrs.evolve(first, parent=third.id), second, third]
    assert set(virtual_sizes(ring)) == {first.id, second.id, third.id}
    assert virtual_sizes([second, third]) == {second.id: 1, third.id: 3}


async def test_a_flag_that_cannot_be_read_is_refused(ask):
    assert (await ask("GET", "/images/json?all=2")).status == 400


@pytest.mark.usefixtures("family")
async def test_the_graph_has_an_edge_for_each_image_and_a_label_for_each_tagged_one(ask):
    base, middle, top, app, lone = (fake_id(name)[:12] for name in ("base:latest", "middle", "top", "app:1", "lone"))
    answer = await ask("GET", "/images/viz")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.text == (
        "digraph docker {\n"
        f' base -> "{base}" [style=invis]\n'
        f' "{base}" -> "{middle}"\n'
        f' "{middle}" -> "{top}"\n'
        f' "{middle}" -> "{app}"\n'
        f' base -> "{lone}" [style=invis]\n'
        f' "{app}" [label="{app}\\napp:1\\napp:2",shape=box,fillcolor="paleturquoise",style="filled,rounded"];\n'
        f' "{base}" [label="{base}\\nbase:latest",shape=box,fillcolor="paleturquoise",style="filled,rounded"];\n'
        " base [style=invisible]\n}\n"
    )


async def test_inspect_leaves_out_what_an_image_does_not_have(ask):
    shape = (await ask("GET", "/images/base/json")).json
    assert list(shape) == ["id", "created", "container_config", "Size"]
    assert shape["container_config"]["Volumes"] is None
    assert (shape["id"], shape["created"], shape["Size"]) == (BASE, "2013-03-24T05:24:18Z", 1000)


async def test_inspect_shows_what_it_has(ask, fake):
    fake.images.add(
        "full", BASE, comment="c", author="a", container="f" * 64, architecture="x86_64", docker_version="0.1.0",
        config=Config(command=("sh",), volumes=("/v",)),
    )  # fmt: skip
    shape = (await ask("GET", f"/images/{fake_id('full')[:12]}/json")).json
    assert list(shape) == [
        "id", "parent", "comment", "created", "container", "container_config", "docker_version", "author", "config", "architecture", "Size",
    ]  # fmt: skip
    assert (shape["parent"], shape["config"]["Cmd"], shape["config"]["Volumes"]) == (BASE, ["sh"], {"/v": {}})


async def test_a_name_may_have_slashes(ask, fake):
    fake.images.add("a/b/json:1")
    for path in ("/images/a/b/json:1/json", "/images/a%2Fb%2Fjson:1/json"):
        assert (await ask("GET", path)).json["id"] == fake_id("a/b/json:1")
    assert (await ask("GET", "/images/a/b/json:1/history")).status == 200
    assert (await ask("DELETE", "/images/a/b/json:1")).status == 200


@pytest.mark.usefixtures("family")
async def test_history_goes_from_the_image_to_its_first_ancestor_with_both_spellings(ask):
    rows = (await ask("GET", "/images/app:1/history")).json
    assert json.dumps(rows) == json.dumps(
        [
            {
                "Id": fake_id("app:1")[:12],
                "Tag": ["app:1", "app:2"],
                "Tags": ["app:1", "app:2"],
                "Created": 1364102658,
                "CreatedBy": "",
            },
            {"Id": fake_id("middle")[:12], "Created": 1364102658, "CreatedBy": "/bin/sh -c make"},
            {"Id": BASE[:12], "Tag": ["base:latest"], "Tags": ["base:latest"], "Created": 1364102658, "CreatedBy": ""},
        ]
    )


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/images/a/nosuch/json"),
        ("GET", "/images/a/nosuch/history"),
        ("POST", "/images/a/nosuch/tag?repo=x"),
        ("DELETE", "/images/a/nosuch"),
    ],
)
async def test_an_image_that_is_not_there_is_a_404(ask, method, target):
    answer = await ask(method, target)
    assert (answer.status, answer.text) == (404, "No such image: a/nosuch\n")


@pytest.mark.parametrize(
    ("query", "body", "call"),
    [
        ("repo=x/y", b"", ("tag", "base", "x/y", "latest", False)),
        ("repo=x&tag=1&force=1", b"", ("tag", "base", "x", "1", True)),
        ("force=0", b"repo=form&tag=2", ("tag", "base", "form", "2", False)),
    ],
)
async def test_tag_answers_201(ask, fake, query, body, call):
    answer = await ask("POST", f"/images/base/tag?{query}", body, "application/x-www-form-urlencoded")
    assert (answer.status, answer.body) == (201, b"")
    assert fake.recorder.calls == [call]


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("repo=x&force=maybe", 400, 'Bad parameter: force: expected 1, true, 0 or false, got "maybe"\n'),
        ("", 400, "Bad parameter: Illegal repository name: \n"),
        ("repo=base", 409, "Conflict, base:latest is another image's name\n"),
        ("repo=base&force=1", 201, ""),
    ],
)
async def test_tag_says_what_is_wrong(ask, fake, query, status, text):
    fake.images.add("other:1")
    answer = await ask("POST", f"/images/other:1/tag?{query}")
    assert (answer.status, answer.text) == (status, text)


async def test_delete_lists_what_is_gone(ask):
    answer = await ask("DELETE", "/v1.2/images/base?force=False&noprune=False")
    assert (answer.status, answer.json) == (200, [{"Untagged": BASE[:12]}, {"Deleted": BASE[:12]}])


CACHED = {"Cmd": ["/bin/sh", "-c", "make"]}


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize("parent", [BASE, BASE[:12], "base", "base:latest"])
async def test_the_build_of_2013_finds_what_it_made_before(ask, parent):
    answer = await ask("POST", "/v1.2/images/getCache", {"Id": parent, **CACHED})
    assert (answer.status, answer.json) == (200, {"Id": fake_id("middle")})


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"Id": BASE, "Cmd": ["other"]}, 404, ""),
        ({"Id": fake_id("lone"), **CACHED}, 404, ""),
        ({"Id": "nosuch", **CACHED}, 404, "No such image: nosuch\n"),
        (CACHED, 404, "No such image: \n"),
        ({"Id": BASE, "Cmd": "x"}, 400, 'Bad parameter: Cmd: expected a list of strings, got "x"\n'),
        (b"", 400, "Bad parameter: body: it is empty, expected a JSON object\n"),
    ],
)
async def test_what_was_not_made_before_is_not_found(ask, body, status, text):
    answer = await ask("POST", "/images/getCache", body)
    assert (answer.status, answer.text) == (status, text)


@pytest.mark.parametrize(
    ("error", "status"), [(Conflict("Conflict, base wasn't deleted"), 409), (TriokerError("disk"), 500)]
)
async def test_delete_says_why_not(ask, fake, error, status):
    fake.recorder.failures["remove_image"] = error
    answer = await ask("DELETE", "/images/base")
    assert (answer.status, answer.text) == (status, f"{error}\n")
