"""All storage drivers on offer, each tried where the store is or would be."""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import attrs

from trioker.linux.stopping import held_back
from trioker.storage.deadlines import in_children
from trioker.storage.discovery import (
    IMPORT_WITHIN,
    PROBE_WITHIN,
    DriverError,
    DriverInfo,
    attempt,
    find,
    trial_directory,
)

_WITHIN = IMPORT_WITHIN + 2 * PROBE_WITHIN
"""Seconds for a driver's process: more than the deadlines inside of it, which C code can keep from being met."""


@attrs.frozen
class DriverRow:
    """A line of ``trioker drivers``."""

    name: str
    package: str
    version: str
    works: bool
    why: str
    """Why it does not work; empty if it does."""


def list_drivers(
    root: Path, infos: Sequence[DriverInfo], driver_dirs: Sequence[Path] = ()
) -> Generator[DriverRow, None, None]:
    """Whether each works in ``root``: tried at the same time, in processes of their own; told in order, each as soon as it is known.

    To be closed, and for the main thread: a signal that ends the process does so when the drivers' processes and trial directories are gone.
    """
    with ExitStack() as stack:
        stop = stack.enter_context(held_back())
        works = [_work(info, infos, root, driver_dirs, stack) for info in infos]
        answers = stack.enter_context(closing(in_children(_WITHIN, works, stop)))
        for info, answer in zip(infos, answers, strict=False):  # fewer answers when it is to end
            why = _in_a_row(str(answer), info)
            yield DriverRow(info.name, info.distribution, info.version, not why, why)


def _work(
    info: DriverInfo, infos: Sequence[DriverInfo], root: Path, driver_dirs: Sequence[Path], trials: ExitStack
) -> Callable[[], str]:
    """What finds out why the driver does not work, and answers "" if it does."""
    if info.fault:
        return lambda: info.fault
    try:
        chosen, trial = find(info.name, infos), trials.enter_context(trial_directory(root))
    except DriverError as error:
        return partial(str, error)
    return lambda: attempt(chosen, trial, driver_dirs).replace(str(trial), str(root))


def _in_a_row(why: str, info: DriverInfo) -> str:
    """Without what the row says already."""
    for said in (f"storage driver {info.name!r} ", f"of {info.distribution} ", "cannot work here: "):
        why = why.removeprefix(said)
    return why
