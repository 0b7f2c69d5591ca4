"""The values of ``-H``: what they say, and whether they may be served in the clear."""

import ipaddress
import re
import socket

import attrs

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 4243
"""The Docker daemon's port in the days of API 1.2."""

_TCP = re.compile(r"(\[[^\]]*\]|[^:\[\]/]*)(?::([0-9]{1,5})?)?/?")
_SUN_PATH = 107
"""Bytes of a path that fit into struct sockaddr_un beside the final NUL (unix(7))."""


class BadAddress(Exception):
    """A ``-H`` value that cannot be understood or must not be served; the text repeats it."""


@attrs.frozen
class Tcp:
    """``tcp://host:port``; without a host it is this machine's own, without a port DEFAULT_PORT; port 0 is one of the kernel's choice."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


@attrs.frozen
class Unix:
    """``unix:///path``."""

    path: str

    def __str__(self) -> str:
        return f"unix://{self.path}"


@attrs.frozen
class Activated:
    """``fd://``: the sockets that systemd opened for us (sd_listen_fds(3))."""

    def __str__(self) -> str:
        return "fd://"


Address = Tcp | Unix | Activated


def parse_address(value: str) -> Address:
    """Read one ``-H`` value. Raises BadAddress."""
    scheme, found, rest = value.partition("://")
    if found and scheme == "tcp":
        return _parse_tcp(value, rest)
    if found and scheme == "unix":
        return _parse_unix(value, rest)
    if value == "fd://":
        return Activated()
    raise BadAddress(f"bad address {value!r}: use tcp://HOST:PORT, unix:///PATH or fd://")


def _parse_tcp(value: str, rest: str) -> Tcp:
    match = _TCP.fullmatch(rest)
    if match is None:
        raise BadAddress(f"bad address {value!r}: use tcp://HOST:PORT, tcp://[IPV6]:PORT or tcp://:PORT")
    host, port = match[1] or DEFAULT_HOST, int(match[2] or DEFAULT_PORT)
    if port > 65535:
        raise BadAddress(f"bad address {value!r}: ports end at 65535")
    if host.startswith("["):
        host = host[1:-1]
        if not _is_ipv6(host):
            raise BadAddress(f"bad address {value!r}: {host!r} is no IPv6 address")
    return Tcp(host, port)


def _parse_unix(value: str, path: str) -> Unix:
    if not path.startswith("/") or "\0" in path or path.endswith("/"):
        raise BadAddress(f"bad address {value!r}: unix:// wants an absolute path")
    if len(path.encode("utf-8", "surrogateescape")) > _SUN_PATH:
        raise BadAddress(f"bad address {value!r}: the path is longer than {_SUN_PATH} bytes")
    return Unix(path)


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``. Names other than localhost do not count: what they mean can change."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_internal(host: str) -> bool:
    """Whether ``host`` means this machine or its link (where clouds keep their secrets), in any form that getaddrinfo(3) takes: ``127.1``, ``0``.

    Other names do not count: who cares must also look at what answers.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            address = ipaddress.IPv4Address(socket.inet_aton(host))
        except OSError:
            return f".{host.removesuffix('.')}".endswith(".localhost")
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_link_local or address.is_unspecified


def check_exposure(address: Address, tls: bool | None) -> None:
    """Refuse to serve the API, which is root's, to a network in the clear.

    ``tls`` is True with certificates, False when the user said ``--tls=false``, None when nothing was said. Raises BadAddress.
    """
    if isinstance(address, Tcp) and tls is None and not is_loopback(address.host):
        raise BadAddress(
            f"{address} can be reached from other machines, and who reaches it is root here: "
            "give --tlsverify --tlscacert FILE --tlscert FILE --tlskey FILE, or say --tls=false"
        )
