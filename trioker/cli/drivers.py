"""``trioker.pyz drivers``: the storage drivers found, which work here, and which one keeps the layers."""

import sys
from pathlib import Path

from trioker.cli.places import Places
from trioker.cli.tables import table
from trioker.storage.discovery import list_drivers
from trioker.storage.opening import recorded

_HEADER = ("NAME", "PACKAGE", "VERSION", "WORKS", "IN USE", "WHY NOT")


def show(places: Places) -> int:
    """Print a table; the exit status is 1 when none works."""
    found = list_drivers(places.root, places.driver_dirs)
    used = _used(places.root) or None  # a stranger's name may be empty, too
    rows = [
        (each.name, each.package, each.version, "yes" if each.works else "no", "yes" if each.name == used else "no", each.why)
        for each in found
    ]  # fmt: skip
    if used and used not in {each.name for each in found}:
        rows.append((used, "-", "-", "no", "yes", "no package offers it (--driver-dir names a folder to look in)"))
    sys.stdout.write(table([_HEADER, *rows]))
    return 0 if any(each.works for each in found) else 1


def _used(root: Path) -> str:
    try:
        return recorded(root / "storage")
    except OSError:  # for root's eyes only
        return ""
