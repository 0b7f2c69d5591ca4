"""What a user typed -> which registry, which repository there, which tag or digest; and under which URLs that registry may be asked."""

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

import attrs

from trioker.http.addresses import is_loopback
from trioker.images.references import DEFAULT_TAG, check_tag, split_reference
from trioker.model.errors import InvalidParameter

DOCKER_HUB = "docker.io"
_HUB_NAMES = {DOCKER_HUB, "index.docker.io", "registry-1.docker.io"}
_HUB_URL = "https://registry-1.docker.io"
"""docker.io names the registry; this host serves it."""

NAME_LENGTH = 255
"""Characters of host and repository together: what clients of the distribution protocol agree on (OCI distribution-spec 1.1, "Pulling manifests")."""
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::([0-9]{1,5}))?")
_COMPONENT = r"[A-Za-z0-9_]+(?:[._-]+[A-Za-z0-9_]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
"""Whatever either protocol may know: the registries of 2013 had upper case, v2 has not (``v2.check_name``). No part is "." or ".."."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def _canonical(authority: str) -> str:
    host = authority.lower()
    return DOCKER_HUB if host in _HUB_NAMES else host


def _check_host(authority: str) -> str:
    match = _HOST.fullmatch(authority)
    if match is None or int(match[2] or 1) not in range(1, 65536):
        raise InvalidParameter(f"bad registry {authority[:100]!r}: expected HOST or HOST:PORT")
    return authority


def _split_base(value: str) -> SplitResult:
    """A flag's ``host[:port]`` or URL."""
    try:
        parts = urlsplit(value if "://" in value else f"//{value}")
        _check_host(parts.netloc)
    except (ValueError, InvalidParameter):
        raise InvalidParameter(
            f"bad registry {value[:100]!r}: expected HOST, HOST:PORT or a URL without user"
        ) from None
    if (
        parts.scheme not in {"", "http", "https"}
        or parts.query
        or parts.fragment
        or not value.isprintable()
        or " " in value
    ):
        raise InvalidParameter(f"bad registry {value[:100]!r}: use http://HOST[:PORT] or https://HOST[:PORT]")
    return parts


def _network(cidr: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        raise InvalidParameter(
            f"bad registry {cidr[:100]!r}: expected HOST, HOST:PORT or a network like 10.0.0.0/8"
        ) from None


def _contains(cidr: str, host: str) -> bool:
    try:
        return ipaddress.ip_address(host) in _network(cidr)
    except ValueError:
        return False


@attrs.frozen
class Registries:
    """What the daemon was told of registries. Raises InvalidParameter for what cannot be one."""

    default: str = DOCKER_HUB
    """Where names without a host are looked for: ``host[:port]`` or a URL."""
    mirrors: tuple[str, ...] = ()
    """URLs asked before the default registry."""
    insecure: frozenset[str] = frozenset()
    """``host[:port]`` or CIDR: plain http, or TLS whose certificate nobody checks. Loopback needs no entry."""

    def __attrs_post_init__(self) -> None:
        for url in (self.default, *self.mirrors):
            _split_base(url)
        for entry in self.insecure:
            if "/" in entry:
                _network(entry)
            else:
                _check_host(entry)

    @property
    def default_host(self) -> str:
        """The default registry as ``host[:port]``."""
        return _canonical(_split_base(self.default).netloc)

    def allow_plain(self, authority: str) -> bool:
        """Whether ``host[:port]`` may be talked to in the clear."""
        host = urlsplit(f"//{authority}").hostname or ""
        named = {authority.lower(), host, f"[{host}]"} & {entry.lower() for entry in self.insecure}
        return (
            is_loopback(host) or bool(named) or any(_contains(entry, host) for entry in self.insecure if "/" in entry)
        )


DEFAULT_REGISTRIES = Registries()


@attrs.frozen
class Remote:
    """An image in a registry."""

    host: str
    """``host[:port]``, or docker.io."""
    repository: str
    """Its name there, ``library/`` included at docker.io."""
    tag: str = ""
    """"" where none was typed."""
    digest: str = ""
    local: str = ""
    """What the repository is called here: as typed, but short for what the default docker.io has."""

    @property
    def reference(self) -> str:
        """What to ask the registry for: the digest, else the tag, else ``latest``."""
        return self.digest or self.tag or DEFAULT_TAG

    def __str__(self) -> str:
        return f"{self.local}@{self.digest}" if self.digest else f"{self.local}:{self.tag or DEFAULT_TAG}"


@attrs.frozen
class Endpoint:
    """One base URL under which a registry may be reached."""

    url: str
    """Without a slash at its end; ``/v2/...`` or ``/v1/...`` goes behind it."""
    mirror: bool = False
    """Only pulled from, and never shown credentials: they are the registry's."""
    insecure: bool = False
    """In the clear, or with a certificate that is not checked: the user allowed it, or it is this machine."""

    @property
    def authority(self) -> str:
        """``host[:port]``."""
        return urlsplit(self.url).netloc


def check_digest(digest: str) -> str:
    """The digest itself. Raises InvalidParameter for anything but ``sha256:`` and 64 lower-case hex digits."""
    if not _DIGEST.fullmatch(digest):
        raise InvalidParameter(f"bad digest {digest[:100]!r}: expected sha256: and 64 lower-case hex digits")
    return digest


def parse_remote(name: str, tag: str = "", registries: Registries = DEFAULT_REGISTRIES) -> Remote:
    """Read ``[host[:port]/]repository[:tag][@digest]``; ``tag``, also a digest, goes before one in the name.

    The first part is a host if it has a "." or a ":" or is ``localhost``. Raises InvalidParameter naming what is wrong.
    """
    named, _, digest = name.partition("@")
    typed, named_tag = split_reference(named)
    if ":" in tag:
        digest, tag = tag, ""
    remote = _locate(typed, registries)
    tag = tag or named_tag
    if tag:
        check_tag(tag)
    if digest or "@" in name:
        check_digest(digest)
    return attrs.evolve(remote, tag=tag, digest=digest)


def repositories(remote: Remote) -> Sequence[str]:
    """The names under which a pull looks for the image there, in order. A push goes to ``remote.repository``.

    A registry that stands in for docker.io may keep its one-part names as that does, below ``library/``, or as they are.
    """
    short = remote.local == remote.repository and "/" not in remote.repository
    return (f"library/{remote.repository}", remote.repository) if short else (remote.repository,)


def endpoints(host: str, registries: Registries = DEFAULT_REGISTRIES) -> Sequence[Endpoint]:
    """Where to ask for a registry's images, in the order to try: mirrors, https, and http where that is allowed (on loopback first)."""
    if host != registries.default_host:
        return _own(host, registries)
    mirrors = [each for mirror in registries.mirrors for each in _endpoints(mirror, registries)]
    return (*(attrs.evolve(each, mirror=True) for each in mirrors), *_endpoints(registries.default, registries))


def _locate(name: str, registries: Registries) -> Remote:
    if len(name) > NAME_LENGTH:
        raise InvalidParameter(f"Illegal repository name: longer than {NAME_LENGTH} characters: {name[:60]}...")
    first, slash, rest = name.partition("/")
    has_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    host = _canonical(_check_host(first)) if has_host else registries.default_host
    repository = rest if has_host else name
    if not _REPOSITORY.fullmatch(repository):
        raise InvalidParameter(f"Illegal repository name: {name}")
    if host != DOCKER_HUB:
        return Remote(host, repository, local=name)
    short = repository.removeprefix("library/")
    short = repository if "/" in short else short
    local = short if registries.default_host == DOCKER_HUB or not has_host else name
    return Remote(host, f"library/{short}" if "/" not in short else short, local=local)


def _endpoints(base: str, registries: Registries) -> Sequence[Endpoint]:
    """Of a flag. A URL is taken at its word: who writes http:// wants it."""
    parts = _split_base(base)
    if not parts.scheme:
        return _own(_canonical(parts.netloc), registries)
    if parts.netloc.lower() in _HUB_NAMES:
        return _own(DOCKER_HUB, registries)
    insecure = parts.scheme == "http" or registries.allow_plain(parts.netloc)
    return (Endpoint(base.rstrip("/"), insecure=insecure),)


def _own(host: str, registries: Registries) -> Sequence[Endpoint]:
    if host == DOCKER_HUB:
        return (Endpoint(_HUB_URL),)
    if not registries.allow_plain(host):
        return (Endpoint(f"https://{host}"),)
    secured, plain = Endpoint(f"https://{host}", insecure=True), Endpoint(f"http://{host}", insecure=True)
    # A plain server may wait for ever for the rest of a TLS greeting; one of TLS refuses plain words at once. On loopback nobody listens in.
    return (plain, secured) if is_loopback(urlsplit(plain.url).hostname or "") else (secured, plain)
