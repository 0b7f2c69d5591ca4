"""What stands between the store and a driver that a stranger wrote."""

import errno
import itertools
import os

import pytest
from layer_records import Records

from trioker.model.errors import TriokerError
from trioker.storage import guard as guarding
from trioker.storage.driver import Change, Kind, Lists, Mount, UnpackTarget, Unsupported, Usage, Whiteouts
from trioker.storage.guard import DriverError, guard, misshapen, one_line
from trioker.storage.store import LayerStore
from trioker_vfs import Vfs

KEY = "a" * 64
CALLS = {
    "create": lambda driver: driver.create(KEY, None),
    "mounts": lambda driver: driver.mounts(KEY, readonly=True),
    "unpack_target": lambda driver: driver.unpack_target(KEY),
    "changes": lambda driver: list(driver.changes(KEY)),
    "usage": lambda driver: driver.usage(KEY),
    "remove": lambda driver: driver.remove(KEY),
    "close": lambda driver: driver.close(),
    "keys": lambda driver: driver.keys(),
}


def broken(root, method: str, answer) -> Vfs:
    """A driver one method of which does what ``answer`` does."""

    class Broken(Vfs):
        pass

    setattr(Broken, method, lambda *_args, **_kwargs: answer())
    return Broken(root)


def raising(error):
    def answer():
        raise error

    return answer


@pytest.mark.parametrize("error", [RuntimeError("one\ntwo"), SystemExit("out"), KeyboardInterrupt(), OSError(5, "bad")])
@pytest.mark.parametrize("method", CALLS)
def test_whatever_a_method_raises_is_one_line_with_the_driver_s_name(tmp_path, method, error):
    driver = guard("mine", broken(tmp_path, method, raising(error)))
    with pytest.raises(DriverError) as caught:
        CALLS[method](driver)
    assert str(caught.value).startswith(f"storage driver 'mine' failed in {method}(): {type(error).__name__}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [Unsupported("too deep"), FileNotFoundError(errno.ENOENT, "no"), OSError(errno.ENOSPC, "full")]
)
def test_what_the_protocol_has_is_told_as_it_is(tmp_path, error):
    driver = guard("mine", broken(tmp_path, "create", raising(error)))
    with pytest.raises(type(error)) as caught:
        driver.create(KEY, None)
    assert caught.value is error


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("mounts", None),
        ("mounts", []),
        ("mounts", "/"),
        ("mounts", [("source", "none", 4096)]),
        ("mounts", [Mount("a\0b", "none")]),
        ("mounts", [Mount("a", "none", "rw")]),
        ("mounts", [Mount(b"a", "none")]),
        ("unpack_target", "/tmp"),
        ("unpack_target", UnpackTarget("/tmp", Whiteouts.REMOVE)),
        ("unpack_target", UnpackTarget(None, None)),
        ("changes", None),
        ("changes", [None]),
        ("changes", [("/a", 1)]),
        ("changes", [Change("a", Kind.ADDED)]),
        ("usage", 5),
        ("usage", None),
        ("usage", Usage(-1, 0)),
        ("usage", Usage("many", 0)),
        ("keys", None),
        ("keys", ["../../etc"]),
        ("keys", [5]),
    ],
)
def test_nonsense_is_refused_where_it_is_said(tmp_path, method, answer):
    driver = guard("mine", broken(tmp_path, method, lambda: answer))
    with pytest.raises(DriverError, match=rf"^storage driver 'mine' failed in {method}\(\)"):
        CALLS[method](driver)


def test_changes_that_never_end_are_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(guarding, "MOST_CHANGES", 1000)
    endless = itertools.repeat(Change("/again", Kind.ADDED))
    driver = guard("mine", broken(tmp_path, "changes", lambda: endless))
    with pytest.raises(DriverError, match=r"failed in changes\(\): OverflowError: they do not end after 1,000"):
        list(driver.changes(KEY))


def test_a_sound_driver_answers_through_it_as_without(tmp_path):
    plain = Vfs(tmp_path)
    driver = guard("vfs", plain)
    driver.create(KEY, None)
    assert isinstance(driver, Lists)
    assert driver.keys() == [KEY]
    assert driver.mounts(KEY, readonly=True) == tuple(plain.mounts(KEY, readonly=True))
    (driver.unpack_target(KEY).path / "file").write_text("four")
    assert list(driver.changes(KEY)) == [Change("/file", Kind.ADDED)]
    assert driver.usage(KEY) == Usage(4, 1)
    driver.remove(KEY)
    driver.close()
    assert os.listdir(tmp_path) == []


def test_who_cannot_list_does_not_list_behind_it(tmp_path):
    class Silent(Vfs):
        keys = None

    assert not isinstance(guard("mine", Silent(tmp_path)), Lists)


class AsyncCreate(Vfs):
    async def create(self, key, parent):
        pass


class PositionalReadonly(Vfs):
    def mounts(self, key, writable):
        return []


class Short(Vfs):
    def create(self, key):
        pass


class Lacking(Vfs):
    usage = None


class Generous(Vfs):
    def mounts(self, key, *, readonly=False, colour="red"):
        return []

    def create(self, *args, **kwargs):
        pass


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (AsyncCreate, "create() is async, and drivers are called in threads"),
        (PositionalReadonly, "mounts() cannot be called as it must be: "),
        (Short, "create() cannot be called as it must be: too many positional arguments"),
        (Lacking, "Lacking has no method usage()"),
        (Generous, ""),
        (Vfs, ""),
    ],
)
def test_the_shape_of_a_driver_is_looked_at(tmp_path, kind, told):
    found = misshapen(kind(tmp_path))
    assert found.startswith(told)
    assert bool(found) == bool(told)


def test_an_error_whose_text_cannot_be_made_is_told_by_its_kind():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    assert one_line(Mute()) == "Mute"
    assert one_line(ValueError("\x1b[2Jred\nmore")) == "?[2Jred"
    assert len(one_line(ValueError("long" * 1000))) <= 300


async def test_a_store_whose_driver_fails_says_so_and_goes_on(tmp_path):
    failing = ["create"]

    class Moody(Vfs):
        def create(self, key, parent):
            if failing:
                raise SystemExit(3)
            super().create(key, parent)

    records = Records()
    store = await LayerStore.open(guard("moody", Moody(tmp_path)), records)
    with pytest.raises(TriokerError, match=r"'moody' failed in create\(\): SystemExit: 3"):
        await store.create(KEY, "")
    assert records.rows == {}
    failing.clear()
    await store.create(KEY, "")
    assert store.keys() == {KEY}
