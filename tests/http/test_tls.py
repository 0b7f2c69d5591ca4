import ssl

import pytest
import trio
import trustme
from http_peer import echo, serving, until

from trioker.http.limits import Limits
from trioker.http.messages import Request, Takeover
from trioker.http.tls import BadCertificate, server_context

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


class Files:
    """An authority, a server's certificate and a client's, on disk."""

    def __init__(self, folder) -> None:
        self.authority = trustme.CA()
        self.ca, self.certificate, self.key = (str(folder / name) for name in ("ca.pem", "cert.pem", "key.pem"))
        issued = self.authority.issue_cert("127.0.0.1")
        self.authority.cert_pem.write_to_path(self.ca)
        issued.cert_chain_pems[0].write_to_path(self.certificate)
        issued.private_key_pem.write_to_path(self.key)

    def client(self, *, authority: trustme.CA | None = None, certificate: bool = True) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if certificate:
            (authority or self.authority).issue_cert("client@example.org").configure_cert(context)
        return context


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def secure(stream: trio.SocketStream, context: ssl.SSLContext) -> trio.SSLStream:
    return trio.SSLStream(stream, context, server_hostname="127.0.0.1", https_compatible=True)


async def test_a_client_with_a_certificate_is_served(files):
    async with serving(echo, tls=server_context(files.ca, files.certificate, files.key)) as dial:
        client = secure(await dial(), files.client())
        for _ in range(2):
            await client.send_all(GET)
            assert b" 200 " in await until(client, b"GET /a")


@pytest.mark.parametrize("stranger", [False, True])
async def test_a_client_without_one_of_our_certificates_is_refused(files, stranger):
    context = files.client(authority=trustme.CA(), certificate=stranger)
    async with serving(echo, tls=server_context(files.ca, files.certificate, files.key)) as dial:
        client = secure(await dial(), context)
        try:
            await client.send_all(GET)  # in TLS 1.3 a client learns of its refusal after its own handshake
            received = await client.receive_some()
        except trio.BrokenResourceError:
            received = b""
        assert received == b""


def test_tls_older_than_1_2_is_off(files):
    assert server_context(files.ca, files.certificate, files.key).minimum_version is ssl.TLSVersion.TLSv1_2


async def test_a_client_that_does_not_speak_tls_is_refused(files):
    async with serving(echo, tls=server_context(files.ca, files.certificate, files.key)) as dial:
        client = await dial()
        await client.send_all(GET)
        received = b""
        try:
            while piece := await client.receive_some():
                received += piece
        except trio.BrokenResourceError:
            pass
        assert b"HTTP" not in received


async def test_a_silent_client_is_cut_at_the_handshake_deadline(files, autojump_clock):
    async with serving(echo, tls=server_context(files.ca, files.certificate, files.key)) as dial:
        client = await dial()
        assert await client.receive_some() == b""
        assert Limits().handshake_time <= trio.current_time() <= Limits().handshake_time + 1


async def test_a_taken_tls_stream_ends_with_close_notify(files):
    async def attach(_: Request) -> Takeover:
        async def run(stream):
            await stream.send_all(b"HELLO")
            assert await stream.receive_some() == b"keys"
            await stream.send_eof()
            assert await stream.receive_some() == b""

        return Takeover(run)

    async with serving(attach, tls=server_context(files.ca, files.certificate, files.key)) as dial:
        # not https_compatible: such a client takes an end without close_notify for an attack
        client = trio.SSLStream(await dial(), files.client(), server_hostname="127.0.0.1")
        await client.send_all(GET)
        assert await until(client, b"HELLO") == b"HELLO"
        await client.send_all(b"keys")
        assert await client.receive_some() == b""
        await client.aclose()


def test_a_missing_file_is_named_with_its_flag(files, tmp_path):
    missing = str(tmp_path / "missing")
    for arguments, flag in [
        ((missing, files.certificate, files.key), "--tlscacert"),
        ((files.ca, missing, files.key), "--tlscert"),
        ((files.ca, files.certificate, missing), "--tlskey"),
    ]:
        with pytest.raises(BadCertificate, match=f"{flag} {missing}: No such file or directory"):
            server_context(*arguments)


def test_a_key_that_does_not_match_is_named(files, tmp_path):
    other = str(tmp_path / "other.pem")
    files.authority.issue_cert("x").private_key_pem.write_to_path(other)
    with pytest.raises(BadCertificate, match=f"--tlskey {other}: the key does not belong to --tlscert"):
        server_context(files.ca, files.certificate, other)


def test_files_that_are_no_pem_are_named(files, tmp_path):
    junk = tmp_path / "junk"
    junk.write_text("junk")
    with pytest.raises(BadCertificate, match=f"--tlscacert {junk}"):
        server_context(str(junk), files.certificate, files.key)
    with pytest.raises(BadCertificate, match=f"--tlscert {junk}"):
        server_context(files.ca, str(junk), files.key)


def test_an_encrypted_key_does_not_ask_for_its_password(files, tmp_path):
    from cryptography.hazmat.primitives import serialization

    with open(files.key, "rb") as source:
        key = serialization.load_pem_private_key(source.read(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(BadCertificate, match="encrypted"):
        server_context(files.ca, files.certificate, str(locked))
