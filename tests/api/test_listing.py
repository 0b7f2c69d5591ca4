"""GET /containers/json (page, "List containers"; behaviour.md section 4)."""

import time

import attrs
import pytest

from trioker.api.v1_2.listing import Listing, select
from trioker.model.container import Config, Container, Phase, State
from trioker.model.errors import InvalidParameter, NotFound
from trioker.testing.fake_backend import fake_id

HOUR_NS = 3600 * 10**9
RUNNING, EXITED = State(Phase.RUNNING), State(Phase.EXITED, exit_code=2)


def container(digit, state):
    return Container(digit * 64, 0, Config(), "", state)


ROWS = [
    container("e", RUNNING),
    container("d", EXITED),
    container("c", RUNNING),
    container("b", State()),
    container("a", RUNNING),
]


def shown(rows=ROWS, **wanted):
    listing = Listing(**{"all": False, "limit": -1, "since": "", "before": "", **wanted})
    return "".join(row.id[0] for row in select(rows, listing))


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({}, "eca"),
        ({"all": True}, "edcba"),
        ({"limit": 2}, "ed"),
        ({"limit": 0}, ""),
        ({"limit": 9}, "edcba"),
        ({"all": True, "limit": 1}, "e"),
        ({"before": "c" * 12}, "ba"),
        ({"before": "c"}, "ba"),
        ({"before": "c" * 64}, "ba"),
        ({"before": "a"}, ""),
        ({"before": "f"}, ""),
        ({"since": "c" * 12}, "ed"),
        ({"since": "c"}, "ed"),
        ({"since": "e"}, ""),
        ({"since": "f"}, "edcba"),
        ({"since": "b", "before": "e"}, "dc"),
        ({"since": "e", "before": "b"}, ""),
        ({"since": "b", "before": "e", "limit": 1}, "d"),
        ({"limit": -1, "before": "d"}, "cba"),
    ],
)
def test_the_parameters_choose_the_rows(wanted, ids):
    assert shown(**wanted) == ids


@pytest.mark.parametrize("name", ["since", "before"])
def test_an_ambiguous_id_is_refused(name):
    with pytest.raises(InvalidParameter, match=rf'^{name}: 2 containers\' ids begin with "e"$'):
        shown([*ROWS, ROWS[0]], **{name: "e"})


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("all=maybe", 'all: expected 1, true, 0 or false, got "maybe"'),
        ("size=x", 'size: expected 1, true, 0 or false, got "x"'),
        ("limit=x", 'limit: expected a whole number, got "x"'),
        ("limit=-2", "limit: expected 0 or more, or -1 for all, got -2"),
        ("since=UPPER", 'since: expected a container\'s id, got "UPPER"'),
        ("before=" + "a" * 65, f"before: expected a container's id, got \"{'a' * 59}..."),
    ],
)
@pytest.mark.parametrize("path", ["json", "ps"])
async def test_a_parameter_that_cannot_be_read_is_refused(ask, path, query, text):
    answer = await ask("GET", f"/v1.2/containers/{path}?{query}")
    assert (answer.status, answer.text) == (400, f"Bad parameter: {text}\n")


async def test_an_empty_list_is_a_list(ask):
    answer = await ask("GET", "/containers/json?limit=-1&all=0&size=0&trunc_cmd=0&since=&before=&only_ids=1")
    assert (answer.status, answer.body) == (200, b"[]")


async def test_a_row_has_the_keys_of_the_page_in_its_order(ask, fake):
    fake.add_container("a", command=("echo", "1", "2"))
    (row,) = (await ask("GET", "/containers/json?all=1")).json
    assert list(row.items()) == [
        ("Id", fake_id("a")),
        ("Image", "base:latest"),
        ("Command", "echo 1 2"),
        ("Created", 1367854155),
        ("Status", "Exit 0"),
        ("Ports", ""),
        ("SizeRw", 0),
        ("SizeRootFs", 0),
    ]


async def test_a_command_without_arguments_ends_in_a_blank(ask, fake):
    fake.add_container("a", command=("true",))
    assert (await ask("GET", "/containers/json?all=1")).json[0]["Command"] == "true "


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (State(), "Exit 0"),
        (State(Phase.STARTING), "Exit 0"),
        (EXITED, "Exit 2"),
        (State(Phase.EXITED, exit_code=-127), "Exit -127"),
    ],
)
async def test_a_stopped_container_shows_its_code(ask, fake, state, status):
    fake.add_container("a", state)
    assert (await ask("GET", "/containers/json?all=1")).json[0]["Status"] == status


async def test_a_running_container_shows_since_when(ask, fake):
    fake.add_container("a", attrs.evolve(RUNNING, started_ns=time.time_ns() - 7 * HOUR_NS // 2))
    assert (await ask("GET", "/containers/json")).json[0]["Status"] == "Up 3 hours"


async def test_a_container_of_a_forgotten_image_shows_its_short_id(ask, fake):
    fake.add_container("a")
    fake.images.names.clear()
    assert (await ask("GET", "/containers/json?all=1")).json[0]["Image"] == fake_id("base:latest")[:12]


async def test_sizes_are_told_only_when_asked_for(ask, fake):
    fake.add_container("a")
    (row,) = (await ask("GET", "/containers/json?all=1&size=1")).json
    assert (row["SizeRw"], row["SizeRootFs"]) == (12288, 180116135)
    await ask("GET", "/containers/json?all=1&size=0")
    assert fake.recorder.calls == [("sizes", fake_id("a"))]


async def test_a_container_removed_meanwhile_has_no_size(ask, fake):
    fake.add_container("a")
    fake.recorder.failures["sizes"] = NotFound("No such container: a")
    (row,) = (await ask("GET", "/containers/json?all=1&size=1")).json
    assert (row["SizeRw"], row["SizeRootFs"]) == (0, 0)
