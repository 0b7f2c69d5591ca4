"""``-s overlay --storage-opt size=`` on a disk with xfs and project quotas."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from build_yard import Yard
from busybox import busybox_tar
from daemon import Daemon, remove_all, traces
from host import PYZ
from polling import wait_until

sys.path.append(str(PYZ))  # where all that follows comes from, or what it needs

from trioker.linux import projects
from trioker_overlay.probe import limit_refusal
from trioker_overlay.quotas import NUMBERS, opened

DISK, PLACE = "/dev/vde", Path("/var/lib/xfs")
MB = 1 << 20
SIZE = 16 * MB
LIMITED = ("-s", "overlay", "--storage-opt", f"size={SIZE}")
WRITE = "dd if=/dev/zero of={0} bs=1M count={1} conv=fsync 2>&1"
FILL = WRITE.format("/big", 2 * SIZE // MB)
FULL = "No space left on device"

_daemons: list[Daemon] = []


def begin(*, say: Any) -> None:
    """Mount the disk and start a daemon on it."""
    PLACE.mkdir()
    mount("prjquota")
    (PLACE / "daemon").mkdir()
    _daemons.append(Daemon(PYZ, PLACE / "daemon", *LIMITED))
    _daemons[0].start()
    _daemons[0].api.import_image(busybox_tar(), "base")


def a_hog(*, say: Any) -> str:
    """A full container is told; it can be started again to make room, committed, read and removed. Its neighbours have rooms of their own."""
    api = _daemons[0].api
    script = f"df -k /; {FILL}; busybox fallocate -l {2 * SIZE} /empty 2>&1; rm /big && {FILL}; echo told"
    with api.container("sh", "-c", script, start=False) as container:
        for _ in range(2):
            api.start(container)
            assert api.wait(container) == 0
        said = api.logs(container).decode()
        assert (said.count(FULL), said.count("told")) == (6, 2), said
        assert f" {SIZE >> 10} " in said, said  # df's
        assert api.run("sh", "-c", WRITE.format("/big", 12))[0] == 0
        api.ok("POST", f"/commit?container={container}&repo=hogs")
        assert api.run("sh", "-c", WRITE.format("/more", 12), image="hogs")[0] == 0
        assert {"Path": "/big", "Kind": 1} in api.ok("GET", f"/containers/{container}/changes")
        assert len(api.ok("GET", f"/containers/{container}/export")) > SIZE // 2
    api.ok("DELETE", "/images/hogs")
    return said


def death(*, say: Any) -> None:
    """A container keeps its limit when the daemon is killed, and under one without ``size=``."""
    here = _daemons[0]
    limited = here.api.create("sh", "-c", f"[ -e /ran ] && {FILL}; touch /ran")
    here.api.start(limited)
    here.kill()
    here.flags = LIMITED[:2]
    here.start()
    here.api.wait(limited)
    here.api.start(limited)
    here.api.wait(limited)
    assert FULL in here.api.logs(limited).decode()
    assert here.api.run("sh", "-c", FILL)[0] == 0
    here.api.remove(limited)


def a_build(*, say: Any) -> str:
    """Each step has the room of a container; image layers have no limit."""
    yard = Yard(_daemons[0].api, "built")
    try:
        yard.build(f"FROM base\nRUN {WRITE.format('/one', 12)}\nCOPY words /", {"words": "some\n"})
        return yard.run("sh", "-c", f"cat /words && {WRITE.format('/two', 12)}")
    finally:
        yard.remove()


def end(*, say: Any) -> list[str]:
    """Nothing is left, and where ``size=`` cannot be kept it is refused with the reason. Returns the refusals."""
    here = _daemons[0]
    ids = remove_all(here.api) | here.api.made
    here.api.ok("DELETE", "/images/base")
    wait_until(lambda: not records(), "the end of all records")
    assert here.stop() == 0, here.log_text()
    assert not (left := traces(here, ids)), left
    assert not limit_refusal(PLACE)
    with opened(str(PLACE / "daemon")) as fd:
        projects.join(fd, 7)
    refusals = [limit_refusal(PLACE / "daemon"), limit_refusal(PLACE.parent)]
    for option in ("noquota", "pqnoenforce"):
        subprocess.run(["umount", PLACE], check=True)
        mount(option)
        refusals.append(limit_refusal(PLACE))
    wait_until(lambda: not records(), "the end of the trial's record")
    subprocess.run(["umount", PLACE], check=True)
    PLACE.rmdir()
    for wanted, refusal in zip(
        ("in project 7", "is on ext4, whose own", "-o prjquota", "pqnoenforce"), refusals, strict=True
    ):
        assert wanted in refusal, refusal
    return refusals


def mount(*options: str) -> None:
    subprocess.run(["mount", "-t", "xfs", "-o", ",".join(options), DISK, PLACE], check=True)


def records() -> dict[int, projects.Record]:
    """What the filesystem knows of our projects."""
    with opened(str(PLACE)) as fd:
        found = {number: projects.record(fd, number) for number in NUMBERS[:64]}
    return {number: record for number, record in found.items() if record}
