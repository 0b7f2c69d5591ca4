"""Between the store and a driver, which a stranger wrote: what it answers is looked at, and its failures are told with its name.

Without it a driver that raises SystemExit in a thread would end the daemon, and one that returns nonsense would fail far from its fault.
"""

import errno
import inspect
import logging
import os
import re
import threading
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

from trioker.linux.mounts import MS_BIND, MS_REMOUNT
from trioker.linux.syscalls import DISK_FULL
from trioker.model.errors import TriokerError
from trioker.storage.driver import Change, Driver, Kind, Lists, Mount, UnpackTarget, Unsupported, Usage, Whiteouts
from trioker.storage.surroundings import own_directory_and_umask, without_copies

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_CHANGES = 4_000_000
"""Of one layer: a gigabyte of memory, and some ten times what the largest images hold. Whoever says more does not end."""

_MOST_KEYS = 1_000_000
_MOST_MOUNTS = 500
"""Both far more than there are. Whoever says more does not end."""
_AT_ONCE = 256
"""Changes that are asked of a driver before any is passed on."""

_KEY = re.compile(r"[0-9a-f]{64}")
_METHODS = [name for name in vars(Driver) if not name.startswith("_")]
_LONGEST = 300
"""Characters of a failure that somebody else wrote."""
_MOST_LINES = 30
"""At the beginning of its traceback in the log, and at its end."""
_TOLD_AS_THEY_ARE = (errno.ENOENT, *DISK_FULL)
"""Errors of the disk that others know what to do about."""


class DriverError(TriokerError):
    """A storage driver cannot be found, loaded or opened, or broke its contract; the text is one line and names it."""


def one_line(error: BaseException) -> str:
    """What it says on its first line, or what it is."""
    try:
        text = str(error).strip()
    except BaseException:  # noqa: BLE001  even that is code of a stranger
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
        except ValueError:  # written in C, and it does not tell
            continue
        except TypeError as error:
            return f"{name}() cannot be called as it must be: {one_line(error)}"
    return ""


def _call_for_trial(name: str, signature: inspect.Signature) -> None:
    wanted = list(inspect.signature(getattr(Driver, name)).parameters.values())[1:]  # but self
    positional = [each.name for each in wanted if each.kind is not each.KEYWORD_ONLY]
    signature.bind(*positional, **{each.name: None for each in wanted if each.kind is each.KEYWORD_ONLY})


def guard(name: str, driver: Driver, home: Path, *, ours: bool) -> Driver:
    """The same driver, not trusted; ``home`` is its directory. It lists what it has (``Lists``) if the driver does.

    What is ``ours`` is spared the precautions against changing the process it runs in, so that it may be called in the main thread.
    """
    return (_ListingGuard if isinstance(driver, Lists) else _Guard)(name, driver, home, ours=ours)


class _Guard:
    """Raises what the Protocol has, and DriverError instead of everything else."""

    def __init__(self, name: str, driver: Driver, home: Path, *, ours: bool) -> None:
        self.name = name
        self._driver = driver
        self._ours = ours
        self._homes = (f"{os.path.abspath(home)}/", f"{os.path.realpath(home)}/")
        self._lock = threading.Lock()
        self._being_changed: dict[str, str] = {}
        """Keys, and the calls that change them now."""

    def create(self, key: str, parent: str | None) -> None:
        with self._alone("create", key), self._blamed("create"):
            self._driver.create(key, parent)

    def mounts(self, key: str, *, readonly: bool) -> Sequence[Mount]:
        with self._blamed("mounts"):
            recipes = tuple(_all_of(self._driver.mounts(key, readonly=readonly), _MOST_MOUNTS))
            if not recipes or not all(map(_is_mount, recipes)):
                raise TypeError(f"no mounts: {recipes!r}")
            for recipe in recipes:
                self._check_places(recipe)
        return recipes

    def unpack_target(self, key: str) -> UnpackTarget:
        with self._blamed("unpack_target"):
            target = self._driver.unpack_target(key)
            if not isinstance(target.path, Path) or not isinstance(target.whiteouts, Whiteouts):
                raise TypeError(f"no target: {target!r}")
            self._check_inside(str(target.path))
        return target

    def changes(self, key: str) -> Iterator[Change]:
        told = self._checked_changes(key)
        while some := self._take(told):
            yield from some  # not in _take: a GeneratorExit that comes here is not the driver's

    def usage(self, key: str) -> Usage:
        with self._blamed("usage"):
            size, entries = self._driver.usage(key)
            if not isinstance(size, int) or not isinstance(entries, int) or min(size, entries) < 0:
                raise TypeError(f"no usage: {(size, entries)!r}")
        return Usage(size, entries)

    def remove(self, key: str) -> None:
        with self._alone("remove", key), self._blamed("remove"):
            self._driver.remove(key)

    def close(self) -> None:
        with self._blamed("close"):
            self._driver.close()

    def _take(self, told: Iterator[Change]) -> Sequence[Change]:
        with self._blamed("changes"):
            return tuple(islice(told, _AT_ONCE))

    def _checked_changes(self, key: str) -> Iterator[Change]:
        for number, change in enumerate(self._driver.changes(key)):
            if number == MOST_CHANGES:
                raise OverflowError(f"they do not end after {MOST_CHANGES:,}")
            path, kind = change
            if not isinstance(path, str) or not isinstance(kind, Kind) or not path.startswith("/"):
                raise TypeError(f"no change: {change!r}")
            yield Change(path, kind)

    def _check_places(self, recipe: Mount) -> None:
        """A path that begins wrong, or ends with an empty key, must not show a container the host."""
        if recipe.directory and f"{os.path.normpath(recipe.directory)}/" not in self._homes:
            self._check_inside(recipe.directory)
        if recipe.flags & MS_BIND and not recipe.flags & MS_REMOUNT:
            self._check_inside(recipe.source)

    def _check_inside(self, path: str) -> None:
        if not os.path.normpath(path).startswith(self._homes):
            raise ValueError(f"{path!r} is not inside of {self._homes[0]}")

    @contextmanager
    def _alone(self, method: str, key: str) -> Iterator[None]:
        """Keep the Protocol's promise where an earlier call hangs, or is slow, and nobody waits for it any longer."""
        with self._lock:
            if other := self._being_changed.get(key):
                raise DriverError(f"storage driver {self.name!r} has not come back from {other}() of the same layer")
            self._being_changed[key] = method
        try:
            yield
        finally:
            del self._being_changed[key]

    @contextmanager
    def _blamed(self, method: str) -> Iterator[None]:
        try:
            if self._ours:
                yield
                return
            with without_copies(), own_directory_and_umask():
                yield
        except BaseException as error:
            if _is_told_as_it_is(error, method):
                raise
            raise self._failure(method, error) from error

    def _failure(self, method: str, error: BaseException) -> DriverError:
        told = f"storage driver {self.name!r} failed in {method}()"
        log.error("%s\n%s", told, _traceback(error))
        return DriverError(f"{told}: {type(error).__name__}: {one_line(error)}")


class _ListingGuard(_Guard):
    _driver: Driver

    def keys(self) -> Iterable[str]:
        with self._blamed("keys"):
            found = _all_of(self._driver.keys(), _MOST_KEYS) if isinstance(self._driver, Lists) else []
            if strange := [key for key in found if not isinstance(key, str) or not _KEY.fullmatch(key)]:
                raise TypeError(f"no key: {strange[0]!r}")
        return found


def _traceback(error: BaseException) -> str:
    """Neither of any number of lines nor of lines of any length."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    if len(lines) > 2 * _MOST_LINES:
        lines = [*lines[:_MOST_LINES], "...", *lines[-_MOST_LINES:]]
    return "\n".join(line[:_LONGEST] for line in lines)


def _is_told_as_it_is(error: BaseException, method: str) -> bool:
    if isinstance(error, Unsupported):
        return method == "create"
    return isinstance(error, FileNotFoundError) or (isinstance(error, OSError) and error.errno in _TOLD_AS_THEY_ARE)


def _all_of(told: Iterable[T], most: int) -> list[T]:
    """Never the first of more: the last recipe is the root, and a key that is not told of counts as lost."""
    found = list(islice(told, most + 1))
    if len(found) > most:
        raise OverflowError(f"they do not end after {most:,}")
    return found


def _is_mount(recipe: object) -> bool:
    if not isinstance(recipe, Mount) or not isinstance(recipe.flags, int):
        return False
    texts = (recipe.source, recipe.fstype, recipe.data, recipe.directory)
    return all(isinstance(each, str) and "\0" not in each for each in texts)
