"""``trioker.pyz drivers``: the storage drivers found, which work here, and which one keeps the layers."""

from contextlib import closing
from pathlib import Path

from trioker.cli.output import put
from trioker.cli.places import Places
from trioker.cli.tables import line, widths
from trioker.storage.discovery import available
from trioker.storage.listing import list_drivers
from trioker.storage.opening import recorded

_HEADER = ("NAME", "PACKAGE", "VERSION", "WORKS", "IN USE", "WHY NOT")
_LOST = ("-", "-", "no", "yes", "no package offers it (--driver-dir names a folder to look in)")


def show(places: Places) -> int:
    """Print a table, each line as soon as it is known; the exit status is 1 when no driver works."""
    infos = available(places.driver_dirs)
    used = _used(places.root) or None  # a stranger's name may be empty, too
    lost = [(used, *_LOST)] if used and used not in {each.name for each in infos} else []
    columns = widths([_HEADER, *((each.name, each.distribution, each.version, "", "", "") for each in infos), *lost])
    put(line(_HEADER, columns))
    works = 0
    with closing(list_drivers(places.root, infos, places.driver_dirs)) as rows:
        for each in rows:
            works += each.works
            answers = ("yes" if each.works else "no", "yes" if each.name == used else "no", each.why)
            put(line((each.name, each.package, each.version, *answers), columns))
    put("".join(line(row, columns) for row in lost))
    return 0 if works else 1


def _used(root: Path) -> str:
    try:
        return recorded(root / "storage")
    except OSError:  # for root's eyes only
        return ""
