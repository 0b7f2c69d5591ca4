"""How a registry is shown who asks: Basic (RFC 7617), or Bearer with a token of the token server it names.

Those follow distribution's specifications "Token Authentication" and "OAuth2 Token Authentication". Credentials go over TLS, or where
the user allowed plain talk, and to nobody but these two servers.
"""

import secrets
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from urllib.parse import urlencode, urlsplit

import attrs
import trio

from trioker.http.client import BadUrl, Client, FetchError, leads_inside, retrying
from trioker.images.registry.challenges import Challenge, parse_challenges
from trioker.images.registry.complaints import refusal, want_json
from trioker.images.registry.documents import Document, read_document
from trioker.images.registry.names import DEFAULT_REGISTRIES, Endpoint, Registries
from trioker.images.registry.times import parse_time
from trioker.model.errors import TriokerError, Unauthorized
from trioker.model.progress import Credentials

LIFETIME = 60
"""Seconds a token is good for when its server does not say (token specification, "expires_in")."""
TOKEN_BYTES = 48 * 1024
"""A longer one would not pass for a request header anywhere."""
NOBODY = Credentials()
KEPT = 256
"""Tokens at most; the oldest go first."""
_NARROW = 0.9
"""Of a lifetime: then it is fetched anew, as the request it is for takes time too."""


@attrs.frozen
class _Wanted:
    """What a token is for."""

    realm: str
    service: str
    scopes: tuple[str, ...]
    account: bytes = attrs.field(repr=False)


@attrs.frozen
class _Token:
    text: str = attrs.field(repr=False)
    expires: float


class Tokens:
    """All tokens the daemon holds, and the client that gets them. One serves all sessions."""

    def __init__(
        self, client: Client, registries: Registries = DEFAULT_REGISTRIES, *, wall: Callable[[], float] = time.time
    ) -> None:
        self.client = client
        self._registries = registries
        self._wall = wall
        self._salt = secrets.token_bytes(16)
        self._kept: dict[_Wanted, _Token] = {}

    async def token(self, challenge: Challenge, scopes: Iterable[str], credentials: Credentials) -> str:
        """A token that answers a Bearer challenge, kept or fetched. Raises Unauthorized, TriokerError."""
        wanted = _Wanted(challenge["realm"], challenge["service"], merged(scopes), self._account(credentials))
        kept = self._kept.get(wanted)
        if kept is None or kept.expires <= trio.current_time():
            self._kept.pop(wanted, None)
            kept = await self._fetch(wanted, credentials)
            self._kept[wanted] = kept
            while len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
        return kept.text

    def forget(self, token: str) -> None:
        """A registry did not take it."""
        self._kept = {wanted: kept for wanted, kept in self._kept.items() if kept.text != token}

    def _account(self, credentials: Credentials) -> bytes:
        """Tells accounts apart without keeping their secrets."""
        secret = repr((credentials.username, credentials.password, credentials.token))
        return blake2b(secret.encode(), key=self._salt, digest_size=16).digest()

    async def _fetch(self, wanted: _Wanted, credentials: Credentials) -> _Token:
        self._check_realm(wanted.realm)
        what = f"token from {urlsplit(wanted.realm).netloc}"
        try:
            document = await retrying(lambda: self._ask(wanted, credentials, what))
        except (FetchError, BadUrl) as error:
            raise TriokerError(f"{what}: {error}") from error
        text = document.text("token") or document.text("access_token")
        if not text or len(text) > TOKEN_BYTES or not text.isascii() or not text.isprintable():
            raise TriokerError(f"{what}: the answer holds no token that could be used")
        return _Token(text, trio.current_time() + _NARROW * self._lifetime(document))

    def _check_realm(self, realm: str) -> None:
        try:
            parts = urlsplit(realm)
        except ValueError:
            parts = urlsplit("")
        if "@" in parts.netloc or not parts.hostname or parts.scheme not in {"http", "https"}:
            raise TriokerError(f"the registry asks for a token from {realm[:100]!r}, which is no http or https URL")
        if parts.scheme == "http" and not self._registries.allow_plain(parts.netloc):
            raise TriokerError(
                f"the registry asks for a token from {parts.netloc} over plain http, where anybody could read it: "
                f"allow it by --insecure-registry {parts.netloc}"
            )

    async def _ask(self, wanted: _Wanted, credentials: Credentials, what: str) -> Document:
        method, url, headers, body = _token_request(wanted, credentials)
        async with self.client.request(method, url, headers=headers, body=body) as answer:
            if answer.status != 200:
                raise await refusal(answer, what)
            want_json(answer, what)
            return read_document(await answer.read(2 * TOKEN_BYTES), what)

    def _lifetime(self, document: Document) -> float:
        """Seconds left of a token. One that is older than it can get has a server with another clock, and counts as new."""
        seconds = document.integer("expires_in") or LIFETIME
        try:
            age = self._wall() - parse_time(document.text("issued_at")) / 1e9
        except ValueError:
            return seconds
        return seconds - age if 0 < age < seconds else seconds


def _token_request(
    wanted: _Wanted, credentials: Credentials
) -> tuple[str, str, Sequence[tuple[bytes, bytes]], bytes | None]:
    """Method, URL, headers and body."""
    if credentials.token:
        form = {
            "grant_type": "refresh_token",
            "service": wanted.service,
            "client_id": "trioker",
            "refresh_token": credentials.token,
            "scope": " ".join(wanted.scopes),
        }
        return "POST", wanted.realm, [(b"content-type", b"application/x-www-form-urlencoded")], urlencode(form).encode()
    query = [("service", wanted.service)] if wanted.service else []
    query += [("scope", scope) for scope in wanted.scopes]
    query += [("account", credentials.username)] if credentials else []
    url = f"{wanted.realm}{'&' if '?' in wanted.realm else '?'}{urlencode(query)}"
    return "GET", url, [(b"authorization", basic(credentials).encode())] if credentials else [], None


def basic(credentials: Credentials) -> str:
    """The Authorization header for a name and a password."""
    return f"Basic {b64encode(f'{credentials.username}:{credentials.password}'.encode()).decode()}"


def merged(scopes: Iterable[str]) -> tuple[str, ...]:
    """``repository:a:pull`` and ``repository:a:push`` as one ``repository:a:pull,push``, in a fixed order."""
    actions: dict[str, set[str]] = {}
    for scope in scopes:
        resource, _, wanted = scope.rpartition(":")
        actions.setdefault(resource, set()).update(wanted.split(","))
    return tuple(f"{resource}:{','.join(sorted(wanted))}" for resource, wanted in sorted(actions.items()))


class Authorization:
    """What one session shows one endpoint; it learns what is wanted from the first refusal."""

    def __init__(self, tokens: Tokens, endpoint: Endpoint, credentials: Credentials, scopes: Iterable[str]) -> None:
        self._tokens = tokens
        self._url = endpoint.url
        self._credentials = NOBODY if endpoint.mirror else credentials
        self._scopes = merged(scopes)
        self._challenge = Challenge("")
        self._lock = trio.Lock()

    async def header(self, scopes: Iterable[str] = ()) -> str:
        """The Authorization header, "" for none; ``scopes`` are wanted by this request besides. Raises TriokerError."""
        if self._challenge.scheme == "basic":
            return basic(self._credentials)
        if self._challenge.scheme != "bearer":
            return ""
        async with self._lock:  # several requests at once share one token
            return f"Bearer {await self._tokens.token(self._challenge, (*self._scopes, *scopes), self._credentials)}"

    def learn(self, fields: Iterable[str], used: str) -> bool:
        """Take in the challenges to a request that showed ``used``; whether it may be asked again. Raises Unauthorized, TriokerError."""
        by_scheme = {challenge.scheme: challenge for challenge in reversed(parse_challenges(fields))}
        if bearer := by_scheme.get("bearer"):
            self._check_realm(bearer["realm"])
            self._tokens.forget(used.removeprefix("Bearer "))
            self._challenge = bearer
            self._scopes = merged((*self._scopes, *bearer["scope"].split()))
            return True
        if basic_challenge := by_scheme.get("basic"):
            self._challenge = basic_challenge if self._credentials.username else Challenge("")
            return bool(self._credentials.username) and not used
        if by_scheme:
            raise Unauthorized(
                f"unauthorized: the registry wants {', '.join(sorted(by_scheme))} authentication, trioker has Basic and Bearer"
            )
        return False

    def _check_realm(self, realm: str) -> None:
        try:
            is_inside = leads_inside(self._url, realm)
        except ValueError:  # no URL at all, which is told when it is asked
            return
        if is_inside:
            raise TriokerError(
                f"{self._url}: the registry asks for a token from this machine, at {urlsplit(realm).netloc[:100]!r}"
            )
