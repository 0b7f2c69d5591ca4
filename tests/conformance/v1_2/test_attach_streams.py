"""Attach over the real daemon: the table of behaviour.md section 4."""

import contextlib
import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from api_client import Api, Attached, dial, read_answer
from daemon import Daemon
from polling import wait_until

pytestmark = pytest.mark.root

BOTH = "stream=1&stdout=1&stderr=1"
WITH_STDIN = f"{BOTH}&stdin=1"
MIXED = ("sh", "-c", "echo out1; echo err1 >&2; echo out2; echo err2 >&2")


@pytest.fixture
def ended(api: Api) -> Iterator[str]:
    """A container that wrote to both streams and ended."""
    with api.container(*MIXED) as container:
        api.wait(container)
        yield container


def running(api: Api, container: str) -> bool:
    return bool(api.inspect(container)["State"]["Running"])


# -- logs only ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("logs=1&stdout=1&stderr=1", b"out1\nout2\nerr1\nerr2\n"),
        ("logs=1&stdout=1", b"out1\nout2\n"),
        ("logs=1&stderr=1", b"err1\nerr2\n"),
        ("logs=1", b""),
        ("logs=0&stdout=1", b""),
    ],
)
def test_logs_are_whole_stdout_then_whole_stderr(either: Api, ended: str, query: str, text: bytes) -> None:
    assert either.call("POST", f"/containers/{ended}/attach?{query}").body == text


def test_logs_only_is_an_ordinary_reply(api: Api, ended: str) -> None:
    request = f"POST /v1.2/containers/{ended}/attach?logs=1&stdout=1 HTTP/1.1\r\nHost: \r\n\r\n".encode()
    with dial(api.address) as connected, connected.makefile("rb") as file:
        for _ in range(2):
            connected.sendall(request)
            answer = read_answer(file)
            assert answer.headers["Content-Length"] == "10"
            assert answer.headers["Content-Type"] == "application/vnd.docker.raw-stream"


def test_logs_of_a_container_that_never_started_are_empty(api: Api) -> None:
    with api.container("true", start=False) as container:
        assert api.logs(container) == b""


def test_logs_hold_every_run(api: Api) -> None:
    with api.container("sh", "-c", "echo run; echo oops >&2") as container:
        api.wait(container)
        api.start(container)
        api.wait(container)
        assert api.logs(container) == b"run\nrun\noops\noops\n"


def test_logs_of_a_running_container_do_not_wait_for_its_end(api: Api) -> None:
    with api.container("sh", "-c", "echo here; exec sleep 1000") as container:
        wait_until(lambda: api.logs(container) == b"here\n", "the first line in the log")
        assert running(api, container)


def test_bytes_are_kept_as_they_are(api: Api) -> None:
    script = r"printf '\000\001\377\r\n\033[1m'; head -c 100000 /dev/zero"
    with api.container("sh", "-c", script) as container:
        api.wait(container)
        assert api.logs(container) == b"\0\1\xff\r\n\x1b[1m" + bytes(100_000)


# -- the live stream ----------------------------------------------------------------------------------------------------


def test_neither_logs_nor_stream_is_the_head_and_the_end(either: Api) -> None:
    with either.container("sleep", "1000") as container, either.attach(container, "stdout=1&stderr=1") as stream:
        assert stream.read_all() == b""
        assert running(either, container)


@pytest.mark.parametrize("logs", ["", "logs=1&"])
def test_attached_before_the_start_nothing_is_missed(either: Api, logs: str) -> None:
    with (
        either.container(*MIXED, start=False) as container,
        either.attach(container, f"{logs}stream=1&stdout=1") as out,
        either.attach(container, f"{logs}stream=1&stderr=1") as err,
    ):
        either.start(container)
        assert out.read_all() == b"out1\nout2\n"
        assert err.read_all() == b"err1\nerr2\n"
        assert either.wait(container) == 0


def test_both_streams_are_interleaved_as_written(api: Api) -> None:
    script = "for i in 1 2 3; do read line; echo out$i; read line; echo err$i >&2; done"
    with (
        api.container("sh", "-c", script, start=False, OpenStdin=True, StdinOnce=True) as container,
        api.attach(container, WITH_STDIN) as stream,
    ):
        api.start(container)
        for n in "123":
            for name in ("out", "err"):
                stream.send(b"\n")
                stream.read_until(f"{name}{n}\n".encode())
        assert stream.read_all() == b"out1\nerr1\nout2\nerr2\nout3\nerr3\n"


def test_the_stream_alone_begins_with_what_is_written_from_now_on(api: Api) -> None:
    with api.container("sh", "-c", "echo before; read line; echo after", OpenStdin=True) as container:
        wait_until(lambda: api.logs(container), "the first line")
        with api.attach(container, WITH_STDIN) as stream:
            stream.send(b"\n")
            assert stream.read_all() == b"after\n"


def test_logs_and_stream_join_without_a_gap_or_a_repetition(api: Api) -> None:
    script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo $i; done"
    expected = b"".join(b"%d\n" % n for n in range(1, 20001))
    with api.container("sh", "-c", script) as container:
        streams = [api.attach(container, f"logs=1&{BOTH}") for _ in range(5)]
        for each in streams:
            with each:
                assert each.read_all() == expected


def test_logs_come_by_stream_before_the_live_output(api: Api) -> None:
    with api.container("sh", "-c", "echo out; echo err >&2; read line; echo more", OpenStdin=True) as container:
        wait_until(lambda: len(api.logs(container)) == 8, "both lines")
        with api.attach(container, f"logs=1&{WITH_STDIN}") as stream:
            assert stream.read_until(b"err\n") == b"out\nerr\n"
            stream.send(b"\n")
            assert stream.read_all() == b"out\nerr\nmore\n"


def test_the_connection_ends_with_the_container(api: Api) -> None:
    with api.container("sleep", "1000") as container, api.attach(container) as stream:
        api.ok("POST", f"/containers/{container}/kill")
        assert stream.read_all() == b""


def test_a_stream_lives_on_when_the_client_has_no_more_to_send(either: Api) -> None:
    script = "read line; echo late; read line; echo later"
    with (
        either.container("sh", "-c", script, OpenStdin=True) as container,
        either.attach(container) as half,
        either.attach(container, WITH_STDIN) as stream,
    ):
        half.half_close()
        stream.send(b"\n")
        half.read_until(b"late\n")
        stream.send(b"\n")
        assert half.read_all() == b"late\nlater\n"


def test_the_end_of_one_client_is_nothing_to_the_others(api: Api) -> None:
    with api.container("sh", "-c", "read line; echo $line", OpenStdin=True) as container:
        with api.attach(container) as stays:
            with api.attach(container, WITH_STDIN) as goes:
                goes.send(b"hello\n")
            assert stays.read_all() == b"hello\n"


def test_several_clients_see_the_same(daemon: Daemon) -> None:
    api = daemon.api
    expected = b"x" * 1_000_000
    with api.container("sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x", start=False) as container:
        streams = [each.attach(container) for each in (api, daemon.tcp) * 4]
        api.start(container)
        for each in streams:
            with each:
                assert each.read_all() == expected


def test_a_client_that_does_not_read_is_cut_and_stalls_nobody(daemon: Daemon) -> None:
    api, size = daemon.api, 60_000_000
    with (
        api.container("sh", "-c", f"head -c {size} /dev/zero; echo end", start=False) as container,
        api.attach(container) as reader,
        api.attach(container) as sleeper,
    ):
        api.start(container)
        assert len(reader.read_all()) == size + 4
        assert api.wait(container) == 0
        with contextlib.suppress(ConnectionResetError):
            assert len(sleeper.read_all()) < size
    wait_until(lambda: re.search(f"{container}.* attached client .*cut off", daemon.log_text()), "a word in the log")


# -- an ended and a never started container --------------------------------------------------------------------------------


def test_attached_to_an_ended_container_the_stream_ends_at_once(api: Api, ended: str) -> None:
    with api.attach(ended) as stream:
        assert stream.read_all() == b""


def test_attached_to_an_ended_container_the_logs_come_and_the_end(api: Api, ended: str) -> None:
    with api.attach(ended, f"logs=1&{BOTH}") as stream:
        assert stream.read_all() == b"out1\nout2\nerr1\nerr2\n"


def test_attached_to_an_ended_container_input_is_no_trouble(api: Api, ended: str) -> None:
    with api.attach(ended, WITH_STDIN, early=b"hello\n") as stream, contextlib.suppress(ConnectionResetError):
        assert stream.read_all() == b""


def test_attached_to_a_container_that_never_starts_the_client_waits_until_it_is_removed(api: Api) -> None:
    with api.container("true", start=False) as container:
        stream = api.attach(container)
        assert not running(api, container)
    with stream:
        assert stream.read_all() == b""


def test_attached_to_a_start_that_fails_the_client_is_told(api: Api) -> None:
    with api.container("/bin/none", start=False) as container, api.attach(container) as stream:
        assert api.call("POST", f"/containers/{container}/start").status == 500
        assert b"/bin/none" in stream.read_all()


# -- stdin ----------------------------------------------------------------------------------------------------------------


def test_stdin_is_closed_with_the_client_and_late_output_still_comes(either: Api) -> None:
    script = "cat; echo late; echo later >&2"
    with (
        either.container("sh", "-c", script, start=False, OpenStdin=True, StdinOnce=True) as container,
        either.attach(container, WITH_STDIN) as stream,
    ):
        either.start(container)
        stream.send(b"hello\n")
        stream.half_close()
        assert stream.read_all() == b"hello\nlate\nlater\n"
        assert either.wait(container) == 0


def test_stdin_sent_before_the_start_is_read_after_it(api: Api) -> None:
    with (
        api.container("cat", start=False, OpenStdin=True, StdinOnce=True) as container,
        api.attach(container, WITH_STDIN, early=b"with the head\n") as stream,
    ):
        stream.send(b"before the start\n")
        stream.half_close()
        api.start(container)
        assert stream.read_all() == b"with the head\nbefore the start\n"


def test_a_lot_of_stdin_comes_through(api: Api) -> None:
    data = bytes(range(256)) * 4000
    with (
        api.container("md5sum", start=False, OpenStdin=True, StdinOnce=True) as container,
        api.attach(container, WITH_STDIN) as stream,
    ):
        api.start(container)
        stream.send(data)
        stream.half_close()
        assert stream.read_all() == hashlib.md5(data).hexdigest().encode() + b"  -\n"


def test_without_stdin_once_the_session_ends_with_the_client_and_the_container_does_not(api: Api) -> None:
    with api.container("sh", "-c", "while read line; do echo got $line; done", OpenStdin=True) as container:
        for word in (b"one", b"two"):
            with api.attach(container, WITH_STDIN) as stream:
                stream.send(word + b"\n")
                stream.read_until(b"got " + word + b"\n")
                stream.half_close()
                assert stream.read_all() == b"got " + word + b"\n"
            assert running(api, container)


def test_stdin_is_dropped_where_the_container_has_none(api: Api) -> None:
    with (
        api.container("sh", "-c", "cat; echo end", start=False) as container,
        api.attach(container, WITH_STDIN, early=b"hello\n") as stream,
    ):
        api.start(container)
        assert stream.read_all() == b"end\n"


def test_stdin_is_dropped_where_the_client_did_not_ask_for_it(api: Api) -> None:
    with (
        api.container("sh", "-c", "read line; echo got $line", OpenStdin=True) as container,
        api.attach(container, BOTH, early=b"not for you\n") as silent,
        api.attach(container, WITH_STDIN, early=b"for you\n") as stream,
    ):
        assert stream.read_all() == b"got for you\n"
        assert silent.read_all() == b"got for you\n"


def test_stdin_without_output_sends_and_stays_silent(api: Api) -> None:
    with api.container("sh", "-c", "read line; echo got $line", OpenStdin=True) as container:
        with api.attach(container, "stream=1&stdin=1", early=b"hello\n") as stream:
            assert stream.read_all() == b""
        assert api.wait(container) == 0
        assert api.logs(container) == b"got hello\n"


def test_a_container_that_closes_its_stdin_is_no_trouble(api: Api) -> None:
    with (
        api.container("sh", "-c", "exec <&-; echo closed; exec sleep 1000", start=False, OpenStdin=True) as container,
        api.attach(container, WITH_STDIN) as stream,
    ):
        api.start(container)
        stream.read_until(b"closed\n")
        stream.send(b"x" * 100_000)
        api.ok("POST", f"/containers/{container}/kill")
        with contextlib.suppress(ConnectionResetError):
            assert stream.read_all() == b"closed\n"


# -- terminals ------------------------------------------------------------------------------------------------------------

TERMINAL = {"Tty": True, "OpenStdin": True}


def test_a_terminal_has_one_raw_stream(either: Api) -> None:
    with (
        either.container(*MIXED, start=False, Tty=True) as container,
        either.attach(container, "stream=1&stdout=1") as out,
        either.attach(container, "stream=1&stderr=1") as err,
    ):
        either.start(container)
        assert out.read_all() == b"out1\r\nerr1\r\nout2\r\nerr2\r\n"
        assert err.read_all() == b""
        assert either.logs(container, stderr=False) == b"out1\r\nerr1\r\nout2\r\nerr2\r\n"
        assert either.logs(container, stdout=False) == b""


@contextlib.contextmanager
def terminal(api: Api, **config: object) -> Iterator[tuple[str, Attached]]:
    """A shell on a terminal with a client attached to it."""
    with (
        api.container("sh", start=False, **TERMINAL, **config, Env=["PS1=ready "]) as container,
        api.attach(container, WITH_STDIN) as stream,
    ):
        api.start(container)
        stream.read_until(b"ready ")
        yield container, stream


def test_a_terminal_echoes_and_runs_what_is_typed(api: Api) -> None:
    with terminal(api) as (container, stream):
        stream.send(b"echo $((6*7)) on $(tty)\n")
        stream.read_until(b"42 on /dev/")
        stream.send(b"exit 5\n")
        stream.read_all()
        assert api.wait(container) == 5


def test_control_c_interrupts_what_runs_in_the_terminal(api: Api) -> None:
    with terminal(api) as (_, stream):
        stream.send(b"trap 'echo interr''upted' INT; sh -c 'echo go''ing; exec sleep 1000'\n")
        stream.read_until(b"going\r\n")
        stream.send(b"\x03")
        stream.read_until(b"interrupted\r\n")


@pytest.mark.parametrize(
    "keys", [[b"\x10\x11"], [b"\x10", b"\x11"], [b"x\x10\x11"]], ids=["one", "two", "behind others"]
)
def test_control_p_control_q_detaches(either: Api, keys: list[bytes]) -> None:
    with terminal(either) as (container, stream):
        for each in keys:
            stream.send(each)
        stream.read_all()
        assert running(either, container)
        with either.attach(container, WITH_STDIN) as again:
            again.send(b"\x15echo b''ack\n")
            again.read_until(b"back\r\n")


def test_control_p_alone_reaches_the_container(api: Api) -> None:
    with (
        api.container(
            "sh", "-c", "stty raw -echo; echo go; head -c 3 | od -An -tx1", start=False, **TERMINAL
        ) as container,
        api.attach(container, WITH_STDIN) as stream,
    ):
        api.start(container)
        stream.read_until(b"go")
        stream.send(b"\x10")
        stream.send(b"a\x11")
        assert b"10 61 11" in stream.read_all()


def test_without_a_terminal_control_p_control_q_are_bytes(api: Api) -> None:
    with (
        api.container("cat", start=False, OpenStdin=True, StdinOnce=True) as container,
        api.attach(container, WITH_STDIN, early=b"\x10\x11") as stream,
    ):
        api.start(container)
        stream.half_close()
        assert stream.read_all() == b"\x10\x11"


def test_resize_is_seen_inside(either: Api) -> None:
    with terminal(either) as (container, stream):
        answer = either.call("POST", f"/containers/{container}/resize?h=33&w=77")
        assert (answer.status, answer.body) == (200, b"")
        stream.send(b"stty size\n")
        stream.read_until(b"33 77\r\n")


def test_resize_needs_a_terminal_and_a_running_container(api: Api) -> None:
    with api.container("sleep", "1000") as container:
        assert api.call("POST", f"/containers/{container}/resize?h=33&w=77").status in {406, 500}
        assert api.call("POST", f"/containers/{container}/resize").status == 400
    with api.container("sh", start=False, **TERMINAL) as container:
        assert api.call("POST", f"/containers/{container}/resize?h=33&w=77").status in {406, 500}


@pytest.mark.parametrize("once", [False, True])
def test_the_end_of_a_terminals_client_ends_the_session_only(api: Api, once: bool) -> None:
    with terminal(api, StdinOnce=once) as (container, stream):
        stream.half_close()
        stream.read_all()
        assert running(api, container)


# -- whole stories --------------------------------------------------------------------------------------------------------


def test_the_command_line_client_starts_then_attaches_with_logs(either: Api) -> None:
    """``docker run``: also when the program has ended before the client is there."""
    with either.container("echo", "hello", OpenStdin=True, StdinOnce=True) as container:
        with either.attach(container, f"logs=1&{WITH_STDIN}") as stream:
            stream.half_close()
            assert stream.read_all() == b"hello\n"
        assert either.wait(container) == 0


def test_a_hundred_short_programs_lose_not_one_byte(api: Api) -> None:
    """Create, attach, start of a program that prints and ends at once; four at a time. A thousand are in test_attach_storm."""

    def run(n: int) -> bytes:
        container = api.create("echo", f"line {n}")
        with api.attach(container) as stream:
            api.start(container)
            printed = stream.read_all()
        assert api.wait(container) == 0
        api.ok("DELETE", f"/containers/{container}")
        return printed

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(100))) == [f"line {n}\n".encode() for n in range(100)]
