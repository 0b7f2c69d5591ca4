import re
import shutil
import subprocess
from xml.etree import ElementTree as ET

import pytest

from benchmarks import trees
from benchmarks.drivers import NAMES, engines_with
from benchmarks.plot import plot
from benchmarks.report import grouped
from benchmarks.results import Result

needs_busybox = pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox")

GROUPS = [
    [Result("a x", "1", {"create": [10.0]}), Result("b x", "1", {"create": [50.0]})],
    [Result("a y", "1", {"create": [1.0]}), Result("b y", "1", {"create": [30.0], "deep": [7.0]})],
]


def test_each_engine_is_compared_with_the_first_of_its_group():
    head, _, create, deep = grouped(GROUPS, trees.METRICS).splitlines()
    assert head == "|  | a x 1 | b x 1 | a y 1 | b y 1 |"
    assert create.endswith("| 10 | 50 (5x) | 1 | 30 (30x) |")
    assert deep.endswith("| - | - | - | 7 |")


def test_an_engine_has_one_colour_in_all_groups():
    drawn = ET.fromstring(plot([each for group in GROUPS for each in group], trees.METRICS[:1], ("red", "blue")))
    bars = drawn.findall("{http://www.w3.org/2000/svg}rect")[1:]
    assert [bar.get("fill") for bar in bars] == ["red", "blue", "red", "blue"]


@pytest.mark.parametrize("driver", NAMES)
def test_trioker_is_first_and_told_its_driver(driver, tmp_path):
    first, *_ = engines_with(driver, tmp_path)
    assert first.command[-2:] == ["-s", driver]
    assert first.filesystem == ("btrfs" if driver == "btrfs" else "ext4")


def test_every_figure_that_is_measured_has_a_row():
    measured = {"create", "run", "remove", "read_big", "read_many", "copy_up", "writes", "changes", "deep", "import"}
    assert {metric.samples for metric in trees.METRICS} == measured | {"remove_changed"}


@pytest.fixture
def unpacked(tmp_path):
    """A small image of the kind that is measured."""
    subprocess.run(["tar", "-xC", tmp_path], input=trees.wide_tar(big=10, files=300), check=True, timeout=30)
    return tmp_path


@needs_busybox
def test_each_tenth_file_of_the_image_is_changed(unpacked):
    script = trees.CHANGE.replace(" /tree/", f" {unpacked}/tree/")
    before = {path: path.read_bytes() for path in (unpacked / "tree").glob("*/*")}
    subprocess.run(["busybox", "sh", "-c", script], check=True, timeout=30)
    changed = [path.relative_to(unpacked) for path, content in before.items() if path.read_bytes() != content]
    assert len(before) == 300
    assert len(changed) == 30
    assert all(re.fullmatch(trees.CHANGED_PATH, f"/{path}") for path in changed)
    assert trees.FILES // 10 == trees.CHANGED


@needs_busybox
def test_the_steps_in_a_container_tell_a_time_for_each(unpacked):
    script = re.sub(r"(?<![\w$])/(?=big|tree|made)", f"{unpacked}/", trees.files_script())
    told = subprocess.run(["busybox", "sh", "-c", script], check=True, timeout=30, stdout=subprocess.PIPE).stdout
    samples = trees.file_samples(told)
    assert {name: len(values) for name, values in samples.items()} == {
        "read_big": trees.TIMES,
        "read_many": trees.TIMES,
        "copy_up": 1,
        "writes": trees.TIMES,
    }
    assert len(list(unpacked.glob("made*/*"))) == 1000 * trees.TIMES


def test_a_container_that_did_not_do_all_is_an_error():
    with pytest.raises(trees.WrongResult, match="read_big 1 2"):
        trees.file_samples(b"read_big 1 2\n")
