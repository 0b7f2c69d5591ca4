"""What a daemon tells of its disk, added up."""

import pytest

from trioker.cli.stock import Stock, details, summary
from trioker.cli.tables import table

EMPTY = {
    "Images": [],
    "Containers": [],
    "Volumes": [],
    "BuildCache": [],
    "Layers": [],
    "Blobs": {"Size": 0, "Limit": 10 * 2**30},
}


def layer(key, parent, size, images=(), container=""):
    return {"Id": key * 64, "Parent": parent * 64, "Size": size, "Images": list(images), "Container": container}


def image(name, size, shared, containers, *, tags=(), digests=()):
    return {
        "Id": name,
        "Size": size,
        "SharedSize": shared,
        "Containers": containers,
        "RepoTags": list(tags),
        "RepoDigests": list(digests),
    }


@pytest.fixture
def told():
    """base <- app with a container; base <- cache; lone with a layer of its own."""
    return {
        "Images": [
            image("base", 1000, 1000, 0, tags=["base:latest", "base:2"]),
            image("app", 1200, 1000, 1, digests=["app@sha256:0"]),
            image("lone", 50, 0, 0),
        ],
        "Containers": [
            {
                "Id": "1" * 64,
                "Image": "app",
                "Command": "sh -c \x1b[2Jx",
                "State": "running",
                "Status": "Up",
                "SizeRw": 40,
            },
            {"Id": "2" * 64, "Image": "app", "Command": "x" * 99, "State": "exited", "Status": "Exit 0", "SizeRw": 10},
        ],
        "Volumes": [
            {"Name": "v", "UsageData": {"Size": 5, "RefCount": 1}},
            {"Name": "w", "UsageData": {"Size": 15, "RefCount": 0}},
        ],
        "BuildCache": [{"ID": "cache", "Parent": "base", "Size": 300, "Description": "/bin/sh -c make"}],
        "Layers": [
            layer("a", "", 1000, ["base"]),
            layer("b", "a", 200, ["app"]),
            layer("c", "a", 300, ["cache"]),
            layer("d", "", 50, ["lone"]),
            layer("e", "b", 40, container="1" * 64),
        ],
        "Blobs": {"Size": 700, "Limit": 9000},
    }


def test_each_layer_counts_once_and_only_what_nothing_needs_is_reclaimable(told):
    assert [line.split("  ") for line in squeezed(summary(Stock(told)))] == [
        ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"],
        ["Images", "3", "1", "1.25 kB", "50 B (4%)"],
        ["Containers", "2", "1", "50 B", "10 B (20%)"],
        ["Volumes", "2", "1", "20 B", "15 B (75%)"],
        ["Build cache", "1", "0", "300 B", "300 B (100%)"],
        ["Kept downloads", "-", "-", "700 B", "700 B (100%)"],
    ]


def squeezed(text):
    """Lines with two blanks between columns."""
    return ["  ".join(part.strip() for part in line.split("   ") if part.strip()) for line in text.splitlines()]


def test_an_empty_store_is_all_zeros():
    assert [line.split("  ")[1:] for line in squeezed(summary(Stock(EMPTY)))[1:-1]] == [["0", "0", "0 B", "0 B"]] * 4
    assert details(Stock(EMPTY)) == "\nKept downloads: 0 B, at most 10.74 GB\n"


def test_the_details_list_each_thing(told):
    lines = squeezed(details(Stock(told)))
    for wanted in (
        "<none>  lone  50 B  0 B  50 B  0",
        "app@sha256:0  app  1.2 kB  1 kB  200 B  1",
        "base:2  base  1 kB  1 kB  0 B  0",
        "base:latest  base  1 kB  1 kB  0 B  0",
        "aaaaaaaaaaaa  1 kB  2",
        "bbbbbbbbbbbb  aaaaaaaaaaaa  200 B  1",
        "cccccccccccc  aaaaaaaaaaaa  300 B  0",
        "222222222222  app  " + "x" * 37 + "...  10 B  Exit 0",
        "w  0  15 B",
        "cache  base  300 B  /bin/sh -c make",
        "Kept downloads: 700 B, at most 9 kB",
    ):
        assert wanted in lines


def test_a_containers_command_cannot_command_the_terminal(told):
    shown = details(Stock(told))
    assert "\x1b" not in shown
    assert "sh -c ?[2Jx" in shown


def test_layers_that_form_a_ring_are_counted_once(told):
    told["Layers"][0]["Parent"] = "b" * 64
    assert Stock(told).below(["app"]) == {"a" * 64, "b" * 64}


def test_a_tables_columns_are_as_wide_as_their_widest_cell():
    assert (
        table([("A", "B", "C"), ("long", "x", ""), ("y", "zz", "end")]) == "A      B    C\nlong   x\ny      zz   end\n"
    )
