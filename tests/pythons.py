"""The Pythons of this machine."""

import functools
import os
import shutil
import subprocess
from pathlib import Path

SUPPORTED = ((3, 11), (3, 14))
_ASK = "import sys; print(sys.version_info[0], sys.version_info[1], sys.executable)"


@functools.cache
def found() -> dict[tuple[int, int], str]:
    """One interpreter by version, of those in PATH, in the system's folder and in pyenv's, that really run."""
    named = (shutil.which(f"python3.{minor}", path=f"/usr/bin:{os.environ['PATH']}") for minor in range(6, 20))
    candidates = [*filter(None, named), *sorted(Path.home().glob(".pyenv/versions/*/bin/python3"))]
    answers = filter(None, map(_version, reversed(candidates)))  # of one version, the first counts
    return {(major, minor): executable for major, minor, executable in answers}


def supported() -> list[str]:
    """Those trioker runs on."""
    return [path for version, path in sorted(found().items()) if SUPPORTED[0] <= version <= SUPPORTED[1]]


def too_old() -> list[str]:
    """Those it refuses."""
    return [path for version, path in sorted(found().items()) if version < SUPPORTED[0]]


def _version(candidate) -> tuple[int, int, str] | None:
    done = subprocess.run([candidate, "-c", _ASK], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        return None  # a shim of pyenv for a version that is not chosen
    major, minor, executable = done.stdout.split()
    return int(major), int(minor), executable
