"""Processes killed in the middle of each operation, and the data opened again.

A child runs the operation and dies before its first call of the kernel, then another before its second, and so on until one comes to the
end, which is killed there: it never closes the driver. What a power cut does is not tried here.
"""

from collections.abc import Callable, Iterator
from functools import partial

from trioker.storage.driver import Driver, Lists
from trioker.testing.driver_suite.processes import die, die_at_call, in_child
from trioker.testing.driver_suite.trial import BASE, OTHER, TOP, Trial, fill

_MOST = 2000
"""Calls in one operation on a tree of a few files, for a driver that comes to an end at all."""

_KILLED = -9


def a_create_killed_anywhere_can_be_removed_and_repeated(trial: Trial) -> None:
    """Nothing else is lost by it, and once it has answered the tree is there."""
    _prepare(trial)
    for finished in _crashes(trial, lambda driver: driver.create(TOP, BASE)):
        _expect_rest(trial)
        if finished:
            trial.expect_whole(TOP, "dir/file", "file")
        _expect_removable_and_new(trial)


def a_create_without_a_parent_killed_anywhere_can_be_removed(trial: Trial) -> None:
    """The first layer of an image."""
    _prepare(trial)
    for finished in _crashes(trial, lambda driver: driver.create(TOP, None)):
        _expect_rest(trial)
        if finished:
            trial.expect_whole(TOP)
        _expect_removable_and_new(trial)


def a_remove_killed_anywhere_can_be_finished(trial: Trial) -> None:
    """Half-removed, a tree is still listed, or nothing of it is left after the next opening and removal."""
    _prepare(trial)
    trial.driver.create(TOP, BASE)
    for finished in _crashes(trial, lambda driver: driver.remove(TOP)):
        _expect_rest(trial)
        if finished:
            trial.expect_keys(BASE, OTHER)
        _expect_removable_and_new(trial)
        trial.driver.create(TOP, BASE)
        with trial.shown(TOP) as root:
            fill(root, "dir/new", "file")


def an_opening_killed_anywhere_can_be_repeated(trial: Trial) -> None:
    """Also one that had an interrupted removal to finish."""
    _prepare(trial)
    trial.driver.create(TOP, BASE)
    _crash(trial, 4, lambda driver: driver.remove(TOP))
    for number in range(1, _MOST):
        trial.driver.close()
        finished = _dies(partial(_open_and_die, trial, number))
        trial.driver = trial.open()
        _expect_rest(trial)
        if finished:
            break
    _expect_removable_and_new(trial)


def _open_and_die(trial: Trial, number: int, tell: Callable[[str], None]) -> None:
    die_at_call(number, tell)
    trial.open()
    tell("end")
    die()


def _prepare(trial: Trial) -> None:
    trial.base("dir/file", "file")
    trial.driver.create(OTHER, BASE)
    with trial.shown(OTHER) as root:
        fill(root, "mine")


def _crashes(trial: Trial, operation: Callable[[Driver], None]) -> Iterator[bool]:
    """One crash after the other, the data opened again after each; True with the one that came after the answer."""
    for number in range(1, _MOST):
        finished = _crash(trial, number, operation)
        yield finished
        if finished:
            return
    raise AssertionError(f"the operation makes more than {_MOST} calls")


def _crash(trial: Trial, number: int, operation: Callable[[Driver], None]) -> bool:
    trial.driver.close()

    def work(tell: Callable[[str], None]) -> None:
        driver = trial.open()
        die_at_call(number, tell)
        operation(driver)
        tell("end")
        die()

    finished = _dies(work)
    trial.driver = trial.open()
    return finished


def _dies(work: Callable[[Callable[[str], None]], None]) -> bool:
    outcome = in_child(work)
    assert outcome.status == _KILLED, f"instead of being killed it ended with {outcome.said or outcome.status}"
    return outcome.said.startswith("end")


def _expect_rest(trial: Trial) -> None:
    """What was acknowledged before the crash is as it was."""
    trial.expect_whole(BASE, "dir/file", "file")
    trial.expect_whole(OTHER, "dir/file", "file", "mine")
    if isinstance(trial.driver, Lists):
        assert {BASE, OTHER} <= set(trial.driver.keys()) <= {BASE, OTHER, TOP}, (
            "keys() lacks a tree, or has one too many"
        )


def _expect_removable_and_new(trial: Trial) -> None:
    """Remove what there is of TOP; the key is as good as new."""
    trial.driver.remove(TOP)
    trial.expect_keys(BASE, OTHER)
    trial.driver.create(TOP, BASE)
    trial.expect_whole(TOP, "dir/file", "file")
    trial.driver.remove(TOP)


CHECKS = (
    a_create_killed_anywhere_can_be_removed_and_repeated,
    a_create_without_a_parent_killed_anywhere_can_be_removed,
    a_remove_killed_anywhere_can_be_finished,
    an_opening_killed_anywhere_can_be_repeated,
)
