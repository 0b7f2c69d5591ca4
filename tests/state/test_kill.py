import os
import sys
from pathlib import Path

import trio


async def test_nothing_acknowledged_is_lost_when_the_daemon_is_killed(tmp_path):
    root = Path(__file__).parents[2]
    with trio.fail_after(300):
        done = await trio.run_process(
            [sys.executable, str(Path(__file__).with_name("kill_rounds.py")), str(tmp_path / "state.db")],
            env=os.environ | {"PYTHONPATH": str(root)},
            capture_stderr=True,
            check=False,
        )
    assert (done.returncode, done.stderr.decode()) == (0, "")
