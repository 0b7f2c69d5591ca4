"""Strangers' drivers that are broken: they harm nobody who did not choose them, and nobody's daemon who did."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from api_client import Api, dial
from busybox import busybox_tar
from daemon import Daemon, running_daemon
from polling import wait_until

pytestmark = pytest.mark.root

BROKEN = {
    "import-error": "import no_such_module",
    "syntax-error": "syntax error",
    "exits": "raise SystemExit('out')",
    "kills": "import os; os._exit(0)",
    "hangs": "while True: pass",
    "prints": "print('noise')",
    "overlay": "raise SystemExit('an impostor')",
    "../../etc": "raise SystemExit('a name with slashes')",
}

MOODY = """
import itertools, os, time
from pathlib import Path
from trioker.storage.driver import Change, Kind
from trioker_vfs import Vfs

class Moody(Vfs):
    '''Fails as a file beside its directory says.'''

    def _mood(self):
        return Path(self._root, "../mood").read_text()

    def create(self, key, parent):
        match self._mood():
            case "create raises": raise RuntimeError("no mood")
            case "create exits": raise SystemExit(3)
            case "create fails": raise OSError(5, "Input/output error")
        super().create(key, parent)

    def mounts(self, key, *, readonly):
        return ["/", None] if self._mood() == "mounts is nonsense" else super().mounts(key, readonly=readonly)

    def changes(self, key):
        if self._mood() == "changes repeats":
            return itertools.repeat(Change("/again", Kind.ADDED))
        if self._mood() == "changes hangs":
            Path(self._root, "../hanging").touch()
            time.sleep(3600)
        return super().changes(key)

    def usage(self, key):
        return "much" if self._mood() == "usage is nonsense" else super().usage(key)

def open_driver(root, options):
    (root / "../mood").touch()
    return Moody(root)
"""


def offer(folder: Path, name: str, code: str) -> None:
    """A stranger's package: a module and its metadata."""
    module = "".join(each if each.isalnum() else "_" for each in f"stranger_{name}")
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.5.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(f"[trioker.storage]\n{name} = {module}:open_driver\n")


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "drivers"
    folder.mkdir()
    return folder


def test_broken_strangers_stop_no_daemon_that_did_not_choose_them(pyz, folder, tmp_path):
    for name, code in BROKEN.items():
        offer(folder, name, code)
    (folder / "torn-1.dist-info").mkdir()
    (folder / "torn-1.dist-info/METADATA").write_bytes(b"\xff\xfe")
    (tmp_path / "daemon").mkdir()
    flags = ("--driver-dir", str(folder), "--driver-dir", "/no/such/folder")
    with running_daemon(pyz, tmp_path / "daemon", *flags) as daemon:
        daemon.api.import_image(busybox_tar(), "base")
        assert daemon.api.run("cat", "/etc/motd")[0] == 0
        daemon.stop()
        daemon.start()  # now the driver is the one on record
        assert daemon.api.run("cat", "/etc/motd")[0] == 0


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "import-error",
            "storage driver 'import-error' of stranger_import_error cannot be loaded: ModuleNotFoundError: No module named",
        ),
        ("exits", "storage driver 'exits' of stranger_exits cannot be loaded: SystemExit: out"),
        ("overlay", "storage driver 'overlay' is offered more than once, by stranger_overlay and trioker: remove one"),
        (
            "../../etc",
            "storage driver '../../etc' of stranger_______etc cannot be used: '../../etc' is no name for a driver",
        ),
        ("nobody-s", "no storage driver 'nobody-s'; there are: "),
    ],
)
def test_one_that_is_chosen_is_one_line_and_the_end(pyz, folder, tmp_path, name, told):
    if name in BROKEN:
        offer(folder, name, BROKEN[name])
    places = ("-g", tmp_path / "root", "--exec-root", tmp_path / "exec", "-H", f"unix://{tmp_path}/sock", "-b", "none")
    command = [sys.executable, pyz, "-d", *places, "--driver-dir", folder, "-s", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"CRITICAL trioker: {told}" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not os.path.exists(tmp_path / "sock")


def mood(daemon: Daemon, text: str) -> None:
    (daemon.root / "storage/mood").write_text(text)


def refusal(api: Api, method: str, path: str, body: object = None) -> str:
    answer = api.call(method, path, body)
    assert answer.status == 500, answer
    assert api.call("GET", "/version").status == 200
    return answer.text


def test_one_that_fails_later_is_told_by_name_and_the_daemon_goes_on(pyz, folder, tmp_path):
    offer(folder, "moody", MOODY)
    (tmp_path / "daemon").mkdir()
    with running_daemon(pyz, tmp_path / "daemon", "--driver-dir", str(folder), "-s", "moody") as daemon:
        api = daemon.api
        api.import_image(busybox_tar(), "base")
        container = api.create("true")
        create = ("POST", "/containers/create", {"Image": "base", "Cmd": ["true"]})
        changes = ("GET", f"/containers/{container}/changes")
        for text, request, told in (
            ("create raises", create, "failed in create(): RuntimeError: no mood"),
            ("create exits", create, "failed in create(): SystemExit: 3"),
            ("create fails", create, "failed in create(): OSError: [Errno 5] Input/output error"),
            (
                "mounts is nonsense",
                ("POST", f"/containers/{container}/start"),
                "failed in mounts(): TypeError: no mounts: ('/'",
            ),
            ("changes repeats", changes, "failed in changes(): OverflowError: they do not end after 4,000,000"),
            ("usage is nonsense", ("GET", "/system/df"), "failed in usage(): ValueError"),
        ):
            mood(daemon, text)
            assert f"storage driver 'moody' {told}" in refusal(api, *request)
        mood(daemon, "")
        assert api.run("cat", "/etc/motd")[0] == 0
        assert len(api.ok("GET", "/containers/json?all=1")) == 1


def test_one_that_hangs_later_holds_up_neither_others_nor_the_end(pyz, folder, tmp_path):
    offer(folder, "moody", MOODY)
    (tmp_path / "daemon").mkdir()
    with running_daemon(pyz, tmp_path / "daemon", "--driver-dir", str(folder), "-s", "moody") as daemon:
        api = daemon.api
        api.import_image(busybox_tar(), "base")
        containers = [api.create("true") for _ in range(2)]
        mood(daemon, "changes hangs")
        for _ in range(10):  # more than there are threads
            hang(daemon, containers[0]).close()
        with hang(daemon, containers[1]):
            assert api.run("cat", "/etc/motd")[0] == 0
            api.remove(containers[0])
            assert daemon.stop() == 0
        daemon.start()


def hang(daemon: Daemon, container: str) -> socket.socket:
    """A client whose request has reached a call that hangs."""
    client = dial(daemon.api.address)
    client.sendall(f"GET /containers/{container}/changes HTTP/1.1\r\nHost: \r\n\r\n".encode())
    sign = daemon.root / "storage/hanging"
    wait_until(sign.exists, "a call that hangs")
    sign.unlink()
    return client
