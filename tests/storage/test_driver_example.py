"""``tests/plugin_example`` shows strangers how to write a driver; what it must not use, they must not."""

import ast
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "plugin_example"
ALLOWED = ("trioker.storage.driver", "trioker.linux", "trioker_tmpfs_example")


def imported(source: str) -> set[str]:
    """The modules that it imports, whole or something of them."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found.add(node.module)
    return found


def test_it_sees_what_a_driver_may_see_and_nothing_else():
    found = set().union(*(imported(path.read_text()) for path in EXAMPLE.rglob("*.py")))
    assert {"trioker.storage.driver", "os"} <= found
    strange = {name for name in found if name.split(".")[0] not in sys.stdlib_module_names}
    assert not [name for name in strange if not f"{name}.".startswith(tuple(f"{each}." for each in ALLOWED))]
