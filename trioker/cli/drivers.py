"""``trioker.pyz drivers``: the storage drivers found, and which work here."""

import sys

from trioker.cli.places import Places
from trioker.cli.tables import table
from trioker.storage.discovery import list_drivers

_HEADER = ("NAME", "PACKAGE", "VERSION", "WORKS", "WHY NOT")


def show(places: Places) -> int:
    """Print a table; the exit status is 1 when none works."""
    found = list_drivers(places.root, places.driver_dirs)
    rows = [(each.name, each.package, each.version, "yes" if each.works else "no", each.why) for each in found]
    sys.stdout.write(table([_HEADER, *rows]))
    return 0 if any(each.works for each in found) else 1
