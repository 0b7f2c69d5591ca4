"""Strangers' drivers that are broken: they harm nobody who did not choose them, and nobody's daemon who did."""

import contextlib
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from api_client import Api, dial
from busybox import busybox_tar
from daemon import STOPS_WITHIN, Daemon, running_daemon
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
import os, sys, threading, time
from pathlib import Path
from trioker_vfs import Vfs

class Moody(Vfs):
    '''Fails as a file beside its directory says.'''

    def _mood(self):
        return Path(self._root, "../mood").read_text()

    def _hang(self, method):
        if self._mood() == f"{method} hangs":
            Path(self._root, "../hanging").touch()
            time.sleep(3600)

    def create(self, key, parent):
        self._hang("create")
        match self._mood():
            case "create raises": raise RuntimeError("no mood")
            case "create exits": raise SystemExit(3)
            case "create fails": raise OSError(5, "Input/output error")
        super().create(key, parent)

    def remove(self, key):
        self._hang("remove")
        super().remove(key)

    def keys(self):
        self._hang("keys")
        return super().keys()

    def close(self):
        self._hang("close")

    def mounts(self, key, *, readonly):
        self._hang("mounts")
        return ["/", None] if self._mood() == "mounts is nonsense" else super().mounts(key, readonly=readonly)

    def changes(self, key):
        if self._mood() == "changes is nonsense":
            return ["/again"]
        self._hang("changes")
        return super().changes(key)

    def usage(self, key):
        return "much" if self._mood() == "usage is nonsense" else super().usage(key)

def open_driver(root, options):
    (root / "../mood").touch()
    driver = Moody(root)
    driver._hang("open")
    if driver._mood() == "careless":
        threading.Thread(target=time.sleep, args=(3600,)).start()
        sys.stderr.close()
        os.umask(0)
    return driver
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


@pytest.fixture
def moody(pyz, folder, tmp_path):
    """What a daemon with the driver of that name is started by."""
    offer(folder, "moody", MOODY)
    (tmp_path / "daemon/root/storage").mkdir(parents=True)
    return pyz, tmp_path / "daemon", "--driver-dir", str(folder), "-s", "moody"


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


def test_one_that_fails_later_is_told_by_name_and_the_daemon_goes_on(moody):
    with running_daemon(*moody) as daemon:
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
            ("changes is nonsense", changes, "failed in changes(): ValueError: too many values"),
            ("usage is nonsense", ("GET", "/system/df"), "failed in usage(): ValueError"),
        ):
            mood(daemon, text)
            assert f"storage driver 'moody' {told}" in refusal(api, *request)
        mood(daemon, "")
        assert api.run("cat", "/etc/motd")[0] == 0
        assert len(api.ok("GET", "/containers/json?all=1")) == 1


def test_one_that_hangs_later_holds_up_neither_others_nor_the_end(moody):
    with running_daemon(*moody) as daemon:
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
    return hang_in(daemon, f"GET /containers/{container}/changes HTTP/1.1\r\nHost: \r\n\r\n")


def hang_in(daemon: Daemon, request: str) -> socket.socket:
    client = dial(daemon.api.address)
    client.sendall(request.encode())
    wait_until_it_hangs(daemon)
    return client


def wait_until_it_hangs(daemon: Daemon) -> None:
    sign = daemon.root / "storage/hanging"
    wait_until(sign.exists, "a call that hangs")
    sign.unlink()


def test_what_hangs_and_has_to_be_finished_is_left_at_the_end_and_the_next_start_finds_its_way(moody):
    with running_daemon(*moody) as daemon:
        api = daemon.api
        api.import_image(busybox_tar(), "base")
        kept, removed = (api.create("true") for _ in range(2))
        body = '{"Image": "base", "Cmd": ["true"]}'
        requests = {
            "create": f"POST /containers/create HTTP/1.1\r\nHost: \r\nContent-Length: {len(body)}\r\n\r\n{body}",
            "mounts": f"POST /containers/{kept}/start HTTP/1.1\r\nHost: \r\nContent-Length: 0\r\n\r\n",
            "remove": f"DELETE /containers/{removed} HTTP/1.1\r\nHost: \r\n\r\n",
        }
        with contextlib.ExitStack() as clients:
            for method, request in requests.items():
                mood(daemon, f"{method} hangs")
                clients.enter_context(hang_in(daemon, request))
                assert api.call("GET", "/version").status == 200
            assert daemon.stop() == 0
        mood(daemon, "")
        daemon.start()
        assert api.run("cat", "/etc/motd")[0] == 0
        assert {row["Id"][:12] for row in api.ok("GET", "/containers/json?all=1")} == {kept}
        assert len(os.listdir(daemon.root / "storage/moody")) == 2  # the image's, and one container's


@pytest.mark.parametrize("method", ["open", "keys"])
def test_one_that_hangs_at_the_start_is_left_when_the_daemon_is_told_to_stop(moody, method):
    daemon = Daemon(*moody)
    mood(daemon, f"{method} hangs")
    with daemon.log.open("ab") as log:
        process = subprocess.Popen(daemon.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_until_it_hangs(daemon)
        process.terminate()
        assert process.wait(STOPS_WITHIN) == 0, daemon.log_text()
    finally:
        process.kill()
        process.wait()


def test_one_that_is_careless_with_its_process_changes_nothing_for_the_daemon(moody, tmp_path):
    (tmp_path / "daemon/root/storage/mood").write_text("careless")
    with running_daemon(*moody) as daemon:
        status = Path(f"/proc/{daemon.pid}/status").read_text()
        assert int(re.search(r"^Umask:\s*(\d+)", status, re.MULTILINE)[1], 8) & 0o022 == 0o022
        daemon.api.import_image(busybox_tar(), "base")
        assert daemon.api.run("cat", "/etc/motd")[0] == 0
        assert daemon.stop() == 0
        assert "SIGTERM: stopping" in daemon.log_text()
        daemon.start()


def test_a_list_that_is_cut_short_leaves_neither_files_nor_processes(pyz, folder, tmp_path):
    sign = folder / "sign"
    code = f"import os\nopen('{sign}~', 'w').write(str(os.getpid()))\nos.rename('{sign}~', '{sign}')\nwhile True: pass"
    offer(folder, "hangs", code)
    (tmp_path / "root").mkdir()
    command = [sys.executable, pyz, "drivers", "-g", tmp_path / "root", "--driver-dir", folder]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as listing:
        wait_until(sign.exists, "a driver that hangs")
        listing.terminate()
        assert listing.wait(STOPS_WITHIN) == 143
    assert os.listdir(tmp_path / "root") == []
    assert not os.path.exists(f"/proc/{sign.read_text()}")
