import json

from trioker.launcher.spec import LaunchSpec
from trioker.linux.mounts import Mount
from trioker.model.container import DEFAULT_PATH, Config
from trioker.model.run import Bind, LogPolicy, Run
from trioker.runtime.spec import Place, environment, launch_spec, throttle_counters

PLACE = Place("/run/t/run", "/run/t/root", "trioker", {"nofile": [1024, 4096]}, pids_limit=77)


def test_the_environment_is_a_few_defaults_and_the_users_own_with_the_later_one_winning():
    assert environment(False, "/", ()) == ["HOME=/", f"PATH={DEFAULT_PATH}"]
    assert environment(True, "/", ())[0] == "TERM=xterm"
    assert environment(False, "/", ("A=1", "PATH=/bin", "A=2", "K")) == ["HOME=/", "PATH=/bin", "A=2", "K="]
    assert environment(False, "/", ("X=a=b",))[-1] == "X=a=b"


def test_a_home_nobody_names_is_left_to_the_launcher():
    assert environment(False, "", ()) == [f"PATH={DEFAULT_PATH}"]
    assert "HOME=/mine" in environment(False, "", ("HOME=/mine",))


def test_a_run_becomes_a_spec_that_survives_the_way_through_json():
    config = Config(
        command=("sh", "-c", "x"), hostname="h", memory=2**30, cpu_shares=5, tty=True, open_stdin=True, user="www"
    )
    run = Run(
        "f" * 64,
        config,
        (Bind("/etc/resolv.conf", "/etc/resolv.conf", readonly=True),),
        "/logs",
        LogPolicy(10, 2),
        attached=True,
    )
    mounts = (Mount("overlay", "overlay", data="lowerdir=l", directory="/o"),)
    spec = LaunchSpec.from_json(json.loads(json.dumps(launch_spec(run, mounts, PLACE))))
    assert spec.run_dir == f"/run/t/run/{run.id}"
    assert spec.mounts == list(mounts)
    assert tuple(spec.binds[0]) == ("/etc/resolv.conf", "/etc/resolv.conf", True)
    assert (spec.argv, spec.user, spec.memory, spec.attached) == (["sh", "-c", "x"], "www", 2**30, True)
    assert (spec.log_dir, spec.log_size, spec.log_files) == ("/logs", 10, 2)
    assert (spec.rlimits, spec.pids_limit) == ({"nofile": [1024, 4096]}, 77)
    assert spec.seccomp
    assert "SYS_ADMIN" not in spec.capabilities


def test_what_processors_tell_of_their_heat_is_masked_where_they_do(tmp_path):
    for name in ("cpu0/thermal_throttle", "cpu11/thermal_throttle", "cpu1", "cpufreq/thermal_throttle"):
        (tmp_path / name).mkdir(parents=True)
    assert throttle_counters(str(tmp_path)) == tuple(f"{tmp_path}/cpu{each}/thermal_throttle" for each in (0, 11))
