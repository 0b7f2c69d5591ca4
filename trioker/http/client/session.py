"""The client: requests over kept connections, redirections followed."""

import ssl
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing, asynccontextmanager

import h11
import trio

from trioker.http.client.answers import Answer, Headers, Upload
from trioker.http.client.bodies import Body
from trioker.http.client.dialing import Dialer
from trioker.http.client.errors import Hopeless, Unanswered
from trioker.http.client.exchange import Exchange
from trioker.http.client.limits import REDIRECTS
from trioker.http.client.links import IdleLinks, Link
from trioker.http.client.proxies import STRAIGHT, Proxies
from trioker.http.client.requests import Question, as_upload
from trioker.http.client.urls import bare, parse_url

_FOLLOWED = {301, 302, 303, 307, 308}


class Client:
    """Asks servers, several at a time if need be. Made without a byte read or sent; ``aclose`` ends its idle connections.

    ``tls``: whom to believe, by default the authorities of this host. ``insecure``: ``host`` or ``host:port`` whose certificate is not
    checked. ``unix_path``: the socket of the one server there is, whatever a URL says.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        insecure: Collection[str] = (),
        proxies: Proxies = STRAIGHT,
        unix_path: str = "",
    ) -> None:
        self._dialer = Dialer(tls, insecure, proxies, unix_path)
        self._idle = IdleLinks()

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        body: bytes | Upload | None = None,
        follow: bool = True,
    ) -> AsyncIterator[Answer]:
        """Ask, and read the answer within the context. Any status is an Answer. Raises BadUrl, FetchError, and what ``body`` raises.

        The client adds Host and what frames the body. A user and password in the URL are sent (Basic, RFC 7617), and not to the hosts it
        redirects to. Only GET and HEAD are followed; for other methods the Location is the caller's business.
        """
        question = Question(method, parse_url(url), headers, as_upload(body))
        follow = follow and method in {"GET", "HEAD"}
        for _ in range(REDIRECTS + 1):
            async with self._answer(question) as answer:
                location = answer.header(b"location")
                if not (follow and location and answer.status in _FOLLOWED):
                    yield answer
                    return
                question = question.redirected(location.encode("latin-1"))
        raise Hopeless(f"{question.label}: more than {REDIRECTS} redirects")

    async def aclose(self) -> None:
        """Close what is idle; requests under way go on, and their connections are closed after them as time goes by."""
        self._idle.close()
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def _answer(self, question: Question) -> AsyncIterator[Answer]:
        link, exchange, head = await self._ask(question)
        reusable = False
        try:
            body = Body(exchange, head, question.method)
            async with aclosing(body.chunks()) as chunks:
                yield Answer(head.status_code, head.headers, bare(question.parts), body.announced, chunks)
            body.skip()
            reusable = exchange.sent_whole and body.whole and _stays_open(head)
        finally:
            if reusable:
                self._idle.put(question.origin, link)
            else:
                link.close()

    async def _ask(self, question: Question) -> tuple[Link, Exchange, h11.Response]:
        link = self._idle.take(question.origin)
        if link is not None:
            try:
                return await self._ask_on(link, question)
            except Unanswered:
                pass  # the server closed it in the very moment: once more, on a connection of our own making
        return await self._ask_on(await self._dialer.dial(question.origin, question.label), question)

    async def _ask_on(self, link: Link, question: Question) -> tuple[Link, Exchange, h11.Response]:
        try:
            exchange = Exchange(link.wire, question.label)
            request = question.encoded(self._dialer.proxy(question.origin))
            return link, exchange, await exchange.ask(request, question.body, question.patience)
        except BaseException:
            link.close()
            raise


def _stays_open(head: h11.Response) -> bool:
    tokens = b",".join(value for name, value in head.headers if name == b"connection").lower().split(b",")
    return head.http_version == b"1.1" and b"close" not in {token.strip() for token in tokens}
