"""What a container may use, tried by containers that want more. All of it is version 2's."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

from host import daemon
from polling import wait_until

MB = 1 << 20
KILLED = 137
SWAP = Path("/var/lib/swap")
SPIN = "while :; do :; done"


def memory(*, say: Any) -> None:
    """More than the limit is killed and told; less is not."""
    assert _takes(8, Memory=24 * MB) == (0, False)
    assert _takes(48, Memory=24 * MB) == (KILLED, True)


def swap(*, say: Any) -> None:
    """MemorySwap counts both together: nothing said is twice Memory, and -1 is no limit."""
    with SWAP.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 128 * MB)
    SWAP.chmod(0o600)
    for command in (["mkswap", SWAP], ["swapon", SWAP]):
        subprocess.run(command, check=True, capture_output=True)
    try:
        assert _takes(40, Memory=24 * MB) == (0, False)
        assert _takes(64, Memory=24 * MB) == (KILLED, True)
        assert _takes(64, Memory=24 * MB, MemorySwap=-1) == (0, False)
        assert _takes(40, Memory=24 * MB, MemorySwap=24 * MB) == (KILLED, True)
    finally:
        subprocess.run(["swapoff", SWAP], check=True)
        SWAP.unlink()


def processes(*, say: Any) -> float:
    """A fork bomb ends at the limit, which is lowered here as there is little memory; the daemon answers, and kills it. Returns the seconds
    that the answer took."""
    api = daemon().api
    bomb = api.create("sh", "-c", "read go; (while :; do sleep 1000 & done); exec sleep 1000", OpenStdin=True)
    api.start(bomb)
    group = _group(bomb)
    assert 0 < int((group / "pids.max").read_text()) <= 4096
    (group / "pids.max").write_text("100")
    with api.attach(bomb, "stream=1&stdin=1") as attached:
        attached.send(b"\n")
    wait_until(lambda: "max 0" not in (group / "pids.events").read_text(), "a fork that was refused")
    begin = time.monotonic()
    api.ok("GET", "/containers/json")
    answered = time.monotonic() - begin
    assert int((group / "pids.current").read_text()) <= 100
    wait_until(lambda: b"can't fork" in api.logs(bomb), "the shell's word of it")
    api.ok("POST", f"/containers/{bomb}/kill")
    assert api.wait(bomb) == KILLED
    api.remove(bomb)
    wait_until(lambda: not group.exists(), "the group's end")
    return answered


def processor(*, say: Any) -> float:
    """Of two on one processor that both want all, the one with more shares gets more. Returns how many times as much: 1 is no rule at all."""
    api = daemon().api
    shares = (4096, 256)  # of weight 278 and 36: nearly 8 to 1
    spinning = [api.create("sh", "-c", SPIN, CpuShares=each) for each in shares]
    for each in spinning:
        api.start(each)
        os.sched_setaffinity(api.inspect(each)["State"]["Pid"], {1})
    begin = [_used(each) for each in spinning]
    wait_until(lambda: sum(map(_used, spinning)) > sum(begin) + 3.0, "three seconds of work")
    more, less = (_used(each) - first for each, first in zip(spinning, begin, strict=True))
    for each in spinning:
        api.remove(each)
    assert more > 3 * less, (more, less)
    return more / less


def devices(*, say: Any) -> str:
    """A program of the kernel's (eBPF) stands before each device: a container may make any node and open few."""
    disk = os.stat("/dev/vda").st_rdev
    script = f"""
        mknod /disk b {os.major(disk)} {os.minor(disk)} && dd if=/disk of=/dev/null bs=512 count=1 2>&1
        mknod /log c 1 11 && cat /log 2>&1; mknod /memory c 1 1 && cat /memory 2>&1
        mknod /nothing c 1 3 && echo gone > /nothing && mknod /zero c 1 5 && head -c 4 /zero | od -An -tx1
    """
    code, output = daemon().api.run("sh", "-c", script)
    text = output.decode()
    assert code == 0, text
    for name in ("disk", "log", "memory"):
        assert f"can't open '/{name}': Operation not permitted" in text, text
    assert " 00 00 00 00" in text, text
    return text


def _takes(megabytes: int, **config: int) -> tuple[int, bool]:
    """Exit code of a container that takes this much memory for a moment, and whether it was killed for lack of it."""
    api = daemon().api
    with api.container("dd", "if=/dev/zero", "of=/dev/null", f"bs={megabytes}M", "count=1", **config) as container:
        return api.wait(container), api.inspect(container)["State"]["OOMKilled"]


def _group(container: str) -> Path:
    (found,) = Path("/sys/fs/cgroup/trioker").glob(f"{container}*")
    return found


def _used(container: str) -> float:
    """Seconds of a processor."""
    usage = (_group(container) / "cpu.stat").read_text().split()[1]
    return int(usage) / 1e6
