import json
from pathlib import Path

import pytest

from trioker.launcher.userns import Range, Remap, outside
from trioker.model.errors import InvalidParameter
from trioker.runtime.remap import read_remap
from trioker.runtime.zygote import launcher_command

ROOT = Path("/srv/trioker")


@pytest.fixture
def read(tmp_path):
    """What the option means beside these two files; None is a file that is not there."""

    def read(wanted, subuid, subgid="*:1:0\n"):
        for name, text in (("subuid", subuid), ("subgid", subgid)):
            if text is not None:
                (tmp_path / name).write_text(text)
        return read_remap(wanted, ROOT, tmp_path)

    return read


def test_default_is_the_name_trioker(read):
    found = read("default", "other:1:9\ntrioker:100000:65536\n", "trioker:200000:65536\n")
    assert found == Remap([Range(0, 100000, 65536)], [Range(0, 200000, 65536)], "/srv/trioker")


def test_all_ranges_of_a_name_count_in_the_order_of_the_file(read):
    lines = "me:300000:10\nother:5:5\nme:100000:20\n"
    found = read("me", lines, lines)
    assert found.uids == found.gids == [Range(0, 300000, 10), Range(10, 100000, 20)]


def test_groups_are_the_groups_own_where_one_is_given(read):
    found = read("me:us", "me:300000:10\n", "me:1:1\nus:400000:10\n")
    assert found.gids == [Range(0, 400000, 10)]


def test_the_files_may_know_a_user_by_number_and_the_option_too(read):
    assert read("daemon", "1:300000:10\n", "1:400000:10\n").uids == [Range(0, 300000, 10)]
    assert read("1:1", "daemon:300000:10\n", "daemon:400000:10\n").gids == [Range(0, 400000, 10)]
    assert read("4000000001", "4000000001:300000:10\n", "4000000001:400000:10\n").uids == [Range(0, 300000, 10)]


@pytest.mark.parametrize(
    "line", ["me:x:10", "me:1", "me:1:2:3", "me:-1:10", "me:99999999999:1", "me:300000:0", "", "#me:1:1"]
)
def test_a_line_that_is_none_counts_for_nothing(read, line):
    lines = f"{line}\nme:300000:10\n"
    assert read("me", lines, lines).uids == [Range(0, 300000, 10)]


@pytest.mark.parametrize("text", [None, "", "other:100000:65536\n"])
def test_a_name_without_ids_is_told_with_a_line_that_would_do(read, text):
    free = 165536 if text else 100000
    with pytest.raises(InvalidParameter, match=f'subuid has no range for "me": add a line such as me:{free}:65536'):
        read("me", text)
    with pytest.raises(InvalidParameter, match='subgid has no range for "trioker"'):
        read("default", "trioker:100000:65536\n", text)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("me:0:65536\n", "the host's own root"),
        ("me:100000:10\nme:100009:10\n", "overlap"),
        ("me:4294967000:1000\n", "go beyond 4294967294"),
    ],
)
def test_ranges_that_cannot_be_are_refused(read, lines, why):
    with pytest.raises(InvalidParameter, match=why):
        read("me", lines, lines)


def test_more_ranges_than_a_namespace_takes_are_left_out(read):
    lines = "".join(f"me:{100000 + 10 * each}:10\n" for each in range(400))
    assert len(read("me", lines, lines).uids) == 340


def test_an_id_has_one_outside_or_none():
    ranges = [Range(0, 300000, 10), Range(10, 100000, 20)]
    assert [outside(ranges, each) for each in (0, 9, 10, 29, 30, -1)] == [300000, 300009, 100000, 100019, None, None]


def test_it_survives_the_way_to_the_launcher():
    remap = Remap([Range(0, 300000, 10)], [Range(0, 400000, 10)], "/srv")
    command = launcher_command(7, remap=remap)
    assert Remap.from_json(json.loads(command[command.index("--remap") + 1])) == remap
    assert "--remap" not in launcher_command(7)
