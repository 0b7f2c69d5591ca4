"""What stays and what goes: closing and opening again, removing, listing."""

from trioker.storage.driver import Change, Driver, Kind, Lists
from trioker.testing.driver_suite.trial import BASE, MIDDLE, OTHER, TOP, Trial, fill


def data_outlives_the_driver(trial: Trial) -> None:
    """Closed and opened, everything is as it was."""
    trial.base("file")
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        fill(root, "new")
    trial.reopen()
    trial.expect_whole(TOP, "file", "new")
    assert trial.changes(TOP) == [Change("/new", Kind.ADDED)]


def removing_takes_one_tree_and_may_be_repeated(trial: Trial) -> None:
    """Unknown keys are welcome, and so is a key made again."""
    trial.base("file")
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        fill(root, "new")
    trial.driver.remove(TOP)
    trial.driver.remove(TOP)
    trial.driver.remove(OTHER)
    trial.driver.create(TOP, BASE)
    trial.expect_whole(TOP, "file")


def removing_leaves_nothing(trial: Trial) -> None:
    """Neither a file nor a directory more than there was, whatever the tree held."""
    trial.base("file")
    trial.driver.create(OTHER, BASE)
    before = trial.entries()
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        fill(root, "dir/sub/new", "file")
    trial.driver.remove(TOP)
    left = trial.entries() - before
    assert not left, f"remove() left {sorted(left)}"


def a_key_is_made_once(trial: Trial) -> None:
    """A second ``create`` of it is refused and harms nothing: the store never asks for that, a mistake of its must not cost data."""
    trial.base("file")
    trial.driver.create(TOP, BASE)
    with trial.shown(TOP) as root:
        fill(root, "new")
    for parent in (BASE, None):
        assert not _is_taken(trial.driver, TOP, parent), "create() took a key that is there"
        trial.expect_whole(TOP, "file", "new")


def _is_taken(driver: Driver, key: str, parent: str | None) -> bool:
    try:
        driver.create(key, parent)
    except Exception:  # noqa: BLE001  refused in its own way
        return False
    return True


def a_parent_that_is_not_there_is_refused(trial: Trial) -> None:
    """With FileNotFoundError, as are the mounts, changes and size of an unknown tree: the store tells the client what is gone."""
    for deed in (
        lambda: trial.driver.create(TOP, BASE),
        lambda: trial.driver.mounts(OTHER, readonly=False),
        lambda: trial.changes(OTHER),
        lambda: trial.driver.usage(OTHER),
    ):
        try:
            deed()
        except FileNotFoundError:
            continue
        raise AssertionError("an unknown key was taken for one that is there")
    trial.driver.remove(TOP)
    trial.expect_keys()


def removing_a_parent_is_refused_whole_or_its_children_can_still_be_removed(trial: Trial) -> None:
    """The store refuses it for every driver; one that is asked all the same, by a record that was lost, must not be stuck afterwards."""
    trial.base("file")
    trial.driver.create(MIDDLE, BASE)
    trial.driver.create(TOP, MIDDLE)
    try:
        trial.driver.remove(MIDDLE)
    except Exception:  # noqa: BLE001  a driver that refuses may say so in its own way
        trial.expect_whole(MIDDLE, "file")
        trial.expect_whole(TOP, "file")
        trial.driver.remove(TOP)
    else:
        trial.expect_keys(BASE, TOP)
        trial.reopen()
        trial.driver.remove(TOP)
        trial.expect_keys(BASE)
    trial.driver.remove(MIDDLE)
    trial.expect_whole(BASE, "file")


def what_is_there_is_listed(trial: Trial) -> None:
    """For drivers with that ability."""
    if not isinstance(trial.driver, Lists):
        return
    trial.expect_keys()
    trial.base("file")
    trial.driver.create(TOP, BASE)
    trial.expect_keys(BASE, TOP)
    trial.driver.remove(TOP)
    trial.expect_keys(BASE)


CHECKS = (
    data_outlives_the_driver,
    removing_takes_one_tree_and_may_be_repeated,
    removing_leaves_nothing,
    a_key_is_made_once,
    a_parent_that_is_not_there_is_refused,
    removing_a_parent_is_refused_whole_or_its_children_can_still_be_removed,
    what_is_there_is_listed,
)
