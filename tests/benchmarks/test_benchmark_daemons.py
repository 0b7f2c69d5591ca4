import shutil
import signal
import socket
import sys

import pytest

from benchmarks import registry
from benchmarks.layered import LAYERS, layered
from benchmarks.processes import limited, running


def test_a_daemon_that_ends_early_is_told_with_the_end_of_its_log(tmp_path):
    def answers():
        raise ConnectionRefusedError

    command = [sys.executable, "-c", "print('no such option'); raise SystemExit(2)"]
    with (
        pytest.raises(SystemExit, match=r"(?s)does not answer.*no such option"),
        running(command, answers, tmp_path / "log"),
    ):
        pass


def test_a_daemon_is_stopped_when_it_is_needed_no_more(tmp_path):
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    with running(command, lambda: None, tmp_path / "log") as process:
        assert process.poll() is None
    assert process.poll() is not None


def test_work_that_does_not_end_is_named():
    with (
        pytest.raises(SystemExit, match=r"podman: crowded did not end within 0\.01 seconds"),
        limited(0.01, "podman: crowded"),
    ):
        signal.pause()
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.fixture
def address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.skipif(not (registry.installed() and shutil.which("busybox")), reason="needs docker-registry and busybox")
def test_a_registry_has_the_image_it_was_filled_with_and_is_empty_the_next_time(address):
    with registry.serving(address) as full:
        full.fill("some/name", layered(1, files=4, blob=1000))
        assert full.layers("some/name") == LAYERS
    with registry.serving(address) as empty, pytest.raises(registry.RegistryError, match="404"):
        empty.layers("some/name")
