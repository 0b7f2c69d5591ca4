"""An image's tree with programs of the host beside busybox, for what busybox cannot do."""

import io
import os
import re
import shutil
import subprocess
import tarfile

from busybox import busybox_tar


def tar_with_host_tools(*names: str) -> bytes:
    """Busybox's tree with these of the host's programs in /bin and the libraries they load where the host has them."""
    buffer = io.BytesIO(busybox_tar())
    buffer.seek(0)
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        for name in names:
            program = shutil.which(name)
            assert program, f"the host has no {name}"
            tar.add(_real(program), f"bin/{name}")
            for library in _libraries(program):
                tar.add(_real(library), library.lstrip("/"))
    return buffer.getvalue()


def _libraries(program: str) -> list[str]:
    listing = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return re.findall(r"(/\S+) \(0x", listing)


def _real(path: str) -> str:
    return os.path.realpath(path)
