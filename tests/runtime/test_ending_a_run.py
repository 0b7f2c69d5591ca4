import os
import resource
import signal
import subprocess

import pytest

from trioker.linux.pidfd import process_start_time
from trioker.runtime.runtime import _end_run

MANY = 1100  # more descriptors than select(2) can name


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(MANY)]
    yield
    for fd in opened:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_run_whose_monitor_is_gone_is_ended_however_many_descriptors_are_open(many_descriptors):
    with subprocess.Popen(["sleep", "100"]) as left:
        _end_run({"pid": left.pid, "pid_start": process_start_time(left.pid), "cgroups": []})
        assert left.wait(5) == -signal.SIGKILL


def test_a_process_that_only_got_the_number_later_is_spared():
    with subprocess.Popen(["sleep", "100"]) as other:
        _end_run({"pid": other.pid, "pid_start": process_start_time(other.pid) + 1, "cgroups": []})
        assert other.poll() is None
        other.kill()
