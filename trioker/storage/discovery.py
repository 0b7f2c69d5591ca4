"""Finding storage drivers: entry points of the group ``trioker.storage``, ours through the same door as a stranger's.

Nothing is imported before it is chosen, so a broken driver that nobody asked for harms nobody. Every failure of a chosen one is a
DriverError of one line, also where it never answers.
"""

import errno
import importlib
import inspect
import logging
import operator
import os
import re
import stat
import sys
import tempfile
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path

import attrs

from trioker import __version__
from trioker.linux.trees import remove_tree
from trioker.storage.deadlines import within
from trioker.storage.driver import Driver, OpenDriver, Unsupported
from trioker.storage.guard import DriverError, guard, misshapen, one_line, printable
from trioker.storage.surroundings import fill_standard_streams
from trioker.storage.trust import distrust

__all__ = [
    "ALIASES",
    "DriverError",
    "DriverInfo",
    "attempt",
    "available",
    "default",
    "find",
    "load",
    "open_driver",
    "probe",
    "trial_directory",
    "undisputed",
]

log = logging.getLogger(__name__)

GROUP = "trioker.storage"

BUILTIN = {
    "btrfs": "trioker_btrfs:open_driver",
    "overlay": "trioker_overlay:open_driver",
    "vfs": "trioker_vfs:open_driver",
}
"""What our own metadata says, for a source checkout that has none."""

ALIASES = {"overlay2": "overlay"}
"""Names users know from elsewhere."""

PREFERRED = ("overlay", "btrfs", "vfs")
"""Tried in this order where nobody chose. On btrfs, too, overlay is first: a snapshot waits for the disk (7 ms where overlay takes 0.2)."""


OURS = "trioker"
"""The distribution our own drivers come in."""

IMPORT_WITHIN = 30.0
"""Seconds for importing a driver: what a cold disk needs, many times over."""

OPEN_WITHIN = 120.0
"""Seconds for opening it, which may finish removals that were interrupted; what is left of those is less with each try."""

PROBE_WITHIN = 20.0
"""Seconds for opening it on an empty directory, where someone waits for the answer."""

PROBE = ".trioker-probe-"
"""How the directories begin in which drivers are tried; one that is left is of a process that was killed."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_TAKEN = ("driver", "lock", "migration", "view")
"""Names that lie beside the drivers' directories (``opening.py``)."""


@attrs.frozen
class DriverInfo:
    """One driver that is offered, not loaded yet."""

    name: str
    distribution: str
    """The package it comes in."""
    version: str
    value: str
    """``module:attribute``."""
    fault: str = ""
    """Why it cannot be chosen, as far as that can be told without importing it."""

    @property
    def is_ours(self) -> bool:
        """Whether it came with trioker."""
        return self.distribution == OURS


def available(driver_dirs: Sequence[Path] = ()) -> Sequence[DriverInfo]:
    """Every driver on offer, by name; ``driver_dirs`` are searched after the interpreter's own path, where they shadow nothing.

    What cannot be read, or not be trusted, is warned of in the log.
    """
    found = list(_offered(sys.path))
    if not any(info.is_ours for info in found):
        found += [DriverInfo(name, OURS, __version__, value) for name, value in BUILTIN.items()]
    known = {OURS, *(info.distribution for info in found)}
    for folder in {os.path.realpath(each): each for each in driver_dirs}.values():  # told twice, it is one all the same
        fault = distrust(folder)
        if fault:
            log.warning("no storage driver of --driver-dir %s will run: %s", folder, fault)
        found += [attrs.evolve(each, fault=fault or each.fault) for each in _offered([str(folder)], known)]
    return sorted(found, key=lambda info: (info.name, info.distribution))


def undisputed(infos: Sequence[DriverInfo]) -> Sequence[DriverInfo]:
    """For those who chose nothing: without strangers that call themselves as one of ours."""
    own = {info.name for info in infos if info.is_ours}
    return [info for info in infos if info.is_ours or info.name not in own]


def find(name: str, infos: Sequence[DriverInfo]) -> DriverInfo:
    """The driver called ``name`` or whose alias it is. Raises DriverError where there is none, more than one, or one that cannot be."""
    wanted = ALIASES.get(name, name)
    matches = [info for info in infos if info.name == wanted]
    sound = [info for info in matches if not info.fault]
    if not matches:
        known = ", ".join(dict.fromkeys(info.name for info in infos if not info.fault))
        raise DriverError(f"no storage driver {name!r}; there are: {known}")
    if len(sound) > 1:
        packages = " and ".join(info.distribution for info in sound)
        raise DriverError(f"storage driver {name!r} is offered more than once, by {packages}: remove one")
    if not sound:
        raise DriverError(f"storage driver {name!r} of {matches[0].distribution} cannot be used: {matches[0].fault}")
    return sound[0]


def load(info: DriverInfo, driver_dirs: Sequence[Path] = ()) -> OpenDriver:
    """Import the driver's entry point. Trusted ``driver_dirs`` join the end of the import path. Raises DriverError."""
    sys.path += [str(path) for path in driver_dirs if str(path) not in sys.path and not distrust(path)]
    module, _, attribute = info.value.partition(":")

    def work() -> OpenDriver:
        opener: OpenDriver = operator.attrgetter(attribute.strip())(importlib.import_module(module.strip()))
        if not callable(opener):
            raise TypeError(f"{info.value} is {type(opener).__name__}, and nothing to call")
        if inspect.iscoroutinefunction(opener):
            raise TypeError(f"{info.value} is async, and drivers are called in threads")
        return opener

    try:
        return within(IMPORT_WITHIN, work)
    except BaseException as error:  # a stranger's module may raise anything, SystemExit too
        raise DriverError(
            f"storage driver {info.name!r} of {info.distribution} cannot be loaded: {_line(error)}"
        ) from error


def open_driver(
    info: DriverInfo,
    root: Path,
    options: Mapping[str, str],
    driver_dirs: Sequence[Path] = (),
    patience: float = OPEN_WITHIN,
) -> Driver:
    """Load and open the driver on ``root``, a directory of its own; it has ``patience`` seconds for that. Raises DriverError.

    What is answered stands behind its guard.
    """
    opener = load(info, driver_dirs)

    def work() -> tuple[Driver, str]:
        driver = opener(root, options)
        return driver, misshapen(driver)

    try:
        driver, why = within(patience, work)
    except Unsupported as error:
        raise DriverError(f"storage driver {info.name!r} cannot work here: {one_line(error)}") from error
    except ValueError as error:
        raise DriverError(f"storage driver {info.name!r} refuses its options: {one_line(error)}") from error
    except BaseException as error:
        raise DriverError(f"storage driver {info.name!r} cannot be opened: {_line(error)}") from error
    fill_standard_streams()
    if why:
        raise DriverError(f"storage driver {info.name!r} of {info.distribution} is no driver: {why}")
    return guard(info.name, driver, root, ours=info.is_ours)


def probe(info: DriverInfo, root: Path, driver_dirs: Sequence[Path] = ()) -> str | None:
    """Why the driver does not work in ``root`` (or where that will be made); None if it does: it is really opened, on a trial directory."""
    try:
        with trial_directory(root) as trial:
            return attempt(info, trial, driver_dirs) or None
    except DriverError as error:
        return str(error)


def default(root: Path, infos: Sequence[DriverInfo], driver_dirs: Sequence[Path] = ()) -> DriverInfo:
    """The first of PREFERRED that works in ``root``. Raises DriverError naming why none does."""
    refusals = []
    for name in PREFERRED:
        info = find(name, undisputed(infos))
        why = probe(info, root, driver_dirs)
        if why is None:
            return info
        refusals.append(why)
    raise DriverError("; ".join(refusals))


def _offered(path: list[str], known: Container[str] = ()) -> Iterator[DriverInfo]:
    """What the packages on ``path`` offer, but for those ``known``: the first on the path is the one that is imported."""
    seen: set[str] = set()
    for distribution in metadata.distributions(path=path):
        try:
            name = distribution.metadata["Name"]
            entries = distribution.entry_points.select(group=GROUP)
            if not name or name in seen or name in known:
                continue
            seen.add(name)
            for entry in entries:
                package, version = printable(name), printable(distribution.version or "?")
                yield DriverInfo(entry.name, package, version, entry.value, _misnamed(entry.name))
        except Exception as error:  # noqa: BLE001  somebody else's file, read by somebody else's code
            log.warning("a package's metadata on %s cannot be read: %s", ":".join(path), one_line(error))


def _misnamed(name: str) -> str:
    """Why a driver cannot be called so: its name is that of a directory beside others."""
    if name in ALIASES:
        return f"{name} is another word for {ALIASES[name]}"
    if name in _TAKEN or not _NAME.fullmatch(name):
        return f"{name!r} is no name for a driver: letters, digits, _ and -, and none of {', '.join(_TAKEN)}"
    return ""


@contextmanager
def trial_directory(root: Path) -> Iterator[Path]:
    """An empty directory on ``root``'s filesystem, in which ``root`` was made in miniature. Raises DriverError where it cannot be made."""
    wanted = root.absolute()
    try:
        place = next(path for path in (wanted, *wanted.parents) if _is_there(path))
        top = tempfile.mkdtemp(prefix=PROBE, dir=place)
    except OSError as error:
        raise _no_place(root, error) from error
    try:
        trial = Path(top, wanted.relative_to(place))
        try:
            trial.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _no_place(root, error) from error
        yield trial
    finally:
        with suppress(OSError):  # a driver may have left something mounted
            remove_tree(top)


def _is_there(path: Path) -> bool:
    """Whether it is a directory; False where one can be made, perhaps. Raises OSError where something else is in its place."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise FileExistsError(errno.EEXIST, "a symbolic link to nothing", str(path)) from None
        return False
    if not stat.S_ISDIR(mode):
        raise NotADirectoryError(errno.ENOTDIR, "not a directory", str(path))
    return True


def _no_place(root: Path, error: OSError) -> DriverError:
    place, _, _ = str(error.filename).partition(f"/{PROBE}")
    return DriverError(f"nothing can be kept in {root}: {place}: {error.strerror}")


def attempt(info: DriverInfo, trial: Path, driver_dirs: Sequence[Path]) -> str:
    """Why the driver cannot be opened in ``trial``; "" if it can."""
    try:
        open_driver(info, trial, {}, driver_dirs, PROBE_WITHIN).close()
    except DriverError as error:
        return str(error)
    return ""


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {one_line(error)}"
