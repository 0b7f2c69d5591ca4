"""The rules this repository gives itself, where a tool can check them."""

import ast
import functools
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from trioker import __version__

PROJECT = Path(__file__).parent.parent.parent
LONGEST_FILE = 500
LONGEST_FUNCTION = 60
LOCKS = ("zipapp/requirements.txt", "tests/requirements.txt")


def sources():
    return [
        path
        for room in ("trioker", "drivers", "zipapp", "benchmarks", "tests")
        for path in sorted((PROJECT / room).rglob("*.py"))
    ]


@functools.cache
def parsed(path):
    return ast.parse(path.read_bytes())


def below(node):
    """What is in it, but for expressions: in them is no function with a name, and they are nine in ten nodes."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.expr):
            yield child
            yield from below(child)


def pins(lock):
    return dict(re.findall(r"^([a-z0-9_-]+)==(\S+)", (PROJECT / lock).read_text(), re.MULTILINE))


def test_the_rooms_import_only_what_they_may():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": ".:drivers"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_is_longer_than_one_can_keep_in_mind():
    assert not {
        str(path): length for path in sources() if (length := len(path.read_text().splitlines())) > LONGEST_FILE
    }


def test_no_function_is_longer_than_a_page():
    functions = [
        (path, node)
        for path in sources()
        for node in below(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert not {
        f"{path}:{node.lineno}": node.name
        for path, node in functions
        if node.end_lineno - node.lineno >= LONGEST_FUNCTION
    }


@pytest.mark.parametrize("room", ["benchmarks", "tests/conformance", "zipapp"])
def test_black_boxes_import_nothing_of_the_program(room):
    imported = [
        f"{path}: {name}"
        for path in sorted((PROJECT / room).rglob("*.py"))
        for node in below(parsed(path))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        if name.split(".")[0].startswith("trioker")
    ]
    assert not imported


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash(lock):
    blocks = re.split(r"^(?=[a-z0-9])", (PROJECT / lock).read_text(), flags=re.MULTILINE)[1:]
    assert blocks
    assert all("--hash=sha256:" in block for block in blocks)


def test_tests_run_with_the_versions_that_are_shipped():
    shipped, tested = map(pins, LOCKS)
    assert shipped == {name: tested.get(name) for name in shipped}


def test_what_is_shipped_is_what_the_metadata_requires():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    required = sorted((PROJECT / "zipapp" / "requirements.in").read_text().split())
    assert sorted(project["dependencies"]) == required


def test_the_version_has_three_numbers():
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def test_the_rooms_that_make_unit_leaves_out_hold_only_tests_that_need_root():
    (rooms,) = re.findall(r"^ROOT_ROOMS := (.*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    files = [path for room in rooms.split() for path in (PROJECT / room).rglob("test_*.py")]
    marks = re.compile(r"^(pytestmark = (\[[^]]*)?pytest\.mark\.root|from \w+ import .*\bpytestmark$)", re.MULTILINE)
    assert files
    assert not [str(path) for path in files if not marks.search(path.read_text())]


def test_the_builtin_drivers_are_those_of_the_metadata():
    from trioker.storage.discovery import BUILTIN, GROUP

    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"][GROUP] == BUILTIN
