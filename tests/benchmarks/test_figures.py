import json
import socket
import threading
from xml.etree import ElementTree as ET

import pytest

from benchmarks import report
from benchmarks.client import ApiError, Client
from benchmarks.measures import METRICS, p99
from benchmarks.plot import plot
from benchmarks.results import Result, load, save

A = Result("a", "1", {"cycle": [10.0, 20.0, 30.0], "starts_per_second": [50.0]})
B = Result("b & co", "2", {"cycle": [200.0], "starts_per_second": [5.0], "echo": [1.0]})


@pytest.fixture
def engine(tmp_path):
    """A function that serves one connection with fixed bytes; its address."""
    threads = []

    def serve(answer: bytes) -> str:
        path = str(tmp_path / "sock")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()

        def run():
            with listener, listener.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(answer)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return f"unix://{path}"

    yield serve
    for thread in threads:
        thread.join(10)


def attached(host, *, multiplexed):
    with Client(host) as client, client.attach("c", multiplexed=multiplexed) as stream:
        return b"".join(bytes(piece) for piece in stream.payloads())


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"


def test_a_raw_stream_is_passed_on_as_it_is(engine):
    assert attached(engine(HEAD + b"\1\0\0\0abc"), multiplexed=False) == b"\1\0\0\0abc"


def test_a_multiplexed_stream_loses_its_frames(engine):
    frames = b"".join(
        bytes([number, 0, 0, 0]) + len(text).to_bytes(4) + text
        for number, text in ((1, b"abc"), (2, b""), (2, b"defgh" * 1000))
    )
    assert attached(engine(HEAD + frames), multiplexed=True) == b"abc" + b"defgh" * 1000


def test_an_error_status_is_an_error_with_its_text(engine):
    host = engine(b"HTTP/1.1 404 Not Found\r\nContent-Length: 18\r\n\r\nNo such container\n")
    with Client(host) as client, pytest.raises(ApiError, match="404 No such container"):
        client.start("x")


@pytest.mark.parametrize(
    "told", [b'{"status":"Pulling"}\r\n{"error":"no space left"}\r\n', b"Step 1 : FROM x\nError build: x\n"]
)
def test_a_failure_that_is_told_after_the_status_is_an_error(engine, told):
    host = engine(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + told)
    with Client(host) as client, pytest.raises(ApiError, match=r"no space left|Error build"):
        client.pull("x")


def test_the_99th_percentile_is_a_sample_that_99_of_100_do_not_exceed():
    assert p99(range(1, 101)) == 99
    assert p99(range(1, 201)) == 198
    assert p99([7]) == 7


def test_a_ratio_above_one_says_the_first_is_better():
    assert report.ratio(METRICS[0], 10, 200) == 20
    assert report.ratio(METRICS[2], 50, 5) == 10


def test_the_table_has_a_line_per_known_metric():
    head, _, cycle, _, starts, echo = report.table([A, B]).splitlines()
    assert head == "|  | a 1 | b & co 2 |"
    assert cycle.endswith("| 20 | 200 (10x) |")
    assert starts.endswith("| 50 | 5 (10x) |")
    assert echo.endswith("| - | 1 |")


def test_the_plot_is_wellformed_and_has_a_bar_per_figure():
    root = ET.fromstring(plot([A, B]))
    assert len(root.findall("{http://www.w3.org/2000/svg}rect")) == 1 + 3 * 2 + 1


def test_results_are_read_back_as_they_were_written(tmp_path):
    save(A, str(tmp_path / "a.json"))
    assert load([str(tmp_path / "a.json")]) == [A]
    assert json.loads((tmp_path / "a.json").read_text())["label"] == "a"
