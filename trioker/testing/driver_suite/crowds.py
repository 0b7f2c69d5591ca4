"""Several at once: threads of one process, as the store uses a driver, and a second process on the same directory."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from trioker.storage.driver import Unsupported
from trioker.testing.driver_suite.processes import in_child
from trioker.testing.driver_suite.trial import BASE, OTHER, TOP, Trial, fill

_THREADS = 8
"""As many as the store has (storage/store.py, WORKERS)."""


def many_children_are_made_and_removed_at_once(trial: Trial) -> None:
    """From several threads, each its own key, while others stand on the same parent."""
    base = trial.base("file")
    trial.driver.create(OTHER, BASE)

    def live(key: str) -> None:
        trial.driver.create(key, BASE)
        assert trial.driver.mounts(key, readonly=False)
        os.stat(trial.driver.unpack_target(key).path)
        assert trial.changes(key) == []
        trial.driver.usage(key)
        trial.driver.remove(key)

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(live, _keys(0, 4 * _THREADS)))
    trial.expect_keys(BASE, OTHER)
    trial.expect_whole(OTHER, "file")
    assert (base / "file").read_text() == "file"


def chains_grow_at_once(trial: Trial) -> None:
    """Pulls of several images over one base: each thread stacks layers of its own, and what it made is not another's."""
    trial.base("file")

    def grow(number: int) -> str:
        parent = BASE
        for key in _keys(number + 1, 5):
            trial.driver.create(key, parent)
            fill(trial.driver.unpack_target(key).path, f"of-{number}-{key[4:8]}")
            parent = key
        return parent

    def fell(number: int) -> None:
        for key in reversed(_keys(number + 1, 5)):
            trial.driver.remove(key)

    with ThreadPoolExecutor(_THREADS) as pool:
        tops = list(pool.map(grow, range(_THREADS)))
    for number, top in enumerate(tops):
        trial.expect_whole(top, "file", *(f"of-{number}-{key[4:8]}" for key in _keys(number + 1, 5)))
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(fell, range(_THREADS)))
    trial.expect_keys(BASE)


def a_second_process_is_refused_or_harms_nothing(trial: Trial) -> None:
    """The store holds a lock, so this is a mistake; it may fail, it may work, but what the first one has stays whole."""
    trial.base("file")
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        fill(root, "new")
        outcome = in_child(lambda tell: _live_there(trial, tell))
        assert outcome.status == 0, f"the second process ended with {outcome.said or outcome.status}"
        assert (root / "file").read_text() == "file"
        fill(root, "later")
    trial.expect_whole(TOP, "file", "later", "new")
    if outcome.said == "made":
        trial.expect_keys(BASE, OTHER, TOP)
        trial.expect_whole(OTHER, "file", "second")


def _live_there(trial: Trial, tell: Callable[[str], None]) -> None:
    try:
        second = trial.open()
    except (OSError, Unsupported):
        return
    for key in _keys(9, 5):
        second.create(key, BASE)
        second.remove(key)
    second.create(OTHER, BASE)
    trial.driver = second
    with trial.shown(OTHER) as root:
        fill(root, "second")
    second.close()
    tell("made")


def _keys(series: int, count: int) -> list[str]:
    return [f"{series:04x}{number:04x}".ljust(64, "c") for number in range(count)]


CHECKS = (
    many_children_are_made_and_removed_at_once,
    chains_grow_at_once,
    a_second_process_is_refused_or_harms_nothing,
)
