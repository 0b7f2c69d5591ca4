"""What is asked: a request's head, and its way through redirections."""

from collections.abc import AsyncIterator
from urllib.parse import SplitResult

import attrs
import h11

from trioker import __version__
from trioker.http.access import DAEMON_AGENT
from trioker.http.client.answers import Headers, Upload
from trioker.http.client.errors import Hopeless
from trioker.http.client.limits import READ_TIME, WORK_TIME
from trioker.http.client.urls import Origin, authority, bare, basic, origin_of, redirected, shown, target

_SECRET = {b"authorization", b"cookie", b"proxy-authorization"}
_WITH_BODY = {"POST", "PUT", "PATCH"}
"""Methods whose body, if it is empty, must be said to be (RFC 9110, section 8.6)."""


@attrs.frozen
class Question:
    """One request to one server."""

    method: str
    parts: SplitResult = attrs.field(repr=False)
    headers: Headers = attrs.field(repr=False)
    body: Upload | None

    @property
    def origin(self) -> Origin:
        """Whom it goes to."""
        return origin_of(self.parts)

    @property
    def label(self) -> str:
        """Its URL for people."""
        return shown(self.parts)

    @property
    def patience(self) -> float:
        """Seconds to wait for the answer's head."""
        return READ_TIME if self.method in {"GET", "HEAD"} else WORK_TIME

    def encoded(self, proxy: SplitResult | None) -> h11.Request:
        """As it goes to the server, or to the ``proxy`` that looks into it. Raises Hopeless."""
        through = proxy if self.parts.scheme == "http" else None
        try:
            return h11.Request(
                method=self.method,
                target=target(self.parts) if through is None else bare(self.parts),
                headers=[*self._own_headers(), *_proxy_headers(through), *self.headers],
            )
        except h11.LocalProtocolError:  # its text quotes the value, which may be a password
            raise Hopeless(f"{self.label}: the request has a header that HTTP cannot carry") from None

    def _own_headers(self) -> list[tuple[bytes, bytes]]:
        given = {name.lower() for name, _ in self.headers}
        # Identity: what we fetch must have the digest it is known by, so no server may compress it on its way.
        defaults = [
            (b"Host", authority(self.parts).encode()),
            (b"User-Agent", DAEMON_AGENT + __version__.encode()),
            (b"Accept-Encoding", b"identity"),
            (b"Authorization", basic(self.parts)),
        ]
        return [(name, value) for name, value in defaults if value and name.lower() not in given] + self._framing()

    def _framing(self) -> list[tuple[bytes, bytes]]:
        if self.body is None:
            return [(b"Content-Length", b"0")] if self.method in _WITH_BODY else []
        if self.body.length is None:
            return [(b"Transfer-Encoding", b"chunked")]
        return [(b"Content-Length", b"%d" % self.body.length)]

    def redirected(self, location: bytes) -> "Question":
        """The same to where a Location leads; another origin is told no credentials. Raises Hopeless."""
        there = attrs.evolve(self, parts=redirected(self.parts, location))
        if there.origin == self.origin:
            return there
        return attrs.evolve(there, headers=[each for each in self.headers if each[0].lower() not in _SECRET])


def _proxy_headers(proxy: SplitResult | None) -> list[tuple[bytes, bytes]]:
    credentials = basic(proxy) if proxy is not None else b""
    return [(b"Proxy-Authorization", credentials)] if credentials else []


def as_upload(body: bytes | Upload | None) -> Upload | None:
    """A body of any form in the one that is sent."""
    if not isinstance(body, bytes):
        return body
    whole = body

    async def pieces() -> AsyncIterator[bytes]:
        yield whole

    return Upload(pieces, len(whole))
