import os
from pathlib import Path

import pytest

from trioker.cli.daemon import parse_daemon
from trioker.model.network import NetworkOptions
from trioker.model.options import ContainerLimits, DaemonOptions, RegistryOptions, Rlimit, TlsFiles
from trioker.model.run import LogPolicy

DEFAULT = ("tcp://127.0.0.1:4243", "unix:///run/trioker.sock")
TLS = ["--tlsverify", "--tlscacert", "/ca", "--tlscert", "/cert", "--tlskey", "/key"]


@pytest.fixture(autouse=True)
def no_systemd(monkeypatch):
    monkeypatch.delenv("LISTEN_PID", raising=False)


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        parse_daemon(arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_without_options_everything_is_the_default():
    assert parse_daemon([]) == DaemonOptions(DEFAULT)


def test_every_option_is_understood():
    text = (
        "-d -H unix:///a -H tcp://[::1]:1 -g /root -s vfs --storage-opt a=1 --storage-opt b=2 --driver-dir /d1 --driver-dir /d2 --api-enable-cors "
        "-p /pid --exec-root /exec -D --log-format json --log-opt max-size=1k --log-opt max-file=2 --host-name One --host-name two "
        "--default-registry http://h:5000 --registry-mirror https://m1 --registry-mirror m2:5000 --insecure-registry h:5000 "
        "--insecure-registry 10.0.0.0/8 --registry-ca /ca --blob-limit 1g "
        "-b br0 --bip 10.1.0.1/16 --ipv6 --icc=false --ip-forward=false --iptables=false --port-range 5000-5009 --mtu 1400 "
        "--dns 9.9.9.9 --dns fd00::1 --cleanup "
        "--default-ulimit nofile=5:9 --default-ulimit core=0 --default-ulimit nofile=5:-1 --default-pids-limit 99 --userns-remap me:5"
    )
    assert parse_daemon(text.split()) == DaemonOptions(
        listeners=("unix:///a", "tcp://[::1]:1"),
        root=Path("/root"),
        exec_root=Path("/exec"),
        storage_driver="vfs",
        storage_options=(("a", "1"), ("b", "2")),
        driver_dirs=(Path("/d1"), Path("/d2")),
        host_names=("one", "two"),
        cors=True,
        pid_file=Path("/pid"),
        debug=True,
        log_json=True,
        container_logs=LogPolicy(1024, 2),
        registries=RegistryOptions(
            default="http://h:5000",
            mirrors=("https://m1", "m2:5000"),
            insecure=("h:5000", "10.0.0.0/8"),
            ca=Path("/ca"),
            blob_limit=2**30,
        ),
        network=NetworkOptions(
            bridge="br0",
            address="10.1.0.1/16",
            ipv6=True,
            icc=False,
            forward=False,
            firewall=False,
            first_port=5000,
            last_port=5009,
            mtu=1400,
            dns=("9.9.9.9", "fd00::1"),
        ),
        limits=ContainerLimits((Rlimit("nofile", 5, -1), Rlimit("core", 0, 0)), processes=99),
        userns_remap="me:5",
        cleanup=True,
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("-b a/b", "bad bridge name 'a/b'"),
        ("--bip 10.0.0.1", "the length of the prefix is missing"),
        ("--bip 10.0.0.0/8", "it is the network's own"),
        ("--icc maybe", "invalid choice: 'maybe'"),
        ("--port-range 5000", "'5000' is not a range of ports"),
        ("--port-range 9-8", "'9-8' is not a range of ports"),
        ("--port-range 0-70000", "is not a range of ports"),
        ("--mtu 100", "is not a number of bytes from 576"),
        ("--mtu 1000 --ipv6", "--ipv6 needs an --mtu of at least 1280"),
        ("--dns localhost", "'localhost' is not an IP address"),
        ("--dns fe80::1%eth0", "is not an IP address"),
    ],
)
def test_an_option_about_the_network_that_cannot_be_is_refused(capsys, text, why):
    assert why in refusal(capsys, *text.split())


@pytest.mark.parametrize("text", ["0", "-1"])
def test_there_need_be_no_limit_of_processes(text):
    assert parse_daemon(["--default-pids-limit", text]).limits.processes == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("--default-ulimit nofile", "invalid ulimit argument: nofile"),
        ("--default-ulimit files=1", "invalid ulimit type: files (known: as, core, cpu, data, fsize,"),
        ("--default-ulimit NOFILE=1", "invalid ulimit type: NOFILE"),
        ("--default-ulimit nofile=1:2:3", "too many limit value arguments - 1:2:3"),
        ("--default-ulimit nofile=2:1", "ulimit soft limit must be less than or equal to hard limit: 2 > 1"),
        ("--default-ulimit nofile=-1:1", "ulimit soft limit must be less than or equal to hard limit: -1 > 1"),
        ("--default-ulimit nofile=", "'' is not a limit"),
        ("--default-ulimit nofile=1:", "'' is not a limit"),
        ("--default-ulimit nofile=1k", "'1k' is not a limit"),
        ("--default-ulimit nofile=-2", "'-2' is not a limit"),
        ("--default-ulimit nofile=9223372036854775808", "is not a limit"),
        ("--default-pids-limit many", "'many' is not a number of processes"),
        ("--default-pids-limit -5", "'-5' is not a number of processes"),
        ("--default-pids-limit 4194305", "is not a number of processes up to 4194304"),
    ],
)
def test_a_limit_of_containers_that_cannot_be_is_refused(capsys, text, why):
    assert why in refusal(capsys, *text.split())


def test_the_long_names_docker_users_know_are_understood():
    text = "--host unix:///a --data-root /r --storage-driver vfs --pidfile /p --debug"
    assert parse_daemon(text.split()) == parse_daemon(
        ["-H", "unix:///a", "--graph", "/r", "-s", "vfs", "-p", "/p", "-D"]
    )


def test_a_relative_path_is_taken_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse_daemon(["-g", "x"]).root == tmp_path / "x"


def test_sockets_that_systemd_passed_are_the_default_when_there_are_any(monkeypatch):
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    assert parse_daemon([]).listeners == ("fd://",)
    assert parse_daemon(["-H", "unix:///a"]).listeners == ("unix:///a",)


def test_sockets_that_systemd_passed_to_another_process_are_not_ours(monkeypatch):
    monkeypatch.setenv("LISTEN_PID", "1")
    assert parse_daemon([]).listeners == DEFAULT


def test_tls_takes_three_files():
    options = parse_daemon(["-H", "tcp://0.0.0.0:1", *TLS])
    assert options.tls == TlsFiles(Path("/ca"), Path("/cert"), Path("/key"))


def test_plain_tcp_beyond_loopback_needs_an_explicit_word(capsys):
    assert "tcp://0.0.0.0:1 can be reached from other machines" in refusal(capsys, "-H", "tcp://0.0.0.0:1")
    assert parse_daemon(["-H", "tcp://0.0.0.0:1", "--tls=false"]).exposed


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--tlsverify", "--tlscert", "/c"], "--tlsverify needs --tlscacert and --tlskey too"),
        (["--tls"], "TLS without --tlsverify would let every client in"),
        (["--tlscert", "/c"], "TLS without --tlsverify"),
        ([*TLS, "--tls=false"], "contradict each other"),
        (["--log-opt", "max-age=1"], "'max-age' is not known (known: max-size, max-file)"),
        (["--log-opt", "max-size=x"], "max-size: 'x' is not a size"),
        (["--log-opt", "max-file=0"], "max-file: '0' is not a whole number from 1 up"),
        (["--storage-opt", "x"], "'x' is not of the form key=value"),
        (["-H", "nowhere"], "bad address 'nowhere'"),
        (["-g", ""], "the path is empty"),
        (["--default-registry", "ftp://h"], "--default-registry: bad registry 'ftp://h'"),
        (["--default-registry", ""], "--default-registry: bad registry ''"),
        (["--registry-mirror", "http://u:p@h"], "--registry-mirror: bad registry"),
        (["--registry-mirror", "h:0"], "--registry-mirror: bad registry 'h:0'"),
        (["--insecure-registry", "http://h"], "--insecure-registry: bad registry 'http://h'"),
        (["--insecure-registry", "10.0.0.0/99"], "--insecure-registry: bad registry '10.0.0.0/99'"),
        (["--registry-ca", ""], "the path is empty"),
        (["--blob-limit", "much"], "--blob-limit: 'much' is not a size"),
        (["--no-such"], "unrecognized arguments: --no-such"),
        (["image"], "unrecognized arguments: image"),
        (["--log-format", "xml"], "'xml'"),
        (["--userns-remap", "a:b:c"], "--userns-remap: 'a:b:c' is not 'default', USER[:GROUP] or UID[:GID]"),
        (["--userns-remap", "a:"], "'a:' is not"),
        (["--userns-remap", "a b"], "'a b' is not"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(capsys, arguments, why):
    error = refusal(capsys, *arguments)
    assert why in error
    assert "--help" in error


def test_options_without_a_command_are_refused(capsys):
    with pytest.raises(SystemExit):
        parse_daemon(["-D"], flagged=True)
    assert "add -d to run the daemon" in capsys.readouterr().err


def test_a_storage_option_given_twice_has_its_last_value():
    assert parse_daemon(["--storage-opt", "a=1", "--storage-opt", "a=2"]).storage_options == (("a", "2"),)


def test_the_usual_registry_is_dockers():
    assert parse_daemon([]).registries == RegistryOptions("docker.io", blob_limit=10 * 2**30)


def test_nothing_at_all_may_be_kept_of_what_was_pulled():
    assert parse_daemon(["--blob-limit", "0"]).registries.blob_limit == 0
