"""Finding storage drivers: entry points of the group ``trioker.storage``, ours through the same door as a stranger's.

Nothing is imported before it is chosen, so a broken driver that nobody asked for harms nobody. Every failure of a chosen one is a
DriverError of one line.
"""

import importlib
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

import attrs

from trioker import __version__
from trioker.linux.trees import remove_tree
from trioker.model.errors import TriokerError
from trioker.storage.driver import Driver, OpenDriver, Unsupported

GROUP = "trioker.storage"

BUILTIN = {"overlay": "trioker_overlay:open_driver", "vfs": "trioker_vfs:open_driver"}
"""What our own metadata says, for a source checkout that has none."""

ALIASES = {"overlay2": "overlay"}
"""Names users know from elsewhere."""

PREFERRED = ("overlay", "vfs")
"""Tried in this order where nobody chose."""


class DriverError(TriokerError):
    """A storage driver cannot be found, loaded or opened; the text is one line and names it."""


@attrs.frozen
class DriverInfo:
    """One driver that is offered, not loaded yet."""

    name: str
    distribution: str
    """The package it comes in."""
    version: str
    value: str
    """``module:attribute``."""


@attrs.frozen
class DriverRow:
    """A line of ``trioker drivers``."""

    name: str
    package: str
    version: str
    works: bool
    why: str
    """Why it does not work; empty if it does."""


def available(driver_dirs: Sequence[Path] = ()) -> Sequence[DriverInfo]:
    """Every driver on offer, by name; ``driver_dirs`` are searched after the interpreter's own path."""
    found = list(_offered([*sys.path, *map(str, driver_dirs)]))
    if not any(info.distribution == "trioker" for info in found):
        found += [DriverInfo(name, "trioker", __version__, value) for name, value in BUILTIN.items()]
    return sorted(found, key=lambda info: (info.name, info.distribution))


def find(name: str, infos: Sequence[DriverInfo]) -> DriverInfo:
    """The driver called ``name`` or whose alias it is. Raises DriverError where there is none, or more than one."""
    wanted = ALIASES.get(name, name)
    matches = [info for info in infos if info.name == wanted]
    if not matches:
        known = ", ".join(dict.fromkeys(info.name for info in infos))
        raise DriverError(f"no storage driver {name!r}; there are: {known}")
    if len(matches) > 1:
        packages = " and ".join(info.distribution for info in matches)
        raise DriverError(f"storage driver {name!r} is offered more than once, by {packages}: remove one")
    return matches[0]


def load(info: DriverInfo, driver_dirs: Sequence[Path] = ()) -> OpenDriver:
    """Import the driver's entry point. ``driver_dirs`` join the end of the import path, where they shadow nothing."""
    sys.path += [str(path) for path in driver_dirs if str(path) not in sys.path]
    module, _, attribute = info.value.partition(":")
    try:
        opener: OpenDriver = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise DriverError(
            f"storage driver {info.name!r} of {info.distribution} cannot be loaded: {_line(error)}"
        ) from error
    return opener


def open_driver(info: DriverInfo, root: Path, options: Mapping[str, str], driver_dirs: Sequence[Path] = ()) -> Driver:
    """Load and open the driver on ``root``, a directory of its own. Raises DriverError."""
    opener = load(info, driver_dirs)
    try:
        return opener(root, options)
    except Unsupported as error:
        raise DriverError(f"storage driver {info.name!r} cannot work here: {_first(error)}") from error
    except ValueError as error:
        raise DriverError(f"storage driver {info.name!r} refuses its options: {_first(error)}") from error
    except (Exception, SystemExit) as error:
        raise DriverError(f"storage driver {info.name!r} cannot be opened: {_line(error)}") from error


def probe(info: DriverInfo, root: Path, driver_dirs: Sequence[Path] = ()) -> str | None:
    """Why the driver does not work in ``root`` (or where that will be made); None if it does: it is really opened, on a trial directory."""
    place = next(path for path in (root, *root.absolute().parents) if path.is_dir())
    try:
        trial = tempfile.mkdtemp(prefix=".trioker-probe-", dir=place)
    except OSError as error:
        return f"cannot write in {place}: {error.strerror}"
    try:
        open_driver(info, Path(trial), {}, driver_dirs).close()
    except DriverError as error:
        return str(error)
    finally:
        remove_tree(trial)
    return None


def list_drivers(root: Path, driver_dirs: Sequence[Path] = ()) -> Sequence[DriverRow]:
    """What ``trioker drivers`` shows: every driver, and whether it works in ``root``."""
    infos = available(driver_dirs)
    return [_row(info, infos, root, driver_dirs) for info in infos]


def default(root: Path, infos: Sequence[DriverInfo], driver_dirs: Sequence[Path] = ()) -> DriverInfo:
    """The first of PREFERRED that works in ``root``. Raises DriverError naming why none does."""
    refusals = []
    for name in PREFERRED:
        info = find(name, infos)
        why = probe(info, root, driver_dirs)
        if why is None:
            return info
        refusals.append(why)
    raise DriverError("; ".join(refusals))


def _offered(path: list[str]) -> Iterator[DriverInfo]:
    seen = set()
    for distribution in metadata.distributions(path=path):
        name = distribution.metadata["Name"]
        if not name or name in seen:  # the first one on the path is the one that is imported
            continue
        seen.add(name)
        for entry in distribution.entry_points.select(group=GROUP):
            yield DriverInfo(entry.name, name, distribution.version, entry.value)


def _row(info: DriverInfo, infos: Sequence[DriverInfo], root: Path, driver_dirs: Sequence[Path]) -> DriverRow:
    try:
        why = probe(find(info.name, infos), root, driver_dirs) or ""
    except DriverError as error:
        why = str(error)
    return DriverRow(info.name, info.distribution, info.version, not why, why)


def _first(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {_first(error)}"
