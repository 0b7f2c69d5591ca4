import os
import signal
import sys
import zipfile
from contextlib import closing

import pytest

from trioker.storage import discovery
from trioker.storage.deadlines import in_children
from trioker.storage.discovery import DriverError, DriverInfo
from trioker.storage.listing import list_drivers

KEY = "a" * 64


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A --driver-dir; what is imported from it is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "drivers"
    usual = os.umask(0o022)  # nobody else may write there
    folder.mkdir()
    before = set(sys.modules)
    yield folder
    os.umask(usual)
    for name in set(sys.modules) - before:
        del sys.modules[name]


def offer(folder, name: str, code: str, *, package: str = "", value: str = "") -> None:
    """A stranger's package: a module and its metadata."""
    package = package or f"stranger-{name}"
    module = package.replace("-", "_")
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(f"[trioker.storage]\n{name} = {value or f'{module}:open_driver'}\n")


def open_one(folder, name: str, root, **options: str):
    infos = discovery.available([folder])
    return discovery.open_driver(discovery.find(name, infos), root, options, [folder])


def listed(root, driver_dirs=()):
    return list(list_drivers(root, discovery.available(driver_dirs), driver_dirs))


def test_our_own_drivers_are_offered_in_a_checkout_too():
    names = [info.name for info in discovery.available() if info.distribution == "trioker"]
    assert names == ["btrfs", "overlay", "vfs"]


def test_overlay2_is_another_word_for_overlay():
    assert discovery.find("overlay2", discovery.available()).name == "overlay"


def test_a_stranger_s_driver_is_found_in_its_folder_and_opened(folder, tmp_path):
    offer(folder, "mine", "from trioker_vfs import open_driver")
    info = discovery.find("mine", discovery.available([folder]))
    assert info == DriverInfo("mine", "stranger-mine", "1.5", "stranger_mine:open_driver")
    (tmp_path / "root").mkdir()
    driver = open_one(folder, "mine", tmp_path / "root")
    driver.create(KEY, None)
    assert (tmp_path / "root" / KEY).is_dir()


def test_a_driver_is_found_inside_a_zip(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
        archive.writestr("trioker-9.dist-info/METADATA", "Metadata-Version: 2.1\nName: trioker\nVersion: 9\n")
        archive.writestr(
            "trioker-9.dist-info/entry_points.txt", "[trioker.storage]\nzipped = zipped_driver:open_driver\n"
        )
    monkeypatch.setattr(sys, "path", [str(tmp_path / "app.pyz")])
    assert discovery.available() == [DriverInfo("zipped", "trioker", "9", "zipped_driver:open_driver")]


def test_a_broken_stranger_harms_nobody_who_did_not_choose_it(folder, tmp_path):
    offer(folder, "broken", "raise SystemExit('out')")
    (tmp_path / "root").mkdir()
    open_one(folder, "vfs", tmp_path / "root").close()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise SystemExit('out')", "'broken' of stranger-broken cannot be loaded: SystemExit: out"),
        ("import no_such_module", "cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'"),
        ("syntax error", "cannot be loaded: SyntaxError"),
        ("x = 1", "cannot be loaded: AttributeError"),
        ("open_driver = 5", "cannot be loaded: TypeError: stranger_broken:open_driver is int, and nothing to call"),
        ("raise KeyboardInterrupt", "cannot be loaded: KeyboardInterrupt: KeyboardInterrupt"),
        ("raise BaseException('\\x1b[2J')", "cannot be loaded: BaseException: ?[2J"),
        ("def open_driver(): pass", "cannot be opened: TypeError: open_driver() takes 0 positional arguments"),
        ("def open_driver(root, options): return None", "is no driver: NoneType has no method create()"),
        (
            "async def open_driver(root, options): pass",
            "cannot be loaded: TypeError: stranger_broken:open_driver is async",
        ),
        ("def open_driver(root, options): raise SystemExit(3)", "cannot be opened: SystemExit: 3"),
        (
            "import trioker_vfs\nclass Mine(trioker_vfs.Vfs): usage = None\ndef open_driver(root, options): return Mine(root)",
            "of stranger-broken is no driver: Mine has no method usage()",
        ),
        (
            "import trioker_vfs\nclass Mine(trioker_vfs.Vfs):\n def mounts(self, key): pass\ndef open_driver(root, options): return Mine(root)",
            "is no driver: mounts() cannot be called as it must be: got an unexpected keyword argument 'readonly'",
        ),
        ("def open_driver(root, options): raise RuntimeError('one\\ntwo')", "cannot be opened: RuntimeError: one"),
        ("def open_driver(root, options): raise ValueError('what is this?')", "refuses its options: what is this?"),
        (
            "from trioker.storage.driver import Unsupported\ndef open_driver(root, options): raise Unsupported('too old')",
            "cannot work here: too old",
        ),
    ],
)
def test_a_broken_driver_that_is_chosen_is_one_line(folder, tmp_path, code, told):
    offer(folder, "broken", code)
    (tmp_path / "root").mkdir()
    with pytest.raises(DriverError) as caught:
        open_one(folder, "broken", tmp_path / "root")
    assert told in str(caught.value)
    assert "'broken'" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("while True: pass", "cannot be loaded: TimeoutError: no answer within 0.2 seconds"),
        (
            "def open_driver(root, options):\n while True: pass",
            "cannot be opened: TimeoutError: no answer within 0.2 s",
        ),
    ],
)
def test_a_driver_that_is_chosen_and_hangs_is_one_line_too(folder, tmp_path, monkeypatch, code, told):
    monkeypatch.setattr(discovery, "IMPORT_WITHIN", 0.2 if "open" not in code else 60)
    offer(folder, "broken", code)

    def work():
        info = discovery.find("broken", discovery.available([folder]))
        try:
            discovery.open_driver(info, tmp_path, {}, [folder], 0.2)
        except DriverError as error:
            return str(error)

    (answer,) = in_children(60, [work])  # with the thread that is left behind
    assert told in answer


def test_a_name_nobody_has_lists_those_that_are_there():
    with pytest.raises(DriverError, match=r"no storage driver 'zfs'; there are: btrfs, overlay, vfs"):
        discovery.find("zfs", discovery.available())


def test_two_of_one_name_are_an_error_only_when_it_is_chosen(folder):
    offer(folder, "vfs", "", package="impostor")
    infos = discovery.available([folder])
    assert discovery.find("overlay", infos).distribution == "trioker"
    with pytest.raises(DriverError, match="offered more than once, by impostor and trioker"):
        discovery.find("vfs", infos)


def test_a_folder_told_twice_offers_each_once(folder):
    offer(folder, "mine", "")
    link = folder.parent / "link"
    link.symlink_to(folder)
    assert discovery.find("mine", discovery.available([folder, link, folder])).distribution == "stranger-mine"


def test_a_folder_shadows_nothing_of_ours(folder, tmp_path):
    (folder / "trioker_vfs.py").write_text("raise SystemExit")
    (tmp_path / "root").mkdir()
    sys.modules.pop("trioker_vfs", None)
    open_one(folder, "vfs", tmp_path / "root").close()


def test_an_unknown_option_is_named(tmp_path, folder):
    with pytest.raises(DriverError, match=r"'vfs' refuses its options: unknown option 'size'"):
        open_one(folder, "vfs", tmp_path, size="10G")


def test_the_list_says_what_works_and_why_not(folder, tmp_path):
    offer(folder, "broken", "import no_such_module")
    rows = {row.name: row for row in listed(tmp_path / "not" / "made" / "yet", [folder])}
    assert rows["vfs"].works
    assert rows["vfs"].why == ""
    assert not rows["broken"].works
    assert rows["broken"].why == "cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'"
    assert rows["broken"].package == "stranger-broken"
    assert os.listdir(tmp_path) == ["drivers"]


def test_all_are_tried_at_the_same_time(folder, tmp_path):
    """Each waits for the other one."""
    for mine, others in (("one", "two"), ("two", "one")):
        code = f"open({str(tmp_path / mine)!r}, 'w').close()\nwhile not os.path.exists({str(tmp_path / others)!r}): time.sleep(0.01)"
        offer(folder, mine, f"import os, time\n{code}\nfrom trioker_vfs import open_driver")
    (tmp_path / "root").mkdir()
    assert {row.name for row in listed(tmp_path / "root", [folder]) if row.works} >= {"one", "two", "vfs"}


def test_what_is_known_is_told_while_a_later_one_hangs_and_who_has_heard_enough_leaves_nothing(folder, tmp_path):
    offer(folder, "zzz", "import time; time.sleep(3600)")
    (tmp_path / "root").mkdir()
    with closing(list_drivers(tmp_path / "root", discovery.available([folder]), [folder])) as rows:
        assert [next(rows).name for _ in range(3)] == ["btrfs", "overlay", "vfs"]
    assert os.listdir(tmp_path / "root") == []


def test_a_signal_does_its_work_when_all_is_put_away(tmp_path):
    left = []
    before = signal.signal(signal.SIGTERM, lambda *_: left.append(os.listdir(tmp_path)))
    with closing(list_drivers(tmp_path, discovery.available())) as rows:
        next(rows)
        signal.raise_signal(signal.SIGTERM)
        assert list(rows) == []
    signal.signal(signal.SIGTERM, before)
    assert left == [[]]


@pytest.mark.parametrize(
    ("root", "why"),
    [
        ("file", "file: not a directory"),
        ("file/root", "file: not a directory"),
        ("link", "link: a symbolic link to nothing"),
        ("link/root", "link: a symbolic link to nothing"),
        ("loop", "loop: Too many levels of symbolic links"),
        ("/proc/root", "/proc: No such file or directory"),
        ("not/made/" + "x" * 300, ": File name too long"),
    ],
)
def test_a_root_that_cannot_be_is_told_and_nothing_is_made(tmp_path, root, why):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    for row in listed(tmp_path / root):
        assert not row.works
        assert row.why.startswith(f"nothing can be kept in {tmp_path / root}: ")
        assert row.why.endswith(why)
    assert sorted(os.listdir(tmp_path)) == ["file", "link", "loop"]


def test_a_driver_that_closes_the_standard_streams_has_them_filled(folder, tmp_path):
    offer(
        folder,
        "daemonic",
        "import os, trioker_vfs\ndef open_driver(root, options):\n os.close(0)\n return trioker_vfs.Vfs(root)",
    )
    (tmp_path / "root").mkdir()

    def work() -> str:
        open_one(folder, "daemonic", tmp_path / "root").close()
        return str([os.path.exists(f"/proc/self/fd/{fd}") for fd in (0, 1, 2)])

    assert list(in_children(60, [work])) == ["[True, True, True]"]


def test_without_a_choice_the_first_that_works_is_taken(tmp_path):
    infos = [
        DriverInfo("overlay", "trioker", "1", "no_such_module:open_driver"),
        DriverInfo("btrfs", "trioker", "1", "no_such_module:open_driver"),
        DriverInfo("vfs", "trioker", "1", "trioker_vfs:open_driver"),
    ]
    assert discovery.default(tmp_path, infos).name == "vfs"


def test_where_none_works_every_reason_is_told(tmp_path):
    infos = [DriverInfo(name, "trioker", "1", f"no_{name}:open_driver") for name in ("overlay", "btrfs", "vfs")]
    with pytest.raises(DriverError, match=r"no_overlay.*no_btrfs.*no_vfs"):
        discovery.default(tmp_path, infos)


def test_where_nobody_chose_a_stranger_of_one_of_our_names_does_not_matter(folder, tmp_path):
    for name in discovery.PREFERRED:
        offer(folder, name, "raise SystemExit", package=f"impostor-{name}")
    assert discovery.default(tmp_path, discovery.available([folder])).distribution == "trioker"


def test_a_stranger_s_package_does_not_pass_for_ours(folder):
    offer(folder, "vfs", "", package="trioker")
    assert discovery.available([folder]) == discovery.available()


@pytest.mark.parametrize(
    "name", ["../../etc", "a/b", "..", ".hidden", "lock", "driver", "migration", "ümlaut", "x" * 65]
)
def test_a_name_that_is_no_name_of_a_directory_is_listed_and_cannot_be_chosen(folder, tmp_path, name):
    offer(folder, name, "", package="stranger")
    row = next(row for row in listed(tmp_path, [folder]) if row.package == "stranger")
    assert not row.works
    assert "is no name for a driver" in row.why
    with pytest.raises(DriverError, match=r"cannot be used: .* is no name for a driver"):
        discovery.find(name, discovery.available([folder]))


def test_nobody_but_overlay_is_called_overlay2(folder, tmp_path):
    offer(folder, "overlay2", "", package="stranger")
    row = next(row for row in listed(tmp_path, [folder]) if row.package == "stranger")
    assert row.why == "overlay2 is another word for overlay"
    assert discovery.find("overlay2", discovery.available([folder])).distribution == "trioker"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("entry_points.txt", b"[trioker.storage]\nno equals sign\n"),
        ("entry_points.txt", b"\xff\xfe"),
        ("METADATA", b"\xff\xfe\xff"),
    ],
)
def test_broken_metadata_is_told_and_passed_over(folder, caplog, file, content):
    offer(folder, "good", "")
    offer(folder, "bad", "")
    (folder / "stranger_bad-1.5.dist-info" / file).write_bytes(content)
    names = [info.name for info in discovery.available([folder])]
    assert "good" in names
    assert "bad" not in names
    assert f"a package's metadata on {folder} cannot be read" in caplog.text


def test_what_a_package_says_of_itself_does_not_command_the_terminal(folder):
    offer(folder, "mine", "")
    (folder / "stranger_mine-1.5.dist-info/METADATA").write_text("Name: \x1b[2Jred\nVersion: \x1b[0m\n")
    info = discovery.find("mine", discovery.available([folder]))
    assert (info.distribution, info.version) == ("?[2Jred", "?[0m")


def test_a_package_without_a_name_or_metadata_offers_nothing(folder):
    (folder / "empty-1.dist-info").mkdir()
    (folder / "nameless-1.dist-info").mkdir()
    (folder / "nameless-1.dist-info" / "entry_points.txt").write_text("[trioker.storage]\nmine = a:b\n")
    assert discovery.available([folder]) == discovery.available()


def test_a_folder_that_others_may_write_is_told_and_nothing_in_it_is_run(folder, tmp_path, caplog):
    offer(folder, "mine", "raise SystemExit('run')")
    folder.chmod(0o777)
    with pytest.raises(
        DriverError, match=r"'mine' of stranger-mine cannot be used: others than root may write .*drivers"
    ):
        open_one(folder, "mine", tmp_path)
    assert f"no storage driver of --driver-dir {folder} will run" in caplog.text
    assert str(folder) not in sys.path
    (tmp_path / "root").mkdir()
    open_one(folder, "vfs", tmp_path / "root").close()
    assert str(folder) not in sys.path


def test_a_folder_that_is_not_there_is_told_and_harms_nobody(tmp_path, caplog):
    missing = tmp_path / "missing"
    assert discovery.available([missing]) == discovery.available()
    assert f"{missing} cannot be read: No such file or directory" in caplog.text


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import os; os._exit(7)", "it ended the process, status 7"),
        ("import os; os.kill(os.getpid(), 9)", "it ended the process, status -9"),
        ("import time; time.sleep(600)", "cannot be loaded: TimeoutError: no answer within 1 seconds"),
        ("def open_driver(root, options):\n while True: pass", "cannot be opened: TimeoutError"),
        ("raise SystemExit('out')", "cannot be loaded: SystemExit: out"),
    ],
)
def test_the_list_comes_to_its_end_whatever_a_stranger_does(folder, tmp_path, monkeypatch, code, why):
    monkeypatch.setattr(discovery, "IMPORT_WITHIN", 1 if "time" in code else 60)
    monkeypatch.setattr(discovery, "PROBE_WITHIN", 1 if "while" in code else 60)
    offer(folder, "broken", code)
    (tmp_path / "root").mkdir()
    rows = {row.name: row for row in listed(tmp_path / "root", [folder])}
    assert why in rows["broken"].why
    assert rows["vfs"].works
    assert os.listdir(tmp_path / "root") == []
    assert "stranger_broken" not in sys.modules
