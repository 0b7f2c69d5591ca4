"""Between the store and a driver, which a stranger wrote: what it answers is looked at, and its failures are told with its name.

Without it a driver that raises SystemExit in a thread would end the daemon, and one that returns nonsense would fail far from its fault.
"""

import errno
import inspect
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from trioker.model.errors import TriokerError
from trioker.storage.driver import Change, Driver, Kind, Lists, Mount, UnpackTarget, Unsupported, Usage, Whiteouts

log = logging.getLogger(__name__)

MOST_CHANGES = 4_000_000
"""Of one layer: a gigabyte of memory, and some ten times what the largest images hold. Whoever says more does not end."""

_KEY = re.compile(r"[0-9a-f]{64}")
_METHODS = [name for name in vars(Driver) if not name.startswith("_")]
_LONGEST = 300
"""Characters of a failure that somebody else wrote."""
_TOLD_AS_THEY_ARE = (errno.ENOENT, errno.ENOSPC, errno.EDQUOT)
"""Errors of the disk that others know what to do about."""


class DriverError(TriokerError):
    """A storage driver cannot be found, loaded or opened, or broke its contract; the text is one line and names it."""


def one_line(error: BaseException) -> str:
    """What it says on its first line, or what it is."""
    try:
        text = str(error).strip()
    except Exception:  # noqa: BLE001  even that is code of a stranger
        text = ""
    return printable((text or type(error).__name__).splitlines()[0])


def printable(text: str) -> str:
    """What a stranger wrote, for a terminal: no control characters, and not at any length."""
    return "".join(each if each.isprintable() else "?" for each in text[:_LONGEST])


def misshapen(driver: object) -> str:
    """Why this is no driver: a method that is not there, or cannot be called as the Protocol says; "" if it is one."""
    for name in _METHODS:
        method = getattr(driver, name, None)
        if not callable(method):
            return f"{type(driver).__name__} has no method {name}()"
        if inspect.iscoroutinefunction(method):
            return f"{name}() is async, and drivers are called in threads"
        try:
            _call_for_trial(name, inspect.signature(method))
        except TypeError as error:
            return f"{name}() cannot be called as it must be: {one_line(error)}"
    return ""


def _call_for_trial(name: str, signature: inspect.Signature) -> None:
    wanted = list(inspect.signature(getattr(Driver, name)).parameters.values())[1:]  # but self
    positional = [each.name for each in wanted if each.kind is not each.KEYWORD_ONLY]
    signature.bind(*positional, **{each.name: None for each in wanted if each.kind is each.KEYWORD_ONLY})


def guard(name: str, driver: Driver) -> Driver:
    """The same driver, not trusted. It lists what it has (``Lists``) if the driver does."""
    return _ListingGuard(name, driver) if isinstance(driver, Lists) else _Guard(name, driver)


class _Guard:
    """Raises what the Protocol has, and DriverError instead of everything else."""

    def __init__(self, name: str, driver: Driver) -> None:
        self._name, self._driver = name, driver

    def create(self, key: str, parent: str | None) -> None:
        with self._blamed("create"):
            self._driver.create(key, parent)

    def mounts(self, key: str, *, readonly: bool) -> Sequence[Mount]:
        with self._blamed("mounts"):
            recipes = tuple(self._driver.mounts(key, readonly=readonly))
            if not recipes or not all(map(_is_mount, recipes)):
                raise TypeError(f"no mounts: {recipes!r}")
        return recipes

    def unpack_target(self, key: str) -> UnpackTarget:
        with self._blamed("unpack_target"):
            target = self._driver.unpack_target(key)
            if not isinstance(target.path, Path) or not isinstance(target.whiteouts, Whiteouts):
                raise TypeError(f"no target: {target!r}")
        return target

    def changes(self, key: str) -> Iterator[Change]:
        with self._blamed("changes"):
            for number, change in enumerate(self._driver.changes(key)):
                if number == MOST_CHANGES:
                    raise OverflowError(f"they do not end after {MOST_CHANGES:,}")
                path, kind = change
                if not isinstance(path, str) or not isinstance(kind, Kind) or not path.startswith("/"):
                    raise TypeError(f"no change: {change!r}")
                yield change

    def usage(self, key: str) -> Usage:
        with self._blamed("usage"):
            size, entries = self._driver.usage(key)
            if not isinstance(size, int) or not isinstance(entries, int) or min(size, entries) < 0:
                raise TypeError(f"no usage: {(size, entries)!r}")
        return Usage(size, entries)

    def remove(self, key: str) -> None:
        with self._blamed("remove"):
            self._driver.remove(key)

    def close(self) -> None:
        with self._blamed("close"):
            self._driver.close()

    @contextmanager
    def _blamed(self, method: str) -> Iterator[None]:
        try:
            yield
        except (GeneratorExit, Unsupported):
            raise
        except BaseException as error:
            if isinstance(error, OSError) and error.errno in _TOLD_AS_THEY_ARE:
                raise
            log.exception("storage driver %r failed in %s()", self._name, method)
            what = f"{type(error).__name__}: {one_line(error)}"
            raise DriverError(f"storage driver {self._name!r} failed in {method}(): {what}") from error


class _ListingGuard(_Guard):
    _driver: Driver

    def keys(self) -> Iterable[str]:
        with self._blamed("keys"):
            found = list(self._driver.keys()) if isinstance(self._driver, Lists) else []
            if strange := [key for key in found if not isinstance(key, str) or not _KEY.fullmatch(key)]:
                raise TypeError(f"no key: {strange[0]!r}")
        return found


def _is_mount(recipe: object) -> bool:
    if not isinstance(recipe, Mount) or not isinstance(recipe.flags, int):
        return False
    texts = (recipe.source, recipe.fstype, recipe.data, recipe.directory)
    return all(isinstance(each, str) and "\0" not in each for each in texts)
