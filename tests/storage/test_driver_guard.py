"""What stands between the store and a driver that a stranger wrote."""

import errno
import itertools
import os
import threading
import warnings
from pathlib import Path

import pytest
from layer_records import Records

from trioker.linux.mounts import MS_BIND
from trioker.model.errors import TriokerError
from trioker.storage import guard as guarding
from trioker.storage.driver import Change, Kind, Lists, Mount, UnpackTarget, Unsupported, Usage, Whiteouts, bind
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


def behind(home, driver):
    """It, as a stranger's."""
    return guard("mine", driver, home, ours=False)


def raising(error):
    def answer():
        raise error

    return answer


class Mute(Exception):
    def __str__(self):
        raise SystemExit


@pytest.mark.parametrize(
    "error",
    [RuntimeError("one\ntwo"), SystemExit("out"), KeyboardInterrupt(), OSError(5, "bad"), GeneratorExit(), Mute()],
)
@pytest.mark.parametrize("method", CALLS)
def test_whatever_a_method_raises_is_one_line_with_the_driver_s_name(tmp_path, method, error):
    driver = behind(tmp_path, broken(tmp_path, method, raising(error)))
    with pytest.raises(DriverError) as caught:
        CALLS[method](driver)
    assert str(caught.value).startswith(f"storage driver 'mine' failed in {method}(): {type(error).__name__}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [Unsupported("too deep"), FileNotFoundError(errno.ENOENT, "no"), OSError(errno.ENOSPC, "full")]
)
def test_what_the_protocol_has_is_told_as_it_is(tmp_path, error):
    driver = behind(tmp_path, broken(tmp_path, "create", raising(error)))
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
        ("unpack_target", UnpackTarget(Path("/"), Whiteouts.REMOVE)),
        ("unpack_target", UnpackTarget(Path("relative"), Whiteouts.REMOVE)),
        ("mounts", [Mount("/", "none", MS_BIND)]),
        ("mounts", [Mount("relative", "none", MS_BIND)]),
        ("mounts", [Mount("overlay", "overlay", 0, "lowerdir=a:b", "/etc")]),
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
    driver = behind(tmp_path, broken(tmp_path, method, lambda: answer))
    with pytest.raises(DriverError, match=rf"^storage driver 'mine' failed in {method}\(\)"):
        CALLS[method](driver)


def test_a_place_that_is_its_root_or_leads_out_of_it_is_refused(tmp_path):
    for place in (tmp_path, tmp_path / "..", tmp_path / KEY / "../.."):
        driver = behind(tmp_path, broken(tmp_path, "mounts", lambda place=place: bind(str(place), readonly=True)))
        with pytest.raises(DriverError, match="is not inside of"):
            driver.mounts(KEY, readonly=True)


def test_a_place_may_be_told_with_links_of_the_root_resolved(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    plain = Vfs(tmp_path / "real")
    plain.create(KEY, None)
    driver = behind(tmp_path / "link", plain)
    assert driver.mounts(KEY, readonly=True)[0].source == f"{tmp_path}/real/{KEY}/tree"


@pytest.mark.parametrize("method", ["mounts", "keys"])
def test_answers_that_never_end_are_refused_and_not_taken_in_part(tmp_path, monkeypatch, method):
    monkeypatch.setattr(guarding, "_MOST_KEYS", 500)
    one = {"mounts": Mount("overlay", "overlay"), "keys": KEY}[method]
    driver = behind(tmp_path, broken(tmp_path, method, lambda: itertools.repeat(one, 500)))
    assert len(CALLS[method](driver)) == 500
    driver = behind(tmp_path, broken(tmp_path, method, lambda: itertools.repeat(one)))
    with pytest.raises(DriverError, match="they do not end after 500"):
        CALLS[method](driver)


def test_unsupported_is_a_word_of_create_alone(tmp_path):
    driver = behind(tmp_path, broken(tmp_path, "remove", raising(Unsupported("not today"))))
    with pytest.raises(DriverError, match=r"failed in remove\(\): Unsupported: not today"):
        driver.remove(KEY)


def test_a_layer_that_is_still_being_made_is_not_removed_meanwhile(tmp_path):
    begun, gate = threading.Event(), threading.Event()

    class Slow(Vfs):
        def create(self, key, parent):
            begun.set()
            gate.wait(60)
            super().create(key, parent)

    driver = behind(tmp_path, Slow(tmp_path))
    thread = threading.Thread(target=driver.create, args=(KEY, None))
    thread.start()
    assert begun.wait(60)
    with pytest.raises(DriverError, match=r"'mine' has not come back from create\(\) of the same layer"):
        driver.remove(KEY)
    gate.set()
    thread.join()
    driver.remove(KEY)
    assert os.listdir(tmp_path) == []


def test_what_a_stranger_does_to_directory_and_umask_ends_with_the_call(tmp_path):
    class Careless(Vfs):
        def create(self, key, parent):
            os.chdir(self._root)
            os.umask(0)
            super().create(key, parent)

    def call():
        behind(tmp_path, Careless(tmp_path)).create(KEY, None)
        seen.append(os.getcwd())
        os.close(os.open(tmp_path / "file", os.O_CREAT, 0o666))

    seen = []
    before, mask = os.getcwd(), os.umask(0o027)
    try:
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
    finally:
        assert os.umask(mask) == 0o027
    assert [os.getcwd(), *seen] == [before, before]
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_process_that_a_stranger_forks_and_forgets_ends_where_the_call_does(tmp_path):
    reading, writing = os.pipe()
    children = []

    class Forgetful(Vfs):
        def create(self, key, parent):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                children.append(os.fork())
            super().create(key if children[-1] else "b" * 64, parent)

    behind(tmp_path, Forgetful(tmp_path)).create(KEY, None)
    os.write(writing, b"%d" % os.getpid())
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 70
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        assert file.read() == b"%d" % os.getpid()


def test_the_log_has_the_traceback_and_not_all_that_a_stranger_says(tmp_path, caplog):
    driver = behind(tmp_path, broken(tmp_path, "create", raising(RuntimeError("no\n" * 10**5 + "x" * 10**6))))
    with pytest.raises(DriverError):
        driver.create(KEY, None)
    assert "in answer\n" in caplog.text
    assert len(caplog.text) < 50_000


def test_changes_that_never_end_are_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(guarding, "MOST_CHANGES", 1000)
    endless = itertools.repeat(Change("/again", Kind.ADDED))
    driver = behind(tmp_path, broken(tmp_path, "changes", lambda: endless))
    with pytest.raises(DriverError, match=r"failed in changes\(\): OverflowError: they do not end after 1,000"):
        list(driver.changes(KEY))


def test_a_sound_driver_answers_through_it_as_without(tmp_path):
    plain = Vfs(tmp_path)
    driver = guard("vfs", plain, tmp_path, ours=True)
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

    assert not isinstance(behind(tmp_path, Silent(tmp_path)), Lists)


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
    store = await LayerStore.open(guard("moody", Moody(tmp_path), tmp_path, ours=False), records)
    with pytest.raises(TriokerError, match=r"'moody' failed in create\(\): SystemExit: 3"):
        await store.create(KEY, "")
    assert records.rows == {}
    failing.clear()
    await store.create(KEY, "")
    assert store.keys() == {KEY}
