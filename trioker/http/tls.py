"""TLS for listeners: both sides show a certificate of one authority, as docker's ``--tlsverify`` has it."""

import ssl


class BadCertificate(Exception):
    """A certificate or key file that cannot be used; the text names the file and the flag."""


def server_context(ca: str, certificate: str, key: str) -> ssl.SSLContext:
    """What a listener needs to speak TLS 1.2 or newer to clients with a certificate signed by ``ca``, and to no others.

    The arguments are paths of PEM files. Raises BadCertificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    for flag, path in (("--tlscacert", ca), ("--tlscert", certificate), ("--tlskey", key)):
        _check_readable(flag, path)
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise BadCertificate(f"--tlscacert {ca}: no certificates in PEM form ({error.reason})") from None
    if not context.get_ca_certs():
        raise BadCertificate(f"--tlscacert {ca}: it holds no certificate of an authority")
    _load_pair(context, certificate, key)
    return context


def _check_readable(flag: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise BadCertificate(f"{flag} {path}: {error.strerror}") from None


def _no_password() -> str:
    # Without this, OpenSSL asks on the terminal, and a daemon waits for ever.
    raise BadCertificate("--tlskey: the key is encrypted; give one without a password")


def _load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise BadCertificate(f"--tlskey {key}: the key does not belong to --tlscert {certificate}") from None
        raise BadCertificate(f"--tlscert {certificate}, --tlskey {key}: not a PEM pair ({error.reason})") from None
