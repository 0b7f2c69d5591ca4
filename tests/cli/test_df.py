"""``trioker.pyz df`` against servers on a socket of its own."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, UnixStreamServer
from typing import NamedTuple

import pytest

from trioker.cli.df import main

EMPTY = {
    "Images": [],
    "Containers": [],
    "Volumes": [],
    "BuildCache": [],
    "Layers": [],
    "Blobs": {"Size": 0, "Limit": 1},
}


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command in this process."""
    monkeypatch.setattr("sys.argv", ["trioker"])

    def run(*arguments):
        try:
            status = main(arguments)
        except SystemExit as end:
            status = end.code
        return Done(status, *capsys.readouterr())

    return run


@contextmanager
def serving(kind, address, status, body):
    """A daemon that answers every request so; gives its server, whose ``asked`` lists the requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append((self.path, self.headers["Host"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self):
            return "client"

        def log_message(self, *_):
            pass

    with kind(address, Handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_a_daemon_on_a_unix_socket_is_asked(run, tmp_path):
    path = str(tmp_path / "s")
    with serving(UnixStreamServer, path, 200, json.dumps(EMPTY).encode()) as server:
        done = run("-v", "-H", f"unix://{path}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("TYPE ")
    assert "Kept downloads: 0 B, at most 1 B" in done.stdout
    assert server.asked == [("/v1.2/system/df", "localhost")]


def test_a_daemon_on_a_port_is_asked(run):
    with serving(TCPServer, ("127.0.0.1", 0), 200, json.dumps(EMPTY).encode()) as server:
        port = server.server_address[1]
        done = run("-H", f"tcp://127.0.0.1:{port}")
    assert (done.returncode, done.stderr) == (0, "")
    assert server.asked == [("/v1.2/system/df", f"127.0.0.1:{port}")]


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (404, b"No such API version\n", "it answered 404: No such API version"),
        (500, b"\xff", "it answered 500: \ufffd"),
        (200, b"<html>", "what answers there is no trioker"),
        (200, b"[]", "what answers there is no trioker"),
        (200, b'{"Images": []}', "what answers there is no trioker"),
    ],
)
def test_an_answer_that_tells_nothing_is_said_to(run, tmp_path, status, body, why):
    path = str(tmp_path / "s")
    with serving(UnixStreamServer, path, status, body):
        done = run("-H", f"unix://{path}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"trioker: unix://{path}: {why}\n"


def test_without_a_daemon_it_says_where_it_looked(run, tmp_path):
    done = run("-H", f"unix://{tmp_path}/none")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"trioker: unix://{tmp_path}/none: no daemon answers: no connection to {tmp_path}/none: no such file or directory\n"
        "Is it running? -H names another address.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["x"], "unrecognized arguments: x"),
        (["-H", "nowhere"], "bad address 'nowhere'"),
        (["-H", "fd://"], "fd:// is the daemon's only"),
        (["-H"], "expected one argument"),
    ],
)
def test_a_bad_command_line_is_refused(run, arguments, why):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr
