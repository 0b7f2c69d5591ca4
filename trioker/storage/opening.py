"""From the daemon's flags to an open store: one daemon, one driver, one directory.

::

    <root>/storage/lock        held by the daemon that has the store open
    <root>/storage/driver      name of the driver whose layers the records tell of
    <root>/storage/migration   only while layers are moved to another one, see ``journal.py``
    <root>/storage/<driver>/   the driver's own
"""

import fcntl
import logging
import os
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path

import attrs
import trio

from trioker.linux.trees import remove_tree
from trioker.model.errors import Conflict
from trioker.storage.discovery import (
    ALIASES,
    PROBE,
    DriverError,
    DriverInfo,
    available,
    default,
    find,
    open_driver,
    undisputed,
)
from trioker.storage.driver import Driver
from trioker.storage.journal import write_durably
from trioker.storage.ports import LayerRecords
from trioker.storage.store import LayerStore
from trioker.storage.threads import work

log = logging.getLogger(__name__)


@attrs.frozen
class Choice:
    """What the daemon's flags say of storage."""

    driver: str = ""
    """Name or alias; empty takes the one that has layers, else the first that works."""
    options: Mapping[str, str] = attrs.field(factory=dict)
    driver_dirs: Sequence[Path] = ()


@attrs.frozen
class OpenStore:
    """An open store and what it stands on."""

    layers: LayerStore
    driver: DriverInfo


@asynccontextmanager
async def open_store(root: Path, records: LayerRecords, choice: Choice) -> AsyncGenerator[OpenStore, None]:
    """The store in ``root``/storage, reconciled, for as long as the context lasts.

    Raises Conflict where another daemon has it open, DriverError where the chosen driver is not the one whose layers are there, or does
    not work. Cancelled while a stranger's driver opens, it does not wait for that: the process is expected to end.
    """
    place = root / "storage"
    with locked(place):
        had = recorded(place) if records.layers() else ""
        try:
            info = await work(_choose, place, choice, had)
        finally:
            _remove_trials(place)
        with home_of(place, info.name) as home:
            call = work if info.is_ours else partial(trio.to_thread.run_sync, abandon_on_cancel=True)
            driver = await call(_open, info, home, choice)
            await trio.to_thread.run_sync(record, place, info.name)
        store = LayerStore(driver, records, prompt=info.is_ours and not choice.options)
        try:
            await store.reconcile()
            yield OpenStore(store, info)
        finally:
            with trio.CancelScope(shield=True):
                await store.close()


@contextmanager
def locked(place: Path) -> Iterator[None]:
    """Hold the store in ``place`` for this process alone. Raises Conflict, DriverError where nothing can be kept there."""
    _make(place)
    fd = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"another daemon has {place} open") from error
        yield
    finally:
        os.close(fd)


@contextmanager
def home_of(place: Path, name: str) -> Iterator[Path]:
    """The driver's directory, made where it is not there. If the block fails or is cancelled, one that was made and is still empty goes again."""
    home = place / name
    was_there = home.is_dir()
    _make(home)
    try:
        yield home
    except BaseException:
        if not was_there:
            with suppress(OSError):  # the driver has left something there
                home.rmdir()
        raise


def _remove_trials(place: Path) -> None:
    """Those of a process that was killed, or told to stop in the midst of one."""
    for left in place.glob(f"{PROBE}*"):
        with suppress(OSError):  # a driver may have left something mounted
            remove_tree(left)


def _open(info: DriverInfo, home: Path, choice: Choice) -> Driver:
    if not info.is_ours:  # the last line of a daemon that it ends without a word, or keeps waiting
        log.info("opening storage driver %r of %s %s", info.name, info.distribution, info.version)
    return open_driver(info, home, choice.options, choice.driver_dirs)


def _make(place: Path) -> None:
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DriverError(f"nothing can be kept in {place}: {error.strerror}") from error


def _choose(place: Path, choice: Choice, recorded: str) -> DriverInfo:
    infos = available(choice.driver_dirs)
    if choice.driver:
        info = find(choice.driver, infos)
    elif recorded:
        info = find(recorded, undisputed(infos))
    else:
        info = default(place, infos, choice.driver_dirs)
    if recorded and info.name != recorded:
        raise DriverError(
            f"the layers in {place} were made by storage driver {recorded!r} and {info.name!r} cannot read them: "
            f"use -s {recorded}, or move them: trioker.pyz migrate --to {info.name} -g {place.parent}"
        )
    return info


def recorded(place: Path) -> str:
    """The name of the driver whose layers the records tell of; "" where none was ever open in ``place``."""
    try:
        name = (place / "driver").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    return ALIASES.get(name, name)


def record(place: Path, name: str) -> None:
    """Make it the store's driver, durably and in one step. What is there already needs no room on a full disk."""
    if recorded(place) != name:
        write_durably(place / "driver", f"{name}\n")
