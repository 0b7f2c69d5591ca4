"""Containers as the launcher makes them on the real kernel: what they see, whom they run as, how they fail."""

import os
import stat
from pathlib import Path

import pytest
from launcher_lab import Lab
from polling import wait_until

from trioker.launcher.logfile import LogSnapshot
from trioker.linux.mounts import MS_BIND, Mount

pytestmark = pytest.mark.root


@pytest.fixture
def lab(tmp_path):
    before = Path("/proc/self/mountinfo").read_text()
    lab = Lab(tmp_path / "lab")
    yield lab
    lab.close()
    wait_until(lambda: not lab.processes(), "the end of its processes")
    assert Path("/proc/self/mountinfo").read_text() == before
    assert not lab.cgroups()


def log_of(lab, name, *streams):
    snapshot = LogSnapshot(str(lab.path / name / "log"))
    try:
        return b"".join(snapshot.read(streams or (1, 2)))
    finally:
        snapshot.close()


def status_of(lab, name, **changes):
    text, _ = lab.run(name, "cat", "/proc/self/status", **changes)
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


@pytest.mark.parametrize("code", [0, 3, 255])
def test_the_exit_code_is_the_commands_own(lab, code):
    assert lab.run("one", "sh", "-c", f"exit {code}") == ("", code)
    assert lab.record("one")["code"] == code
    assert lab.record("one")["error"] == ""


def test_a_killed_command_ends_with_128_and_the_signal(lab):
    line = lab.launch("one", "sleep", "1000")
    os.kill(line.started["pid"], 9)
    _, last = line.rest()
    assert last["code"] == 137


def test_only_the_record_of_its_end_stays_of_a_run(lab):
    lab.run("one", "true")
    assert os.listdir(lab.path / "one" / "run") == ["exit.json"]
    assert not lab.cgroups()


def test_what_runs_is_written_down_before_it_runs(lab):
    line = lab.launch("one", "sleep", "1000")
    record = lab.record("one", "running.json")
    assert record["pid"] == line.started["pid"]
    assert record["pid_start"] == int(Path(f"/proc/{record['pid']}/stat").read_text().rpartition(")")[2].split()[19])
    assert sorted(record["cgroups"]) == sorted(lab.cgroups())
    assert all(str(record["pid"]) in Path(each, "cgroup.procs").read_text().split() for each in record["cgroups"])


def test_output_goes_to_the_daemon_and_into_the_log(lab):
    output, _ = lab.launch("one", "sh", "-c", "echo out; echo err >&2").rest()
    assert output == {1: b"out\n", 2: b"err\n"}
    assert log_of(lab, "one", 1) == b"out\n"
    assert log_of(lab, "one", 2) == b"err\n"


def test_huge_output_is_whole_and_in_order(lab):
    line = lab.launch("one", "sh", "-c", "seq 1 500000", log_size=2**30)
    output, _ = line.rest()
    assert output[1] == b"".join(b"%d\n" % each for each in range(1, 500001))
    assert log_of(lab, "one") == output[1]


def test_the_command_is_the_first_process_of_its_namespace(lab):
    # A glob, which the shell does itself: it is alone.
    assert lab.sh("one", "echo $$; cd /proc; echo [0-9]*").split() == ["1", "1"]


def test_no_namespace_is_the_hosts(lab):
    names = ("mnt", "pid", "uts", "ipc", "net", "cgroup")
    inside = lab.sh("one", "; ".join(f"readlink /proc/self/ns/{name}" for name in names)).split()
    assert not {os.readlink(f"/proc/self/ns/{name}") for name in names} & set(inside)


def test_the_host_name_and_the_environment_are_those_ordered(lab):
    assert lab.sh("one", "hostname").strip() == "box"
    assert lab.run("two", "env")[0].splitlines() == ["PATH=/bin", "HOME=/", "KIND=test"]


def test_loopback_is_up_and_nothing_else_is_there(lab):
    assert lab.sh("one", "ping -c 1 -W 2 127.0.0.1 >/dev/null && ls /sys/class/net").split() == ["lo"]


def test_the_mount_table_shows_the_containers_own_filesystems_only(lab):
    table = [line.split()[1:3] for line in lab.sh("one", "cat /proc/self/mounts").splitlines()]
    places = dict(table)
    expected = {
        "/proc": "proc",
        "/sys": "sysfs",
        "/dev": "tmpfs",
        "/dev/pts": "devpts",
        "/dev/shm": "tmpfs",
        "/dev/mqueue": "mqueue",
    }
    assert expected.items() <= places.items()
    assert all(place == "/" or place.startswith(("/proc", "/sys", "/dev")) for place in places)


def test_the_kernels_own_is_masked_and_read_only(lab):
    script = """
    for path in /proc/interrupts /proc/keys /proc/timer_list; do test -c $path && test ! -s $path || echo open: $path; done
    for path in /proc/acpi /sys/firmware; do test ! -e $path -o -z "$(ls $path 2>/dev/null)" || echo open: $path; done
    for path in /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/kernel/mm/ksm/run; do
        test ! -e $path || ! (echo x > $path) 2>/dev/null || echo writable: $path
    done
    grep -E ' /proc/(sys|irq|bus) ' /proc/self/mounts | cut -d' ' -f4 | cut -d, -f1 | sort -u
    """
    assert lab.sh("one", script).split() == ["ro"]


def test_devices_are_the_standard_ones(lab):
    nodes = lab.sh("one", "stat -c '%n %F %a' /dev/* | sort").splitlines()
    assert [line for line in nodes if "character" in line] == [
        f"/dev/{name} character special file 666" for name in ("full", "null", "random", "tty", "urandom", "zero")
    ]
    assert lab.sh(
        "two", "echo x > /dev/shm/file; head -c 3 /dev/zero | wc -c; cat /dev/null; readlink /dev/ptmx"
    ).split() == ["3", "pts/ptmx"]


def test_root_has_the_ordered_capabilities_and_can_get_no_more(lab):
    status = status_of(lab, "one", capabilities=["CHOWN", "KILL"])
    assert {status[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {f"{1 << 0 | 1 << 5:016x}"}
    assert {status[name] for name in ("CapInh", "CapAmb")} == {f"{0:016x}"}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_another_user_has_no_capabilities(lab):
    status = status_of(lab, "one", user="bob")
    assert {status[name] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {f"{0:016x}"}


def test_the_filter_is_left_out_when_told_so(lab):
    assert status_of(lab, "one", seccomp=False)["Seccomp"] == "0"


def test_signals_and_umask_are_fresh(lab):
    status = status_of(lab, "one")
    assert {status[name] for name in ("SigBlk", "SigIgn", "SigCgt")} == {f"{0:016x}"}
    assert status["Umask"] == "0022"


def test_nothing_is_open_but_the_standard_streams(lab):
    assert lab.sh("one", "cd /proc/self/fd; echo *").split() == ["0", "1", "2", "3"]  # 3 is the directory itself


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        ("", "uid=0 gid=0 groups=0,10"),
        ("root", "uid=0 gid=0 groups=0,10"),
        ("bob", "uid=1000 gid=1001 groups=1001,50,10"),
        ("1000", "uid=1000 gid=1001 groups=1001,50,10"),
        ("1234", "uid=1234 gid=0 groups=0"),
        ("bob:staff", "uid=1000 gid=50 groups=50"),
        ("7:8", "uid=7 gid=8 groups=8"),
    ],
)
def test_the_user_is_looked_up_in_the_containers_own_files(lab, user, ids):
    text = lab.sh("one", "grep -E '^(Uid|Gid|Groups)' /proc/self/status", user=user)
    found = dict(line.split(":\t") for line in text.splitlines())
    uid, gid, groups = (each.partition("=")[2] for each in ids.split())
    assert (found["Uid"].split()[0], found["Gid"].split()[0]) == (uid, gid)
    assert set(found["Groups"].split()) == set(groups.split(","))


def test_an_unknown_user_is_a_failure_of_that_step(lab):
    failed = lab.fail("one", "true", user="foo")
    assert failed["stage"] == "user"
    assert failed["message"] == "unable to find user foo: no matching entries in passwd file"


@pytest.mark.parametrize("kind", ["fifo", "device", "directory", "descriptor", "endless"])
def test_a_trap_for_the_password_file_is_a_failure_and_no_hang(lab, kind):
    path = lab.root / "etc" / "passwd"
    path.unlink()
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "device":
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
        case "directory":
            path.mkdir()
        case "descriptor":
            path.symlink_to("/proc/self/fd/0")
        case "endless":
            path.touch()
            os.truncate(path, 2**40)
    assert lab.fail("one", "true", user="bob")["stage"] == "user"


def test_the_streams_belong_to_the_user_and_can_be_opened_again(lab):
    assert lab.sh("one", "echo a > /dev/stdout; echo b > /dev/stderr", user="bob") == "a\nb\n"


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["foo"], 127, 'executable file not found in $PATH: "foo"'),
        ([""], 127, 'executable file not found in $PATH: ""'),
        (["/no/such"], 127, "stat /no/such: no such file or directory"),
        (["/etc"], 126, 'exec "/etc": permission denied'),
        (["/etc/passwd"], 126, 'exec "/etc/passwd": permission denied'),
        (["/text"], 126, 'exec "/text": exec format error'),
        (["/lost"], 127, "exec /lost: no such file or directory"),
        ([], 127, "no command specified"),
    ],
)
def test_a_command_that_cannot_be_executed_says_why(lab, argv, code, message):
    for name, text in (("text", "hello"), ("lost", "#!/no/interpreter\n")):
        (lab.root / name).write_text(text)
        (lab.root / name).chmod(0o755)
    failed = lab.fail("one", *argv)
    assert (failed["stage"], failed["exit_code"], failed["message"]) == ("exec", code, message)
    assert lab.record("one")["code"] == code
    assert lab.record("one")["error"] == message
    assert log_of(lab, "one", 2).decode() == message + "\n"


def test_a_file_that_cannot_be_executed_does_not_hide_one_further_on_the_path(lab):
    (lab.root / "first").mkdir()
    (lab.root / "first" / "true").write_text("not this one")
    assert lab.run("one", "true", env=["PATH=/first:/bin"])[1] == 0
    assert lab.fail("two", "true", env=["PATH=/first"])["exit_code"] == 126


def test_a_root_that_cannot_be_mounted_is_a_failure_of_that_step(lab):
    assert lab.fail("one", "true", mounts=[Mount("/no/such/place", "none", MS_BIND)])["stage"] == "rootfs"
    assert lab.fail("two", "true", mounts=[])["stage"] == "rootfs"


def test_an_overlay_root_takes_writes_into_its_upper_layer(lab):
    for part in ("upper", "work"):
        (lab.path / part).mkdir()
    data = "lowerdir=root,upperdir=upper,workdir=work"
    overlay = Mount("overlay", "overlay", 0, data, str(lab.path))
    assert lab.sh("one", "echo hello > /tmp/file; cat /tmp/file", mounts=[overlay]) == "hello\n"
    assert (lab.path / "upper" / "tmp" / "file").read_text() == "hello\n"
    assert not (lab.root / "tmp" / "file").exists()


def test_limits_are_set_and_cut_where_the_daemon_may_not_raise_them(lab):
    line = lab.launch("one", "sh", "-c", "ulimit -n; ulimit -u", rlimits={"nofile": [64, 128], "nproc": [50, 50]})
    assert line.started["warnings"] == []
    assert line.rest()[0][1].split() == [b"64", b"50"]
    assert lab.fail("two", "true", rlimits={"nonsense": [1, 1]})["stage"] == "limits"


def test_the_working_directory_is_made_where_missing(lab):
    assert lab.sh("one", "pwd", cwd="/made/here").strip() == "/made/here"
    (lab.root / "link").symlink_to("/etc")
    assert lab.sh("two", "pwd", cwd="/link").strip() == "/etc"


@pytest.mark.parametrize("cwd", ["/proc/self/fd/3", "/proc/self/fd/9", "/proc/1/cwd", "/proc/self/root"])
def test_a_working_directory_by_a_descriptor_is_refused(lab, cwd):
    assert lab.fail("one", "pwd", cwd=cwd)["stage"] == "cwd"


def test_volumes_are_shown_and_read_only_where_told(lab):
    volume = lab.path / "volume"
    volume.mkdir()
    (volume / "file").write_text("data")
    binds = [
        (str(volume), "/new/place", False),
        (str(volume), "/etc/ro", True),
        (str(volume / "file"), "/etc/one", True),
    ]
    script = (
        "cat /new/place/file /etc/ro/file /etc/one; echo x > /new/place/made; ! (echo x > /etc/ro/made2) 2>/dev/null"
    )
    assert lab.sh("one", script, binds=binds) == "datadatadata"
    assert sorted(os.listdir(volume)) == ["file", "made"]


def test_a_volume_behind_a_link_lands_where_the_link_leads_inside_the_root(lab):
    (lab.path / "inside").mkdir()  # where the link leads as the host sees it
    (lab.root / "inside").mkdir()
    (lab.root / "data").symlink_to("../inside")
    volume = lab.path / "volume"
    volume.mkdir()
    (volume / "token").touch()
    lab.sh("one", "test -e /inside/sub/token", binds=[(str(volume), "/data/sub", False)])
    assert list((lab.path / "inside").iterdir()) == []


@pytest.mark.parametrize("place", ["/", "/proc", "/proc/sys", "/sys", "/link", "/self", "/nowhere", "/etc/passwd/x"])
def test_a_volume_where_none_may_be_is_refused(lab, place):
    (lab.root / "link").symlink_to("/proc/sys")
    (lab.root / "self").symlink_to("/proc/self/root")
    (lab.root / "nowhere").symlink_to("/missing/place")
    volume = lab.path / "volume"
    volume.mkdir()
    failed = lab.fail("one", "true", binds=[(str(volume), place, False)])
    assert failed["stage"] == "bind"


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
@pytest.mark.parametrize("target", ["/tmp", "../../outside", "/", "/missing"])
def test_an_image_that_makes_a_link_of_a_kernel_directory_is_refused(lab, name, target):
    (lab.root / name).rmdir()
    (lab.root / name).symlink_to(target)
    failed = lab.fail("one", "true")
    assert failed["stage"] == "mounts"
    assert f"/{name}" in failed["message"]


def test_missing_kernel_directories_are_made(lab):
    for name in ("proc", "sys", "dev"):
        (lab.root / name).rmdir()
    assert lab.run("one", "true")[1] == 0


def test_an_out_of_memory_kill_is_told(lab):
    line = lab.launch("one", "tail", "/dev/zero", memory=16 * 2**20)
    _, last = line.rest()
    assert last["code"] == 137
    assert last["oom_killed"]
    assert lab.record("one")["oom_killed"]


def test_a_fork_bomb_ends_at_the_limit_of_processes(lab):
    text, _ = lab.run("one", "sh", "-c", "for i in $(seq 20); do sleep 100 & done", pids_limit=10)
    assert "can't fork" in text


def test_all_control_groups_look_like_roots(lab):
    lines = lab.sh("one", "cat /proc/self/cgroup").splitlines()
    entered = {Path(each).parts[4] for each in lab.cgroups()} or {"pids", "devices", "cpu"}
    seen = {line.split(":")[1]: line.split(":")[2] for line in lines}
    assert {seen[name] for name in entered if name in seen} <= {"/"}
