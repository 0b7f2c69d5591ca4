import ssl

import pytest
import trio
import trustme
from client_origin import OK, answering, ask, client, origin

from trioker.http.client import FetchError, Hopeless, Upload, ca_context
from trioker.http.client.limits import HEAD_PIECE
from trioker.http.client.tls import TlsWire
from trioker.http.tls import BadCertificate


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def ours(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def theirs(authority):
    return certified(authority, "127.0.0.1")


def certified(authority, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def https(server) -> str:
    return f"https://127.0.0.1:{server.port}"


async def refused(peer):
    with pytest.raises((trio.BrokenResourceError, EOFError)):
        await peer.request()


async def test_a_ca_file_adds_its_authority_to_those_of_the_system(authority, theirs, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ca_context(str(tmp_path / "ca.pem"))
    system = ssl.create_default_context().cert_store_stats()["x509_ca"]
    assert context.cert_store_stats()["x509_ca"] == system + 1
    async with origin(answering(OK, OK), tls=theirs) as server, client(tls=context) as each:
        for _ in range(2):
            assert await ask(each, https(server)) == (200, b"ok")
        assert server.connections == 1


async def test_a_ca_file_may_hold_the_servers_own_certificate(tmp_path):
    theirs, certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), trustme.CA().issue_cert("127.0.0.1")
    certificate.configure_cert(theirs)
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "own.pem")
    async with origin(answering(OK), tls=theirs) as server, client(tls=ca_context(str(tmp_path / "own.pem"))) as each:
        assert await ask(each, https(server)) == (200, b"ok")


def test_a_ca_file_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    for name in ("none", "empty"):
        with pytest.raises(BadCertificate, match=f"/{name}: "):
            ca_context(str(tmp_path / name))


async def test_an_unknown_authority_is_refused(theirs):
    async with origin(refused, tls=theirs) as server, client() as each:
        with pytest.raises(Hopeless, match=f"{https(server)}/x: certificate verify failed: unable to get"):
            await ask(each, f"{https(server)}/x?secret")


async def test_a_wrong_name_is_refused(authority, ours):
    async with origin(refused, tls=certified(authority, "other.test")) as server, client(tls=ours) as each:
        with pytest.raises(Hopeless, match="certificate verify failed: IP address mismatch"):
            await ask(each, https(server))


@pytest.mark.parametrize("insecure", ["127.0.0.1", "127.0.0.1:PORT", "other 127.0.0.1"])
async def test_an_insecure_host_may_show_any_certificate(insecure):
    strange = certified(trustme.CA(), "other.test")
    async with origin(answering(OK), tls=strange) as server:
        async with client(insecure=insecure.replace("PORT", str(server.port)).split()) as each:
            assert await ask(each, https(server)) == (200, b"ok")


@pytest.mark.parametrize("insecure", ["127.0.0.1:1", "127.0.0.2", "localhost"])
async def test_no_other_host_may(insecure):
    async with origin(refused, tls=certified(trustme.CA(), "127.0.0.1")) as server:
        async with client(insecure=[insecure]) as each:
            with pytest.raises(Hopeless, match="certificate verify failed"):
                await ask(each, https(server))


async def test_the_name_asked_for_is_told_to_the_server(authority, ours):
    names = []
    theirs = certified(authority, "localhost")
    theirs.sni_callback = lambda _socket, name, _context: names.append(name)
    async with origin(answering(OK), tls=theirs) as server, client(tls=ours) as each:
        await ask(each, f"https://LocalHost:{server.port}")
    assert names == ["localhost"]


async def test_old_versions_of_tls_are_refused(authority, theirs, tmp_path):
    theirs.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    theirs.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        theirs.maximum_version = ssl.TLSVersion.TLSv1_1
    for options in ({"tls": ca_file(authority, tmp_path)}, {"insecure": ["127.0.0.1"]}):
        async with origin(refused, tls=theirs) as server, client(**options) as each:
            with pytest.raises(FetchError, match=r"the connection was cut|alert protocol version"):
                await ask(each, https(server))


def ca_file(authority, tmp_path) -> ssl.SSLContext:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return ca_context(str(tmp_path / "ca.pem"))


async def test_a_server_that_speaks_no_tls_is_an_error(ours):
    async def play(peer):
        await peer.stream.receive_some()
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server")

    async with origin(play) as server, client(tls=ours) as each:
        with pytest.raises(Hopeless, match=f"{https(server)}/: TLS failed: wrong version number"):
            await ask(each, f"{https(server)}/")


async def test_a_handshake_that_is_cut_is_an_error_that_may_pass(ours):
    async def play(peer):
        await peer.stream.receive_some()

    async with origin(play) as server, client(tls=ours) as each:
        with pytest.raises(FetchError, match="the connection was cut") as caught:
            await ask(each, https(server))
        assert not isinstance(caught.value, Hopeless)


BODY = bytes(range(256)) * 4096


async def test_long_bodies_come_and_go_whole(ours, theirs):
    got = []

    async def play(peer):
        got.append((await peer.request())[1])
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        await peer.stream.send_all(BODY)

    async with origin(play, tls=theirs) as server, client(tls=ours) as each:
        assert await ask(each, https(server), "POST", body=BODY) == (200, BODY)
    assert got == [BODY]


@pytest.mark.parametrize("size", [1, 100, 16 * 1024, 16 * 1024 + 1])
async def test_pieces_of_every_size_are_put_together(size, ours, theirs):
    body = BODY[: min(200 * size, 100_000)]

    async def play(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), size):
            await peer.stream.send_all(body[start : start + size])

    async with origin(play, tls=theirs) as server, client(tls=ours) as each:
        assert await ask(each, https(server)) == (200, body)


async def test_a_body_without_length_ends_by_tls_and_not_by_a_cut(ours, theirs):
    async def cutting(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await peer.stream.transport_stream.aclose()

    ending = answering(b"HTTP/1.1 200 OK\r\n\r\nhello")
    async with origin(ending, cutting, tls=theirs) as server, client(tls=ours) as each:
        assert await ask(each, https(server)) == (200, b"hello")
        with pytest.raises(FetchError, match="the connection was cut"):
            await ask(each, https(server))


async def test_a_refusal_while_sending_is_read_over_tls_too(ours, theirs):
    async def endless():
        while True:
            yield b"x" * 65536

    async def play(peer):
        await peer.head()
        await trio.testing.wait_all_tasks_blocked()  # the client is within a send that will never end
        await peer.send(b"HTTP/1.1 413 No\r\nContent-Length: 100000\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(b"x" * 100_000)
        await peer.closed()

    async with origin(play, tls=theirs) as server, client(tls=ours) as each:
        assert await ask(each, https(server), "PUT", body=Upload(endless)) == (413, b"x" * 100_000)


async def test_a_silent_handshake_is_given_up(ours, autojump_clock):
    async def play(peer):
        await trio.sleep_forever()

    async with origin(play) as server, client(tls=ours) as each:
        with pytest.raises(FetchError, match=r"no connection to 127.0.0.1:[0-9]+ within 30 s"):
            await ask(each, https(server))


async def test_a_kept_connection_on_which_more_came_than_was_asked_for_is_not_used_again(ours, theirs):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %05d\r\n\r\n"
    length = HEAD_PIECE - len(head % 0)  # so that the first read ends where the body does

    async def play(peer):
        await peer.request()
        await peer.send(head % length + BODY[:length] + OK.replace(b"ok", b"no"))
        await peer.left()

    async with origin(play, answering(OK), tls=theirs) as server, client(tls=ours) as each:
        assert await ask(each, https(server)) == (200, BODY[:length])
        assert await ask(each, https(server)) == (200, b"ok")


class Below:
    """A wire that gives what it has, and forgets what it is given."""

    def __init__(self, given: bytes) -> None:
        self.given = given

    async def send_all(self, data):
        pass

    async def receive_some(self, max_bytes=None):
        given, self.given = self.given, b""
        return given


async def test_after_a_send_that_was_torn_nothing_is_sent(ours, theirs, autojump_clock):
    async def play(peer):
        await peer.head()
        await trio.sleep_forever()

    async with origin(play, tls=theirs) as server:
        below = await trio.open_tcp_stream("127.0.0.1", server.port)
        wire = TlsWire(below, ours, "127.0.0.1")
        await wire.handshake()
        with trio.move_on_after(1):
            await wire.send_all(b"PUT / HTTP/1.1\r\n\r\n")
            while True:
                await wire.send_all(BODY)
        with pytest.raises(trio.BrokenResourceError):
            await wire.send_all(b"x")
        await below.aclose()


async def test_garbage_in_the_handshake_is_a_failure_of_tls(ours):
    wire = TlsWire(Below(b"\x16\x03\x03\x00\x04garbage"), ours, "127.0.0.1")
    with pytest.raises(ssl.SSLError):
        await wire.handshake()
    with pytest.raises(trio.BrokenResourceError):
        await wire.send_all(b"x")
