"""The file at work on every Python of this machine: the demo is a container's whole life, and itself checks that nothing is left."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import pythons

pytestmark = pytest.mark.root

DEMO = Path(__file__).parent.parent.parent / "zipapp" / "demo.py"
TOOLS = ("sh", "bash", "cat", "echo", "ls", "mkdir", "rm", "id", "hostname", "uname", "ldd")


def demo(python, pyz, **environment):
    done = subprocess.run(
        [python, DEMO, pyz], capture_output=True, text=True, timeout=120, env=environment, cwd="/", check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing is left" in done.stdout


@pytest.mark.parametrize("python", pythons.supported())
def test_a_container_lives_on_each_python_without_an_environment(pyz, python):
    demo(python, pyz, PATH="/usr/bin:/bin")


def test_a_container_lives_on_a_host_without_busybox(pyz, tmp_path):
    for name in TOOLS:
        os.symlink(shutil.which(name), tmp_path / name)
    demo(pythons.supported()[0], pyz, PATH=str(tmp_path))
