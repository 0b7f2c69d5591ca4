"""A build's steps as they really run: their output, their end, and what is left of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from polling import wait_until
from tree_lab import tree_lab

from trioker.model.container import Config
from trioker.model.errors import LaunchFailed
from trioker.model.ids import new_id
from trioker.runtime.runtime import Runtime
from trioker.runtime.spec import Place
from trioker.runtime.zygote import Zygote

pytestmark = pytest.mark.root

PROJECT = Path(__file__).parent.parent.parent


@pytest.fixture(params=["overlay", "vfs"])
async def lab(request, tmp_path):
    async with tree_lab(tmp_path, request.param) as lab:
        yield lab


@pytest.fixture
async def key(lab):
    return await lab.child(await lab.base())


def groups(parent):
    return [each for each in Path("/sys/fs/cgroup").glob(f"*/{parent}/*") if each.is_dir()]


async def test_both_streams_come_in_the_order_they_were_printed(lab, key):
    assert await lab.sh(key, "echo 1; echo 2 >&2; echo 3; echo 4 > /dev/stderr; exit 9") == ("1\n2\n3\n4\n", 9)


async def test_the_entrypoint_runs_in_the_working_directory_as_the_user(lab, key):
    script = "echo $0 $1; pwd; id -un; echo $HOME; cat /etc/resolv.conf | wc -c"
    config = Config(
        entrypoint=("/bin/sh", "-c", script),
        command=("a", "b"),
        working_dir="/made/here",
        user="www",
        env=("PATH=/bin",),
    )
    said = []

    async def say(piece):
        said.append(piece)

    assert await lab.workshop.run(key, config, say, new_id()) == 0
    size = os.path.getsize("/etc/resolv.conf") if os.path.exists("/etc/resolv.conf") else 0
    assert b"".join(said).decode().split("\n")[:-1] == ["a b", "/made/here", "www", "/tmp", str(size)]
    assert (await lab.tree(key))["./made/here"][1:4] == (0o755, 0, 0)


@pytest.mark.parametrize("place", ["/proc/self/fd/7", "/bin/busybox", "/bin/busybox/x"])
async def test_a_working_directory_that_is_none_is_refused(lab, key, place):
    with pytest.raises(LaunchFailed):
        await lab.sh(key, "pwd", working_dir=place)


async def test_a_working_directory_through_links_stays_inside(lab, key):
    await lab.sh(key, "ln -s /../../../made /in; mkdir /made")
    assert await lab.sh(await lab.child(key), "pwd", working_dir="/in/deep") == ("/made/deep\n", 0)
    assert not os.path.exists("/made")


@pytest.mark.parametrize(("command", "code"), [("/nope", 127), ("nope", 127), ("/etc/motd", 126)])
async def test_what_cannot_be_executed_is_said(lab, key, command, code):
    said = []

    async def say(piece):
        said.append(piece)

    assert await lab.workshop.run(key, Config(command=(command,)), say, new_id()) == code
    assert command in b"".join(said).decode()


async def test_a_slow_listener_holds_the_step_back_and_gets_everything(lab, key):
    said = []
    marker = "/done"

    async def say(piece):
        if not said:
            await trio.sleep(0.3)
            tree = await lab.layers.changes(key)
            assert marker not in dict(tree)
        said.append(piece)

    config = Config(command=("/bin/sh", "-c", f"seq 200000; touch {marker}"))
    assert await lab.workshop.run(key, config, say, new_id()) == 0
    assert b"".join(said).split() == [str(each).encode() for each in range(1, 200001)]


async def test_a_step_does_not_wait_for_the_disk_and_nothing_is_lost(lab, key):
    assert await lab.sh(key, "echo x > /file; sync; sync /file; exit 0", env=("PATH=/bin",)) == ("", 0)
    assert (await lab.tree(key))["./file"][5] == b"x\n"
    await lab.layers.settle([key])


async def test_what_a_step_leaves_behind_ends_with_it(lab, key):
    with trio.fail_after(20):
        assert await lab.sh(key, "sleep 1000 & echo $!") != ("", 0)
    assert groups(lab.place.cgroup_parent) == []


async def test_a_cancelled_step_is_killed_at_once(lab, key):
    began = trio.Event()

    async def say(piece):
        began.set()

    async with trio.open_nursery() as nursery:
        config = Config(command=("/bin/sh", "-c", "trap '' TERM; echo; sleep 1000"))
        nursery.start_soon(lab.workshop.run, key, config, say, new_id())
        with trio.fail_after(20):
            await began.wait()
        nursery.cancel_scope.cancel()
    assert os.listdir(lab.place.run_root) == []
    assert groups(lab.place.cgroup_parent) == []


async def test_steps_run_side_by_side(lab, key):
    results = []

    async def one(number):
        layer = await lab.child(key)
        results.append((await lab.sh(layer, f"echo {number}; exit {number}"), number))

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(one, number)
    assert sorted(results, key=lambda each: each[1]) == [((f"{number}\n", number), number) for number in range(8)]


DAEMON = """
import sys, trio, pathlib
sys.path[:0] = {paths!r}
from tree_lab import tree_lab
from trioker.model.container import Config

async def say(piece):
    print(piece.decode().strip(), flush=True)

async def main():
    async with tree_lab(pathlib.Path({path!r}), "overlay") as lab:
        key = await lab.child(await lab.base())
        print(lab.place.cgroup_parent, flush=True)
        await lab.workshop.run(key, Config(command=("/bin/sh", "-c", "echo running; sleep 1000")), say, "e" * 64)

trio.run(main)
"""


async def test_what_a_killed_daemon_was_building_is_ended_by_the_next(tmp_path, nursery):
    paths = [str(PROJECT), str(PROJECT / "drivers"), str(PROJECT / "tests/harness")]
    script = DAEMON.format(paths=paths, path=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as daemon:
        group = daemon.stdout.readline().strip()
        assert daemon.stdout.readline() == "running\n"
        daemon.kill()
    assert os.listdir(tmp_path / "run") == ["e" * 64]
    zygote = Zygote()
    await nursery.start(zygote.supervise)
    runtime = Runtime(zygote, Place(str(tmp_path / "run"), str(tmp_path / "root"), group, {}))
    await runtime.sweep(())
    assert os.listdir(tmp_path / "run") == []
    wait_until(lambda: not groups(group), "no control group")
    for each in Path("/sys/fs/cgroup").glob(f"*/{group}"):
        each.rmdir()
