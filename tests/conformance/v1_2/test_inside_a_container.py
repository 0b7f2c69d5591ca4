"""What a command finds around it, and how its end is told (behaviour.md section 7, issue 2)."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from api_client import Api, dial, read_answer
from daemon import Daemon, control_groups
from polling import wait_until

pytestmark = pytest.mark.root

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def output(api: Api, *command: str, **config: object) -> str:
    """What a container printed that ended well."""
    code, printed = api.run(*command, **config)
    assert code == 0, printed
    return printed.decode()


def shell(api: Api, script: str, **config: object) -> str:
    return output(api, "sh", "-c", script, **config)


# -- configuration ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "lines"),
    [
        ({}, ["HOME=/", PATH]),
        ({"Env": ["A=1", "B=x y=z", "C"]}, ["HOME=/", PATH, "A=1", "B=x y=z", "C="]),
        ({"Tty": True}, ["TERM=xterm", "HOME=/", PATH]),
        ({"Env": ["PATH=/bin", "HOME=/tmp"]}, ["HOME=/tmp", "PATH=/bin"]),
        ({"Env": ["A=1", "A=2"]}, ["HOME=/", PATH, "A=2"]),
        ({"Env": ["U=grün"], "User": "www"}, ["HOME=/", PATH, "U=grün"]),
    ],
    ids=["none", "some", "terminal", "replaced", "twice", "user"],
)
def test_the_environment_is_exactly_this(api: Api, config: dict[str, object], lines: list[str]) -> None:
    assert sorted(output(api, "env", **config).splitlines()) == sorted(lines)


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        ("", "0 0"), ("root", "0 0"), ("0", "0 0"), ("www", "1000 1000"), ("1000", "1000 1000"), ("1000:50", "1000 50"), ("www:staff", "1000 50"),
        ("4242", "4242 0"), ("4242:4243", "4242 4243"), ("root:www", "0 1000"),
    ],
)  # fmt: skip
def test_the_command_runs_as_the_user(api: Api, user: str, ids: str) -> None:
    assert shell(api, "echo $(id -u) $(id -g)", User=user) == f"{ids}\n"


def test_the_user_may_come_from_an_image_and_owns_what_it_makes(api: Api) -> None:
    assert shell(api, "touch /tmp/mine; stat -c %u:%g /tmp/mine; touch /mine 2>&1 || true", User="www") == (
        "1000:1000\ntouch: /mine: Permission denied\n"
    )


def test_the_host_name_is_the_short_id_or_as_asked(api: Api) -> None:
    with api.container("hostname") as container:
        api.wait(container)
        assert api.logs(container) == f"{container}\n".encode()
    assert output(api, "hostname", Hostname="here") == "here\n"


def test_the_command_starts_in_the_root(api: Api) -> None:
    assert shell(api, "pwd; cat etc/motd") == "/\nhello from the image\n"


def test_arguments_come_through_as_they_are(api: Api) -> None:
    words = ["a b", "", "*", "$HOME", "'", '"', "\\", "\n", "grün", "-n"]
    script = 'for each; do printf "[%s]" "$each"; done'
    assert output(api, "sh", "-c", script, "sh", *words) == "".join(f"[{word}]" for word in words)


def test_without_open_stdin_it_is_dev_null(api: Api) -> None:
    assert shell(api, "readlink /proc/self/fd/0; wc -c") == "/dev/null\n0\n"


def test_no_other_descriptor_is_open(api: Api) -> None:
    assert output(api, "ls", "/proc/1/fd").split() == ["0", "1", "2", "3"]  # 3 is ls reading the directory


def test_it_is_alone_and_process_1(api: Api) -> None:
    assert shell(api, "echo $$; ls /proc | grep -c '^[0-9]'").split()[0] == "1"
    assert output(api, "ps", "-o", "pid,comm").splitlines()[1:] == ["    1 ps"]


def test_a_terminal_is_one_for_all_three(api: Api) -> None:
    script = "test -t 0 && test -t 1 && test -t 2 && echo yes"
    assert shell(api, script, Tty=True, OpenStdin=True) == "yes\r\n"


def test_there_is_a_loopback_and_nothing_else(api: Api) -> None:
    assert re.findall(r"^\d+: (\w+)", output(api, "ip", "link"), re.MULTILINE) == ["lo"]
    assert "127.0.0.1/8" in output(api, "ip", "addr", "show", "lo")
    assert ",UP" in output(api, "ip", "link", "show", "lo")


def test_the_usual_devices_are_there(api: Api) -> None:
    found = set(output(api, "ls", "/dev").split())
    assert {
        "null",
        "zero",
        "full",
        "random",
        "urandom",
        "tty",
        "pts",
        "ptmx",
        "shm",
        "mqueue",
        "stdin",
        "stdout",
        "stderr",
        "fd",
    } <= found
    assert not found & {"sda", "vda", "mem", "kmem", "kmsg", "fuse", "loop0", "loop-control"}
    assert (
        shell(api, "echo x > /dev/null; head -c 2 /dev/zero | od -An -tx1; head -c 4 /dev/urandom | wc -c")
        == " 00 00\n4\n"
    )


@pytest.mark.parametrize(
    "path",
    ["/proc/sys/kernel/hostname", "/proc/sys/kernel/core_pattern", "/sys/kernel/mm/ksm/run", "/proc/sysrq-trigger"],
)
def test_the_kernels_settings_cannot_be_written(api: Api, path: str) -> None:
    assert shell(api, f"echo 1 2>/dev/null > {path} && echo written || true") == ""


def test_nothing_of_the_host_shows_in_the_mounts(daemon: Daemon) -> None:
    assert not re.search(r" /(?:home|work|old_root|\.pivot)[ /]", output(daemon.api, "cat", "/proc/mounts"))


def test_dns_servers_are_as_asked(api: Api) -> None:
    with api.container("cat", "/etc/resolv.conf", Dns=["10.1.2.3", "10.1.2.4"]) as container:
        api.wait(container)
        lines = api.logs(container).decode().splitlines()
        assert [line for line in lines if line.startswith("nameserver")] == [
            "nameserver 10.1.2.3",
            "nameserver 10.1.2.4",
        ]
        assert api.inspect(container)["ResolvConfPath"] != "/etc/resolv.conf"


def test_without_dns_servers_the_file_is_the_hosts(api: Api) -> None:
    host = Path("/etc/resolv.conf")
    expected = host.read_text() if host.exists() else ""
    if "127.0." not in expected:
        assert shell(api, "cat /etc/resolv.conf 2>/dev/null || true") == expected


def test_the_image_is_not_changed_by_its_containers(api: Api) -> None:
    shell(api, "rm /etc/motd; echo new > /new")
    assert shell(api, "cat /etc/motd; ls /new 2>/dev/null || true") == "hello from the image\n"


def test_what_a_container_wrote_is_there_when_it_starts_again(api: Api) -> None:
    with api.container("sh", "-c", "cat /count; echo run >> /count", start=False) as container:
        for _ in range(3):
            api.start(container)
            api.wait(container)
        assert api.logs(container, stderr=False) == b"run\n" * 3  # none, one and two of them


# -- limits -------------------------------------------------------------------------------------------------------------------


def limit(api: Api, container: str, *names: str) -> str:
    """The first of these control group files of a container, read on the host."""
    full = api.inspect(container)["Id"]
    for directory in control_groups([full]):
        for name in names:
            if os.path.exists(f"{directory}/{name}"):
                return Path(directory, name).read_text().strip()
    raise AssertionError(f"none of {names} in {control_groups([full])}")


def test_memory_swap_cpu_and_processes_are_limited(api: Api) -> None:
    with api.container("sleep", "1000", Memory=32 << 20, CpuShares=512) as container:
        assert limit(api, container, "memory.max", "memory.limit_in_bytes") == str(32 << 20)
        assert limit(api, container, "cpu.shares", "cpu.weight") in {"512", "20"}
        assert 0 < int(limit(api, container, "pids.max")) < 1 << 20


def test_a_container_out_of_memory_is_killed_and_that_is_told(daemon: Daemon) -> None:
    with daemon.api.container("dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1", Memory=16 << 20) as container:
        assert daemon.api.wait(container) == 137
        assert daemon.api.inspect(container)["State"]["OOMKilled"] is True
    assert re.search(f"{container}.*memory", daemon.log_text())


def test_a_limit_that_is_kept_kills_nobody(api: Api) -> None:
    with api.container("dd", "if=/dev/zero", "of=/dev/null", "bs=4M", "count=1", Memory=32 << 20) as container:
        assert api.wait(container) == 0
        assert api.inspect(container)["State"]["OOMKilled"] is False


# -- volumes ------------------------------------------------------------------------------------------------------------------


def test_a_volume_outlives_a_run_and_is_no_part_of_the_container(api: Api) -> None:
    script = "mount | grep -q ' /data '; echo mounted $?; cat /data/file 2>/dev/null; echo kept > /data/file"
    with api.container("sh", "-c", script, Volumes={"/data": {}}) as container:
        api.wait(container)
        volume = api.inspect(container)["Volumes"]["/data"]
        assert re.fullmatch(r"[0-9a-f]{64}", volume)
        api.start(container)
        api.wait(container)
        assert api.logs(container) == b"mounted 0\nmounted 0\nkept\n"
        assert api.inspect(container)["Volumes"] == {"/data": volume}
        assert not [each for each in api.ok("GET", f"/containers/{container}/changes") if "/data/" in each["Path"]]


def test_volumes_are_shared_by_volumes_from(api: Api) -> None:
    with api.container("sh", "-c", "echo shared > /data/deep/file", Volumes={"/data/deep": {}, "/b": {}}) as first:
        assert api.wait(first) == 0
        with api.container("cat", "/data/deep/file", VolumesFrom=first) as second:
            assert api.wait(second) == 0, api.logs(second)
            assert api.logs(second) == b"shared\n"
            assert api.inspect(second)["Volumes"] == api.inspect(first)["Volumes"]


def test_a_volume_goes_with_the_last_container_that_has_it(daemon: Daemon) -> None:
    api = daemon.api

    def there() -> bool:
        return any(volume in path.name for path in daemon.root.rglob("*"))

    first = api.create("true", Volumes={"/data": {}})
    api.start(first)
    api.wait(first)
    volume = api.inspect(first)["Volumes"]["/data"]
    second = api.create("true", VolumesFrom=first)
    api.start(second)
    api.wait(second)
    api.ok("DELETE", f"/containers/{first}?v=1")
    assert there()
    api.ok("DELETE", f"/containers/{second}?v=1")
    assert not there()


def test_a_volume_is_kept_where_its_removal_was_not_asked_for(daemon: Daemon) -> None:
    api = daemon.api
    container = api.create("true", Volumes={"/data": {}})
    api.start(container)
    api.wait(container)
    volume = api.inspect(container)["Volumes"]["/data"]
    api.ok("DELETE", f"/containers/{container}")
    assert any(volume in path.name for path in daemon.root.rglob("*"))


# -- the end ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 3, 126, 127, 255])
def test_the_exit_code_is_the_commands(either: Api, code: int) -> None:
    with either.container("sh", "-c", f"exit {code}") as container:
        assert either.wait(container) == code
        assert either.inspect(container)["State"]["ExitCode"] == code
        row = next(row for row in either.ok("GET", "/containers/json?all=1") if row["Id"].startswith(container))
        assert row["Status"] == f"Exit {code}"


def test_a_killed_container_exits_with_137(either: Api) -> None:
    with either.container("sleep", "1000") as container:
        either.ok("POST", f"/containers/{container}/kill")
        assert either.wait(container) == 137


def test_a_container_that_heeds_sigterm_exits_with_143(either: Api) -> None:
    script = "trap 'echo bye; exit 143' TERM; echo ready; sleep 1000 & wait"
    with either.container("sh", "-c", script, start=False) as container, either.attach(container) as stream:
        either.start(container)
        stream.read_until(b"ready\n")
        either.ok("POST", f"/containers/{container}/stop?t=10")
        assert not either.inspect(container)["State"]["Running"]
        assert either.wait(container) == 143
        assert stream.read_all() == b"ready\nbye\n"


def test_a_container_that_ignores_sigterm_is_killed_after_the_grace(api: Api) -> None:
    with api.container("sh", "-c", "trap '' TERM; while :; do sleep 1000; done") as container:
        api.ok("POST", f"/containers/{container}/stop?t=1")
        assert api.wait(container) == 137


def test_kill_does_not_wait_for_a_stop_that_waits(api: Api) -> None:
    with api.container("sleep", "1000") as container, dial(api.address) as connected, connected.makefile("rb") as file:
        connected.sendall(f"POST /containers/{container}/stop?t=1000 HTTP/1.1\r\nHost: \r\n\r\n".encode())
        api.ok("POST", f"/containers/{container}/kill")
        assert read_answer(file).status == 204
        assert api.wait(container) == 137


def test_all_processes_end_with_the_first(api: Api) -> None:
    with api.container("sh", "-c", "sleep 1001 & sleep 1002 & echo started") as container:
        assert api.wait(container) == 0
        full = api.inspect(container)["Id"]
        wait_until(lambda: not control_groups([full]), "the end of its control groups")


def test_wait_returns_to_everybody(api: Api) -> None:
    with api.container("sh", "-c", "read line; exit 9", OpenStdin=True) as container, ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(api.wait, container) for _ in range(8)]
        with api.attach(container, "stream=1&stdin=1", early=b"\n") as stream:
            stream.read_all()
        assert [each.result(20) for each in waiting] == [9] * 8


def test_restart_begins_a_new_run(either: Api) -> None:
    with either.container("sh", "-c", "echo run; trap 'exit 0' TERM; sleep 1000 & wait", start=False) as container:
        with either.attach(container) as stream:
            either.start(container)
            stream.read_until(b"run\n")
        before = either.inspect(container)["State"]
        either.ok("POST", f"/containers/{container}/restart?t=5")
        after = either.inspect(container)["State"]
        assert after["Running"]
        assert after["StartedAt"] > before["StartedAt"]
        assert after["Pid"] != before["Pid"]


# -- starts that fail -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "text", "code"),
    [
        ({"Cmd": ["foo"]}, 'executable file not found in $PATH: "foo"', 127),
        ({"Cmd": ["/bin/foo"]}, "/bin/foo: no such file or directory", 127),
        ({"Cmd": ["true"], "Env": ["PATH=/none"]}, 'executable file not found in $PATH: "true"', 127),
        ({"Cmd": ["/etc/passwd"]}, '"/etc/passwd": permission denied', 126),
        ({"Cmd": ["/etc"]}, '"/etc": permission denied', 126),
        ({"Cmd": [""]}, 'executable file not found in $PATH: ""', 127),
        ({"Cmd": ["true"], "User": "nobody"}, "unable to find user nobody", None),
        ({"Cmd": ["true"], "User": "www:nogroup"}, "unable to find group nogroup", None),
        (
            {"Cmd": ["true"], "VolumesFrom": "f" * 12},
            f"Container {'f' * 12} not found. Impossible to mount its volumes",
            None,
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_start_that_fails_says_why(either: Api, config: dict[str, object], text: str, code: int | None) -> None:
    container = either.ok("POST", "/containers/create", {"Image": "base", **config})["Id"]
    try:
        answer = either.call("POST", f"/containers/{container}/start")
        assert answer.status == 500
        assert answer.text.startswith(f"Error starting container {container}: ")
        assert text in answer.text
        state = either.inspect(container)["State"]
        assert not state["Running"]
        if code is not None:
            assert state["ExitCode"] == either.wait(container) == code
        assert text in state["Error"] or code is None
    finally:
        either.remove(container)


def test_a_start_that_failed_may_be_tried_again(api: Api) -> None:
    with (
        api.container("cp", "/bin/busybox", "/data/true", start=False, Volumes={"/data": {}}) as maker,
        api.container("/data/true", start=False, VolumesFrom=maker) as container,
    ):
        assert api.call("POST", f"/containers/{container}/start").status == 500
        api.start(maker)
        assert api.wait(maker) == 0
        api.start(container)
        assert api.wait(container) == 0
        assert api.inspect(container)["State"]["Error"] == ""


def test_many_start_at_once_and_only_one_start_of_each_succeeds(api: Api) -> None:
    with api.container("sleep", "1000", start=False) as container, ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: api.call("POST", f"/containers/{container}/start").status, range(8)))
        assert sorted(codes) == [200] + [500] * 7


@pytest.mark.parametrize("memory", [524288, 600000])
def test_a_limit_too_small_for_the_start_is_said_so_at_once(api: Api, memory: int) -> None:
    with api.container("true", start=False, Memory=memory) as container:
        answer = api.call("POST", f"/containers/{container}/start")
        state = api.inspect(container)["State"]
    if answer.status == 500:  # how much a start takes depends on the interpreter
        assert b"memory limit is too small" in answer.body
        assert (state["ExitCode"], state["OOMKilled"]) == (137, True)
    else:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("path", "why"),
    [("/dev", "devices"), ("/bin/busybox", "a file"), ("/bin/busybox/x", "a file"), ("/proc/x", "/proc")],
)
def test_a_volume_where_none_can_be_is_refused_in_words(api: Api, path: str, why: str) -> None:
    with api.container("true", start=False, Volumes={path: {}}) as container:
        answer = api.call("POST", f"/containers/{container}/start")
        assert answer.status == 500
        assert path in answer.body.decode()
        assert why in answer.body.decode()
        assert api.inspect(container)["State"]["ExitCode"] == 128


def test_a_volume_does_not_hide_another_below_it(api: Api) -> None:
    with api.container("sh", "-c", "echo x > /v/a/b/c; ls /v/a/b", Volumes={"/v/a/b": {}, "/v": {}}) as container:
        assert api.wait(container) == 0
        assert api.logs(container) == b"c\n"
        assert "/v/a/b/c" not in {each["Path"] for each in api.ok("GET", f"/containers/{container}/changes")}
