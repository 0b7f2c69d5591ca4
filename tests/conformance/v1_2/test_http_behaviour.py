"""What the daemon does as an HTTP server, over raw sockets (behaviour.md sections 0 and 1; RFC 9112)."""

import contextlib
import json
import re
import socket
from collections.abc import Iterator

import pytest
from api_client import Answer, Api, Connection, dial, exchange, read_answer, read_head
from daemon import Daemon
from polling import wait_until

pytestmark = pytest.mark.root

CREATE = json.dumps({"Image": "base", "Cmd": ["true"]}).encode()


@pytest.fixture(params=["unix", "tcp"])
def wire(request: pytest.FixtureRequest, daemon: Daemon) -> Api:
    """The same over both kinds of socket."""
    return daemon.api if request.param == "unix" else daemon.tcp


def get(path: str, *lines: str, version: str = "1.1", method: str = "GET") -> bytes:
    host = [] if any(line.lower().startswith("host:") for line in lines) or version == "1.0" else ["Host: "]
    return "\r\n".join([f"{method} {path} HTTP/{version}", *host, *lines, "", ""]).encode()


def ask(api: Api, request: bytes, method: str = "GET") -> Answer:
    """One request sent as it is."""
    with dial(api.address) as connected, connected.makefile("rb") as file:
        connected.sendall(request)
        return read_answer(file, method)


def test_a_connection_serves_many_requests(wire: Api) -> None:
    with contextlib.closing(Connection(wire.address)) as connection:
        connection.connect()
        connected = connection.sock
        for path in ("/version", "/v1.2/info", "/containers/none/json", "/v1.2/version") * 5:
            connection.request("GET", path)
            response = connection.getresponse()
            assert response.read()
            assert response.version == 11
            assert "close" not in response.headers.get("Connection", "")
            assert connection.sock is connected


def test_every_kind_of_reply_keeps_the_connection(wire: Api) -> None:
    requests = (
        ("GET", "/version"), ("GET", "/none"), ("POST", "/version"), ("OPTIONS", "/x"), ("GET", "//version"), ("GET", "/v9/version"),
        ("POST", "/containers/none/kill"), ("GET", "/containers/json?all=x"), ("HEAD", "/version"), ("GET", "/images/viz"),
    )  # fmt: skip
    with dial(wire.address) as connected, connected.makefile("rb") as file:
        for method, path in (*requests, *requests):
            connected.sendall(get(path, method=method))
            answer = read_answer(file, method)
            assert answer.status in {200, 301, 400, 404, 405}
            assert answer.headers["Connection"] is None
            assert answer.headers["Content-Length"] is not None


def test_pipelined_requests_are_answered_in_their_order(wire: Api, api: Api) -> None:
    with api.container("sh", "-c", "read line; exit 7", OpenStdin=True) as container:
        paths = ["/version", f"/containers/{container}/wait", "/containers/none/json", "/info", "/v1.2/images/json"]
        methods = ["POST" if path.endswith("wait") else "GET" for path in paths]
        with dial(wire.address) as connected, connected.makefile("rb") as file:
            connected.sendall(b"".join(get(path, method=method) for path, method in zip(paths, methods, strict=True)))
            assert read_answer(file).json()["Version"]
            with api.attach(container, "stream=1&stdin=1") as stream:
                stream.send(b"go\n")
            assert read_answer(file).json() == {"StatusCode": 7}
            assert read_answer(file).text == "No such container: none\n"
            assert "Containers" in read_answer(file).json()
            assert isinstance(read_answer(file).json(), list)


def test_a_pipelined_upload_ends_where_it_says(wire: Api, api: Api) -> None:
    head = get("/containers/create", f"Content-Length: {len(CREATE)}", method="POST")
    with dial(wire.address) as connected, connected.makefile("rb") as file:
        connected.sendall((head + CREATE) * 3 + get("/version"))
        made = [read_answer(file).json()["Id"] for _ in range(3)]
        assert read_answer(file).status == 200
    for each in made:
        api.remove(each)


def test_a_request_may_come_byte_by_byte(wire: Api) -> None:
    with dial(wire.address) as connected, connected.makefile("rb") as file:
        for byte in get("/version"):
            connected.sendall(bytes([byte]))
        assert read_answer(file).status == 200


def test_a_chunked_body_is_read(wire: Api, api: Api) -> None:
    def pieces() -> Iterator[bytes]:
        yield from (CREATE[:1], CREATE[1:20], CREATE[20:])

    answer = wire.call("POST", "/containers/create", pieces(), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    assert answer.status == 201, answer.text
    api.remove(answer.json()["Id"])


def test_chunk_extensions_and_trailers_are_skipped(api: Api) -> None:
    body = b"%x;name=value\r\n%s\r\n0\r\nX-Trailer: 1\r\n\r\n" % (len(CREATE), CREATE)
    with dial(api.address) as connected, connected.makefile("rb") as file:
        connected.sendall(
            get("/containers/create", "Transfer-Encoding: chunked", method="POST") + body + get("/version")
        )
        made = read_answer(file)
        assert made.status == 201, made.text
        assert read_answer(file).status == 200
    api.remove(made.json()["Id"])


def test_export_is_chunked(wire: Api, api: Api) -> None:
    with api.container("true", start=False) as container:
        with dial(wire.address) as connected, connected.makefile("rb") as file:
            connected.sendall(get(f"/containers/{container}/export") + get("/version"))
            export = read_answer(file)
            assert export.headers["Transfer-Encoding"] == "chunked"
            assert len(export.body) > 100_000
            assert read_answer(file).status == 200


def test_a_client_that_expects_100_gets_it_before_it_sends(wire: Api, api: Api) -> None:
    head = get("/containers/create", f"Content-Length: {len(CREATE)}", "Expect: 100-continue", method="POST")
    with dial(wire.address) as connected:
        connected.sendall(head)
        assert read_head(connected) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connected.sendall(CREATE)
        with connected.makefile("rb") as file:
            made = read_answer(file)
    assert made.status == 201, made.text
    api.remove(made.json()["Id"])


def test_a_client_that_expects_100_is_refused_without_it(api: Api) -> None:
    head = get("/containers/none/start", "Content-Length: 1000000000", "Expect: 100-continue", method="POST")
    assert exchange(api.address, head).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize("path", ["/version", "/containers/json", "/images/base/json", "/images/viz"])
def test_head_is_the_head_of_get(wire: Api, path: str) -> None:
    with dial(wire.address) as connected, connected.makefile("rb") as file:
        connected.sendall(get(path) + get(path, method="HEAD") + get("/version"))
        whole, only_head = read_answer(file), read_answer(file, "HEAD")
        assert read_answer(file).json()["Version"]
    assert only_head.status == whole.status == 200
    for name in ("Content-Type", "Content-Length"):
        assert only_head.headers[name] == whole.headers[name]


def test_head_of_what_is_missing_is_404_without_a_body(wire: Api) -> None:
    reply = exchange(wire.address, get("/images/none/json", "Connection: close", method="HEAD"))
    assert reply.startswith(b"HTTP/1.1 404 ")
    assert reply.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "path", ["/images/ba%73e/json", "/%76ersion", "/images/base%3Alatest/json", "/v1%2E2/version", "/images%2Fjson"]
)
def test_paths_are_percent_decoded(wire: Api, path: str) -> None:
    assert ask(wire, get(path)).status == 200


def test_query_values_are_percent_decoded(wire: Api) -> None:
    assert len(ask(wire, get("/images/json?filter=b%61se")).json()) == 1
    assert "plus and space" in ask(wire, get("/containers/json?limit=plus+and%20space")).text


@pytest.mark.parametrize("path", ["/images/%/json", "/images/%zz/json", "/images/%ff/json", "/images/a%00b/json"])
def test_bad_percent_encoding_is_400(api: Api, path: str) -> None:
    assert ask(api, get(path)).status == 400


@pytest.mark.parametrize(
    "host", ["Host: ", "Host:", "Host: localhost", "Host: 127.0.0.1:4243", "Host: [::1]:4243", "Host: 10.1.2.3"]
)
def test_an_empty_host_an_address_and_localhost_are_welcome(wire: Api, host: str) -> None:
    assert ask(wire, get("/version", host)).status == 200


@pytest.mark.parametrize(
    "host", ["example.org", "example.org:4243", "localhost.example.org", "127.0.0.1.example.org", "a@localhost"]
)
def test_any_other_host_is_refused_over_tcp(daemon: Daemon, host: str) -> None:
    answer = ask(daemon.tcp, get("/version", f"Host: {host}"))
    assert answer.status in {400, 403}
    assert "Version" not in answer.text


def test_a_host_in_the_target_is_refused_over_tcp_too(daemon: Daemon) -> None:
    assert ask(daemon.tcp, get("http://example.org/version", "Host: localhost")).status == 403


def test_any_host_is_welcome_over_the_unix_socket(daemon: Daemon) -> None:
    assert ask(daemon.api, get("/version", "Host: docker")).status == 200


def test_a_request_without_a_host_is_400(api: Api) -> None:
    assert ask(api, b"GET /version HTTP/1.1\r\n\r\n").status == 400


def test_http_1_0_is_answered_with_a_length_and_the_end_of_the_connection(wire: Api) -> None:
    reply = exchange(wire.address, get("/version", version="1.0"))
    head, _, body = reply.partition(b"\r\n\r\n")
    assert b" 200 " in head
    assert int(re.findall(rb"(?i)content-length: (\d+)", head)[0]) == len(body)


def test_http_1_0_gets_a_stream_without_chunks(wire: Api, api: Api) -> None:
    with api.container("true", start=False) as container:
        reply = exchange(wire.address, get(f"/containers/{container}/export", version="1.0"))
    head, _, body = reply.partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    assert len(body) % 512 == 0
    assert b"ustar" in body[:512]


def test_http_1_0_may_ask_to_be_kept(wire: Api) -> None:
    with dial(wire.address) as connected, connected.makefile("rb") as file:
        for _ in range(2):
            connected.sendall(get("/version", "Connection: keep-alive", version="1.0"))
            assert read_answer(file).status == 200


def test_connection_close_is_honoured(wire: Api) -> None:
    reply = exchange(wire.address, get("/version", "Connection: close") + get("/info"))
    assert reply.count(b"HTTP/1.1 ") == 1
    assert b"connection: close\r\n" in reply.lower()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/version", {"GET", "HEAD"}),
        ("DELETE", "/info", {"GET", "HEAD"}),
        ("PUT", "/containers/json", {"GET", "HEAD"}),
        ("GET", "/containers/create", {"POST"}),
        ("PATCH", "/containers/create", {"POST"}),
        ("GET", "/containers/x/start", {"POST"}),
        ("HEAD", "/containers/x/attach", {"POST"}),
        ("POST", "/containers/x/json", {"GET", "HEAD"}),
        ("POST", "/images/a/b/json", {"GET", "HEAD"}),
        ("PUT", "/images/x/tag", {"POST"}),
        ("PUT", "/images/create", {"POST"}),
        ("GET", "/containers/x", {"DELETE"}),
    ],
)
def test_another_method_is_405_with_those_allowed(api: Api, method: str, path: str, allowed: set[str]) -> None:
    for prefix in ("", "/v1.2"):
        answer = ask(api, get(prefix + path, method=method), method)
        assert answer.status == 405
        assert set(answer.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize("version", ["1.3", "1.1", "1.0", "0", "2", "1.20", "1.2.3", "99.99"])
def test_another_version_is_404_and_told_which_are_served(wire: Api, version: str) -> None:
    answer = ask(wire, get(f"/v{version}/version"))
    assert answer.status == 404
    assert version in answer.text
    assert "1.2" in answer.text.replace(version, "", 1)


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("//version", "/version"),
        ("/v1.2//containers///json?all=1&limit=2", "/v1.2/containers/json?all=1&limit=2"),
        ("/images/../version", "/version"),
        ("/./version", "/version"),
        ("/../../version", "/version"),
        ("//example.org/%2e%2e/version", "/version"),
    ],
)
def test_an_unclean_path_is_moved_to_the_clean_one(wire: Api, path: str, location: str) -> None:
    answer = ask(wire, get(path))
    assert (answer.status, answer.headers["Location"], answer.body) == (301, location, b"")


def test_a_moved_path_cannot_write_headers(api: Api) -> None:
    reply = exchange(api.address, get("//x%0d%0aSet-Cookie:%20a=b", "Connection: close"))
    assert b"\nSet-Cookie" not in reply


@pytest.mark.parametrize(
    "header",
    ["Origin: http://example.org", "Origin: null", "Origin: http://localhost:4243", "Sec-Fetch-Site: cross-site"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_web_pages_are_refused(wire: Api, method: str, header: str) -> None:
    answer = ask(wire, get("/version", header, method=method))
    assert answer.status == 403
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_without_the_flag_no_reply_invites_web_pages(wire: Api) -> None:
    assert not [name for name in ask(wire, get("/version")).headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    "request_line", ["GET /version", "GET /none", "OPTIONS /version", "POST /version", "GET /containers/json?all=x"]
)
def test_with_the_flag_every_reply_lets_web_pages_read_it(empty_daemon: Daemon, request_line: str) -> None:
    method, path = request_line.split()
    for api in (empty_daemon.api, empty_daemon.tcp):
        headers = ask(api, get(path, "Origin: http://example.org", method=method)).headers
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert headers["Access-Control-Allow-Headers"] == "Origin, X-Requested-With, Content-Type, Accept"
        assert headers["Access-Control-Allow-Methods"] == "GET, POST, DELETE, PUT, OPTIONS"


def test_the_flag_does_not_open_other_host_names(empty_daemon: Daemon) -> None:
    assert ask(empty_daemon.tcp, get("/version", "Host: example.org")).status == 403


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (get("/version", "X-Long: " + "x" * 70_000), 431),
        (get("/" + "x" * 70_000), 431),
        (get("/version", *(f"X-{n}: y" for n in range(200))), 431),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET /version HTTP/9.9\r\nHost: \r\n\r\n", 505),
        (b"GET /version HTTP/1.1\nHost: \n\n", 400),
        (get("/version", "Host: a", "Host: b"), 400),
        (get("/version", "Na me: x"), 400),
        (get("version"), 400),
        (get("/version", "Content-Length: 5", "Transfer-Encoding: chunked", method="POST"), 400),
        (get("/version", "Content-Length: 5", "Content-Length: 6", method="POST"), 400),
        (get("/version", "Content-Length: -1", method="POST"), 400),
        (get("/version", "Content-Length: 0x5", method="POST"), 400),
        (get("/version", "Transfer-Encoding: gzip", method="POST"), 501),
        (get("/containers/create", "Transfer-Encoding: chunked", method="POST") + b"zz\r\n", 400),
        (get("/containers/create", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhelloX", 400),
        (get("/containers/create", "Content-Length: 2000000", method="POST") + b" " * 2_000_000, 413),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_what_is_no_sound_request_is_refused_and_ends_the_connection(
    api: Api, request_bytes: bytes, status: int
) -> None:
    reply = exchange(api.address, request_bytes)
    assert reply.startswith(b"HTTP/1.1 %d " % status), reply[:200]
    assert len(re.findall(rb"HTTP/1\.1 \d{3} ", reply)) == 1


def test_a_long_target_within_the_limit_is_served(api: Api) -> None:
    assert ask(api, get("/images/json?filter=" + "x" * 50_000)).json() == []


def test_an_upload_that_breaks_off_makes_no_container(api: Api) -> None:
    before = api.ok("GET", "/info")["Containers"]
    with dial(api.address) as connected:
        connected.sendall(
            get("/containers/create", "Content-Length: 100", method="POST") + b'{"Image":"base","Cmd":["true"]}'
        )
    assert api.ok("GET", "/info")["Containers"] == before


def test_a_client_that_goes_away_is_no_longer_waited_for(wire: Api, api: Api) -> None:
    with api.container("sleep", "1000") as container, contextlib.ExitStack() as clients:
        for _ in range(20):
            connected = clients.enter_context(dial(wire.address))
            connected.sendall(get("/version") + get(f"/containers/{container}/wait", method="POST"))
            with connected.makefile("rb") as file:
                assert read_answer(file).status == 200  # so the second request is being answered now
        most = api.ok("GET", "/info")["NFd"]
        clients.close()
        wait_until(lambda: api.ok("GET", "/info")["NFd"] <= most - 20, "the end of twenty connections")
        assert api.inspect(container)["State"]["Running"]


def test_a_client_may_end_its_side_before_the_answer(wire: Api) -> None:
    with dial(wire.address) as connected, connected.makefile("rb") as file:
        connected.sendall(get("/version"))
        connected.shutdown(socket.SHUT_WR)
        assert read_answer(file).status == 200
        assert file.read() == b""


@pytest.mark.parametrize("path", ["/none", "/containers/none/json", "/v9.9/version", "/containers/json?all=x"])
def test_an_error_is_one_line_of_text(wire: Api, path: str) -> None:
    answer = ask(wire, get(path))
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.text.endswith("\n")
    assert answer.text.count("\n") == 1
