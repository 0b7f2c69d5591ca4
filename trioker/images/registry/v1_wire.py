"""Requests of the 2013 protocol whose replies are small, and what goes along with all of its requests."""

from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import urlsplit

import attrs

from trioker.http.client import BadUrl, Client, FetchError, Headers, Upload, parse_url, retrying
from trioker.http.client.urls import shown as shown_url
from trioker.images.registry.documents import BadDocument, Document, printable, show
from trioker.images.registry.v1_forms import JSON_BYTES, decode
from trioker.model.errors import Forbidden, InvalidParameter, NotFound, TriokerError, Unauthorized
from trioker.model.progress import Credentials

P = TypeVar("P")
T = TypeVar("T")

COOKIES = 50
"""Kept of one server, as RFC 6265 (section 6.1) asks of a client; more are forgotten."""
COOKIE_BYTES = 4096
"""Of one cookie; from the same place."""
WORDS = 200
"""Characters of a server's own words that an error repeats."""


@attrs.frozen
class Reply:
    """A whole reply."""

    status: int
    headers: Headers
    body: bytes
    where: str
    """The URL for people: without what may be secret in it."""

    def header(self, name: bytes) -> str:
        """The first header of that lower-case name, "" if there is none."""
        return next((value.decode("latin-1") for key, value in self.headers if key == name), "")

    @property
    def json(self) -> object:
        """The body's value. Raises TriokerError."""
        return decode(self.body, self.where, self.header(b"content-type"))

    @property
    def document(self) -> Document:
        """The body's JSON object. Raises TriokerError."""
        value = self.json
        if not isinstance(value, dict):
            raise BadDocument(f"{self.where}: expected a JSON object, got {show(value)}")
        return Document(self.where, value)

    @property
    def error(self) -> str:
        """What the server says of its error: the "error" of a JSON object, else a text's first line; "" for pages meant for browsers."""
        try:
            value = decode(self.body, self.where)
        except TriokerError:
            is_text = self.header(b"content-type").startswith("text/plain")
            return printable(self.body.decode(errors="replace").strip().partition("\n")[0], WORDS) if is_text else ""
        if isinstance(value, dict):
            value = value.get("error", "")
        return printable(value, WORDS) if isinstance(value, str) else ""

    @property
    def code(self) -> str:
        """The status as the daemon of 2013 put it, with the server's own words if it has any."""
        return f"HTTP code: {self.status}" + (f": {self.error}" if self.error else "")


@attrs.frozen
class Cookies:
    """What servers want to be told again during one push; none hears of another's."""

    _kept: dict[tuple[str, str], dict[str, str]] = attrs.field(factory=dict, repr=False)

    def take(self, url: str, headers: Headers) -> None:
        """Remember what a reply from ``url`` sets. Attributes don't matter: nothing here outlives the push or leaves the server."""
        jar = self._kept.setdefault(_origin(url), {})
        for key, value in headers:
            name, equals, content = value.decode("latin-1").partition(";")[0].partition("=")
            if key.lower() == b"set-cookie" and equals and len(value) <= COOKIE_BYTES and len(jar) < COOKIES:
                jar[name.strip()] = content.strip()

    def headers(self, url: str) -> Headers:
        """The Cookie header for a request."""
        jar = self._kept.get(_origin(url))
        return (
            [(b"cookie", "; ".join(f"{name}={value}" for name, value in jar.items()).encode("latin-1"))] if jar else []
        )


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def basic(credentials: Credentials) -> Headers:
    """The Authorization header of RFC 7617; none without credentials."""
    if not credentials.username:
        return []
    pair = f"{credentials.username}:{credentials.password}".encode()
    return [(b"authorization", b"Basic " + b64encode(pair))]


class NoAnswer(TriokerError):
    """Nobody was there, or nobody of use: another of a registry's URLs may be right."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status
        """What was answered, 0 for nothing."""


@contextmanager
def explained() -> Iterator[None]:
    """What fails below the protocol, or lasts though it might pass, as the users' own kinds."""
    try:
        yield
    except BadUrl as error:
        raise InvalidParameter(str(error)) from error
    except FetchError as error:
        raise NoAnswer(str(error), error.status) from error


async def first_answer(places: Iterable[P], attempt: Callable[[P], Awaitable[T]]) -> T:
    """What ``attempt`` returns for the first place, of at least one, that does not raise NoAnswer.

    If all do, the error of who said most: that a server is overloaded, rather than that it wants TLS, rather than that it is not there.
    """
    failures: list[NoAnswer] = []
    for place in places:
        try:
            return await attempt(place)
        except NoAnswer as error:
            failures.append(error)
    raise max(failures, key=lambda error: error.status)


def public(url: str) -> str:
    """A URL for people: without what may be secret in it."""
    return shown_url(parse_url(url))


def may_pass(status: int) -> bool:
    """Whether the next try may be answered otherwise."""
    return status in {408, 429} or status >= 500


async def ask(
    client: Client,
    method: str,
    url: str,
    headers: Headers = (),
    body: bytes | Upload | None = None,
    *,
    cookies: Cookies | None = None,
    tries: int = 5,
) -> Reply:
    """One request, tried again where that may help. Any lasting status is a Reply; raises InvalidParameter for the URL, TriokerError."""

    async def attempt() -> Reply:
        sent = [*headers, *(cookies.headers(url) if cookies else ())]
        async with client.request(method, url, headers=sent, body=body) as answer:
            if cookies:
                cookies.take(answer.url, answer.headers)
            reply = Reply(answer.status, answer.headers, await answer.read(JSON_BYTES), public(answer.url))
            if may_pass(reply.status):
                raise answer.error(reply.code)
            return reply

    with explained():
        return await retrying(attempt, tries=tries)


def refusal(reply: Reply, missing: str = "") -> TriokerError:
    """The error that a reply's status is, in the words of 2013; ``missing`` is what a 404 means."""
    code = f"{reply.where}: {reply.code}"
    match reply.status:
        case 400:  # also what a server of TLS says to plain words
            return NoAnswer(code, reply.status)
        case 401:
            return Unauthorized("Please login first (HTTP code 401)")
        case 403:
            return Forbidden(code)
        case 404:
            return NotFound(missing or code)
        case _:
            return TriokerError(code)
