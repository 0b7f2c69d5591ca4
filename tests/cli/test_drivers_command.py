"""``drivers`` where strangers' drivers hang."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from polling import PATIENCE, wait_until

PROJECT = Path(__file__).parent.parent.parent
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
HANGS = """
import os, sys, time
print("noise"), os.write(1, b"noise"), os.write(2, b"noise")
with open({sign!r} + "~", "w") as file:
    file.write(str(os.getpid()))
os.rename({sign!r} + "~", {sign!r})
time.sleep(3600)
"""


@pytest.fixture
def places(tmp_path):
    """A ROOT, a folder of drivers and one for what they say."""
    usual = os.umask(0o022)  # nobody else may write there
    for name in ("root", "drivers", "signs"):
        (tmp_path / name).mkdir()
    yield tmp_path
    os.umask(usual)


def offer(places, name, code):
    """A stranger's driver."""
    info = places / "drivers" / f"{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[trioker.storage]\n{name} = {name}:open_driver\n")
    (places / "drivers" / f"{name}.py").write_text(code.format(sign=str(places / "signs" / name)))


def start(places):
    """The command, which signals end even where they are ignored here."""
    arguments = ["drivers", "-g", str(places / "root"), "--driver-dir", str(places / "drivers")]
    return subprocess.Popen(
        [sys.executable, "-m", "trioker", *arguments],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: [signal.signal(each, signal.SIG_DFL) for each in STATUS],  # noqa: PLW1509
    )


def signs(places):
    """Of those that hang."""
    return [path for path in (places / "signs").iterdir() if not path.name.endswith("~")]


@pytest.mark.parametrize("number", STATUS)
def test_a_signal_ends_it_at_once_whoever_hangs(places, number):
    names = [f"hangs{each}" for each in range(5)]
    for name in names:
        offer(places, name, HANGS)
    with start(places) as listing:
        wait_until(lambda: len(signs(places)) == len(names), "all of them at the same time")
        listing.send_signal(number)
        told, errors = listing.communicate(timeout=PATIENCE / 4)
    assert (listing.returncode, errors) == (STATUS[number], "")
    assert {line.split()[0] for line in told.splitlines()} <= {"NAME", "btrfs"}
    assert os.listdir(places / "root") == []
    assert not [path for path in signs(places) if os.path.exists(f"/proc/{path.read_text()}")]


def test_what_is_known_is_told_while_a_later_one_hangs(places):
    offer(places, "zzz", HANGS)
    with start(places) as listing:
        lines = [listing.stdout.readline().split() for _ in range(4)]
        listing.terminate()
    assert [line[0] for line in lines] == ["NAME", "btrfs", "overlay", "vfs"]
    assert lines[3][1] == "trioker"


def test_who_hangs_is_gone_when_it_is_killed(places):
    offer(places, "hangs", HANGS)
    with start(places) as listing:
        (sign,) = wait_until(lambda: signs(places), "one that hangs")
        pidfd = os.pidfd_open(int(sign.read_text()))
        listing.kill()
    with os.fdopen(pidfd) as hanging:
        assert select.select([hanging], [], [], PATIENCE / 4)[0]  # half of what it is given for being imported
