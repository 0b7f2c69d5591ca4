"""An image with which a container can try anything: busybox, and this very Python with what ``inside`` imports and not a file more."""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import inside
from busybox import busybox_tar

from trioker.linux import seccomp
from trioker.linux.syscall_table import numbers

_HOME = "/attack"
_LIST_FILES = f"""
import sys; sys.path.insert(0, {os.path.dirname(inside.__file__)!r}); import inside
for module in list(sys.modules.values()):
    spec = getattr(module, "__spec__", None)
    for path in (getattr(spec, "origin", None), getattr(spec, "cached", None)):
        print(path or "")
"""


@cache
def attacker_tar() -> bytes:
    """The image. About 12 MB."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(busybox_tar())) as base, tarfile.open(fileobj=stream, mode="w") as tar:
        for entry in base:
            tar.addfile(entry, base.extractfile(entry) if entry.isreg() else None)
        for path in sorted(_python_files()):
            tar.add(
                os.path.realpath(path), path, recursive=False
            )  # with its times: a .pyc is checked against its source's
        tar.add(inside.__file__, f"{_HOME}/inside.py", recursive=False)
    return stream.getvalue()


def command(expressions: Mapping[str, str]) -> list[str]:
    """What a container runs to try these (see ``inside``), each by its name."""
    table = numbers(seccomp.arch())
    return python(
        f"import sys; sys.path.insert(0, {_HOME!r}); from inside import main; main({dict(expressions)!r}, {json.dumps(table)})"
    )


def python(code: str) -> list[str]:
    """What a container runs to execute this code, which may import what ``inside`` does."""
    return ["/bin/env", f"PYTHONHOME={sys.base_prefix}", _python(), "-S", "-B", "-c", code]


def answers(output: str) -> dict[str, str]:
    """What came of each."""
    return dict(line.split(": ", 1) for line in output.splitlines() if ": " in line)


def _python() -> str:
    return os.path.realpath(sys.executable)


def _python_files() -> set[str]:
    listed = subprocess.check_output([_python(), "-I", "-S", "-c", _LIST_FILES], text=True).split("\n")
    ours = os.path.dirname(inside.__file__)
    files = {each for each in listed if os.path.isabs(each) and Path(each).is_file() and not each.startswith(ours)}
    for binary in (_python(), *(each for each in files if each.endswith(".so"))):
        files |= _libraries(binary)
    landmark = os.path.join(sys.base_prefix, "lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "os.py")
    return files | {_python(), landmark}


def _libraries(binary: str) -> set[str]:
    """Shared objects by the paths the loader looks for them, the loader among them."""
    listed = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"(/\S+) \(0x", listed))
