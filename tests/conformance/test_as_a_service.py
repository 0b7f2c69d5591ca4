"""The daemon as a service: TLS with client certificates, sockets and notification of systemd, refusals at start."""

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from api_client import Api
from daemon import STOPS_WITHIN, Daemon, free_port
from polling import wait_until

pytestmark = pytest.mark.root


ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""


class Certificates:
    """A CA, the server's pair and a client's, as PEM files."""

    def __init__(self, directory: Path) -> None:
        ca, stranger = trustme.CA(), trustme.CA()
        self.ca = directory / "ca.pem"
        ca.cert_pem.write_to_path(self.ca)
        for name, issued in (
            ("server", ca.issue_cert("127.0.0.1")),
            ("client", ca.issue_cert("client")),
            ("stranger", stranger.issue_cert("client")),
        ):
            issued.private_key_and_cert_chain_pem.write_to_path(directory / f"{name}.pem")
        self._directory = directory

    def path(self, name: str) -> Path:
        return self._directory / f"{name}.pem"

    def context(self, client: str = "") -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        if client:
            context.load_cert_chain(self.path(client))
        return context


@contextlib.contextmanager
def started(pyz: Path, directory: Path, *flags: str, **popen: object) -> Iterator[tuple[Api, subprocess.Popen[bytes]]]:
    """A daemon with exactly these flags beside its private places; its API on a Unix socket, and its process."""
    path = directory / "t.sock"
    command = [
        sys.executable,
        str(pyz),
        "-d",
        "-g",
        str(directory / "root"),
        "--exec-root",
        str(directory / "exec"),
        "-b",
        "none",
        *flags,
    ]
    if "prefix" in popen:
        command = [*popen.pop("prefix"), *command]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, **popen)
    try:
        yield Api(str(path)), process
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOPS_WITHIN) == 0
    finally:
        process.kill()
        process.communicate()
    assert not (directory / "exec").exists()


def answers(api: Api) -> bool:
    with contextlib.suppress(OSError):
        return api.call("GET", "/version").status == 200
    return False


def ask(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/version")
    connection.getresponse()


def test_only_a_client_with_a_certificate_of_the_ca_is_let_in(pyz: Path, tmp_path: Path) -> None:
    files, port = Certificates(tmp_path), free_port()
    pair = str(files.path("server"))
    tls = ("--tlsverify", "--tlscacert", str(files.ca), "--tlscert", pair, "--tlskey", pair)
    with started(pyz, tmp_path, "-H", f"unix://{tmp_path}/t.sock", "-H", f"tcp://127.0.0.1:{port}", *tls) as (api, _):
        wait_until(lambda: answers(api), "the daemon")
        good = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=files.context("client"))
        good.request("GET", "/version")
        assert good.getresponse().status == 200
        good.close()
        for client in ("", "stranger"):
            refused = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=files.context(client))
            with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
                ask(refused)
            refused.close()
        plain = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            ask(plain)
        plain.close()


def test_the_sockets_of_systemd_are_served_and_it_is_told_when_ready(pyz: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        listener.bind(str(tmp_path / "t.sock"))
        listener.listen()
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(20)
        passed = (sys.executable, "-c", ACTIVATE, str(listener.fileno()))
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with started(pyz, tmp_path, prefix=passed, env=environment, pass_fds=[listener.fileno()]) as (api, process):
            assert notify.recv(100) == b"READY=1"
            assert answers(api)
            process.send_signal(signal.SIGHUP)
            assert answers(api)
        assert notify.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (("-H", "tcp://0.0.0.0:0"), "can be reached from other machines"),
        (("-H", "nonsense"), "bad address 'nonsense'"),
        (("-s", "nosuch"), "nosuch"),
        (("-H", "tcp://127.0.0.1:0", "--tlsverify"), "--tlsverify needs"),
    ],
)
def test_what_cannot_be_started_says_why_in_a_line(
    pyz: Path, tmp_path: Path, flags: tuple[str, ...], word: str
) -> None:
    places = ("-g", str(tmp_path / "root"), "--exec-root", str(tmp_path / "exec"), "-b", "none")
    done = subprocess.run(
        [sys.executable, str(pyz), "-d", *places, *flags], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode != 0
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_address_is_refused_and_named(pyz: Path, tmp_path: Path, daemon: Daemon) -> None:
    for address in (f"tcp://127.0.0.1:{daemon.port}", f"unix://{daemon.socket}"):
        places = ("-g", str(tmp_path / "root"), "--exec-root", str(tmp_path / "exec"), "-b", "none")
        done = subprocess.run(
            [sys.executable, str(pyz), "-d", *places, "-H", address],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 1
        assert address in done.stderr
        assert "Traceback" not in done.stderr
    assert answers(daemon.api)
