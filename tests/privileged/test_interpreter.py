"""CVE-2019-5736: a container must not reach the host's interpreter, which runs its monitor, in a way that changes it."""

import contextlib
import errno
import io
import os
import struct
import tarfile
from pathlib import Path

import pytest
from busybox import busybox_tar
from daemon import processes, running_daemon

pytestmark = pytest.mark.root

# Opens /proc/self/exe, changes its mode to what it is anyway (0755), and exits with the error number.
ATTACK = bytes.fromhex(
    "b802000000 488d3d21000000 31f6 0f05"  # open(path, O_RDONLY)
    "89c7 b85b000000 beed010000 0f05"  # fchmod(fd, 0755)
    "f7d8 89c7 b83c000000 0f05"  # exit(-result)
).ljust(0x2D, b"\x90")


def loader() -> bytes:
    """A static program for x86-64 in the place of the image's ELF interpreter."""
    path = b"/proc/self/exe\0"
    lea_ends, code_begins = 12, 64 + 56
    code = bytearray(ATTACK)
    code[8:12] = struct.pack("<i", len(code) - lea_ends)
    body = bytes(code) + path
    size = code_begins + len(body)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = ident + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, code_begins, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, size, size, 0x1000) + body


def image() -> bytes:
    """Busybox, with that loader where Debian's python looks for its own."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(busybox_tar())) as base, tarfile.open(fileobj=stream, mode="w") as tar:
        for entry in base:
            tar.addfile(entry, base.extractfile(entry) if entry.isreg() else None)
        for path in ("lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1"):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(loader()), 0o755
            tar.addfile(entry, io.BytesIO(loader()))
    return stream.getvalue()


@pytest.fixture(scope="module")
def daemon(pyz: Path, tmp_path_factory: pytest.TempPathFactory):
    with running_daemon(pyz, tmp_path_factory.mktemp("interpreter")) as daemon:
        daemon.api.import_image(image(), "evil")
        yield daemon


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the attacking program is x86-64 code")
def test_a_container_that_executes_our_interpreter_cannot_change_it(daemon):
    with daemon.api.container("/proc/self/exe", image="evil") as container:
        assert daemon.api.wait(container) == errno.EROFS


def test_every_process_of_the_launcher_runs_from_a_read_only_mount(daemon):
    with daemon.api.container("sleep", "100", image="evil"):
        checked = set()
        for pid, name in processes(daemon).items():
            # A process between the monitor and its init ends at once, perhaps before we have looked at it.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if pid != daemon.pid:
                    check_executable(f"/proc/{pid}/exe")
                    checked.add(name)
        assert {"trioker-launch", "trioker-monitor"} <= checked


def check_executable(path: str) -> None:
    assert os.statvfs(path).f_flag & os.ST_RDONLY
    for change in (lambda: os.chmod(path, 0o755), lambda: os.close(os.open(path, os.O_WRONLY))):
        with pytest.raises(
            OSError, match=r"Read-only file system|Text file busy|No such file|No such process"
        ) as refused:
            change()
        if isinstance(refused.value, FileNotFoundError | ProcessLookupError):
            raise refused.value
