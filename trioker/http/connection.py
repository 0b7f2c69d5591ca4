"""One client's connection: requests in, replies out, in order."""

import logging

import attrs
import trio

from trioker.http import replies
from trioker.http.access import Access
from trioker.http.body import RequestBody
from trioker.http.hangup import HangUps, Watch
from trioker.http.heads import BadRequest, Head, parse_head
from trioker.http.limits import Limits
from trioker.http.messages import BadBody, Handler, Instead, Reply, Request, Response, Stream, Takeover
from trioker.http.streams import Inbox, TakenStream, close_gracefully, deliver
from trioker.http.writer import BodyWriter

log = logging.getLogger("trioker.http")


class Cut(Exception):
    """The connection ends here, without a word more."""


@attrs.frozen
class Service:
    """What all connections of a server share."""

    handler: Handler
    limits: Limits
    hangups: HangUps


class Connection:
    """Answers one client until either side has had enough. ``fd`` is the socket below ``stream``, -1 if there is none (tests)."""

    def __init__(self, stream: trio.abc.Stream, fd: int, access: Access, service: Service) -> None:
        self._stream = stream
        self._fd = fd
        self._access = access
        self._extra = access.headers
        self._handler = service.handler
        self._limits = service.limits
        self._hangups = service.hangups
        self._inbox = Inbox(stream, service.limits)
        self._life = trio.CancelScope()
        self._working = False
        self._stopping = False

    async def run(self) -> None:
        """Serve; the stream is closed on return."""
        try:
            with self._life:
                while await self._turn():
                    pass
                await close_gracefully(self._stream, self._limits)
        except (trio.BrokenResourceError, trio.ClosedResourceError, Cut) as reason:
            log.debug("connection cut: %r", reason)
        finally:
            await trio.aclose_forcefully(self._stream)

    def stop(self) -> None:
        """End soon: now, unless a handler is at work; then once its reply is sent."""
        self._stopping = True
        if not self._working:
            self._life.cancel()

    async def _turn(self) -> bool:
        """One request and its reply; whether another may follow."""
        self._life.deadline = trio.current_time() + self._limits.idle_time
        try:
            raw = await self._inbox.read_head()
            if not raw:
                return False
            head = parse_head(raw, self._limits)
        except BadRequest as bad:
            answer = replies.plain(bad.status, str(bad))
            await self._stream.send_all(replies.response(answer, None, keep=False, extra=self._extra))
            return False
        self._life.deadline = float("inf")
        self._working = True
        try:
            return await self._answer(head)
        finally:
            self._working = False

    async def _answer(self, head: Head) -> bool:
        watch = Watch(self._limits.hangup_grace, self._limits.send_stall_time)
        body = RequestBody(head, self._inbox, self._stream, watch, self._limits)
        if self._fd >= 0:
            self._hangups.add(self._fd, watch)
        try:
            with watch.scope:
                reply = await self._ask(head, body)
                log.debug("%s %s: %s", head.method, head.shown, getattr(reply, "status", "taken over"))
                if isinstance(reply, Response):
                    keep = await self._respond(reply, head, body, watch)
                elif isinstance(reply, Stream):
                    keep = await self._stream_out(reply, head, body, watch)
        finally:
            if self._fd >= 0:
                self._hangups.remove(self._fd)
        if watch.scope.cancelled_caught:
            raise Cut("the client went away")
        if isinstance(reply, Takeover):
            return await self._hand_over(reply, body)
        return keep and await body.drain() and not self._stopping

    async def _ask(self, head: Head, body: RequestBody) -> Reply:
        if refusal := self._access.refusal(head):
            return refusal
        request = Request(head.method, head.target, head.path, head.query, head.headers, body)
        try:
            return await self._handler(request)
        except Exception as error:  # noqa: BLE001  the connection goes on, whatever a handler does
            return self._explain(error, head)

    def _keeps(self, head: Head, body: RequestBody) -> bool:
        """Whether the reply that begins now leaves the connection open. Deciding it settles that no 100-continue follows."""
        waits, body.client_waits = body.client_waits, False
        return head.keep_alive and not waits and not body.failed and not self._stopping

    async def _respond(self, reply: Response, head: Head, body: RequestBody, watch: Watch) -> bool:
        keep = self._keeps(head, body)
        try:
            data = replies.response(reply, head, keep=keep, extra=self._extra)
        except ValueError:
            log.exception("%s %s: a reply that cannot be sent", head.method, head.shown)
            data = replies.response(replies.plain(500, "internal error"), head, keep=keep, extra=self._extra)
        await deliver(self._stream, data, watch)
        return keep

    async def _stream_out(self, reply: Stream, head: Head, body: RequestBody, watch: Watch) -> bool:
        self._end_of_work()
        framed = reply.length is not None or not head.old
        keep = False

        def begin() -> bytes:
            nonlocal keep
            keep = framed and self._keeps(head, body)
            return replies.stream_head(reply, head, keep=keep, extra=self._extra)

        chunked = framed and reply.length is None
        writer = BodyWriter(self._stream, watch, begin, length=reply.length, chunked=chunked)
        try:
            await self._write(reply, writer, head, body)
        except Exception as error:
            instead = None if watch.scope.cancel_called else self._explain(error, head)
            if instead is None or writer.begun:
                raise Cut("the reply failed") from error
            return await self._respond(instead, head, body, watch)
        return keep

    @staticmethod
    def _explain(error: Exception, head: Head) -> Response:
        """What to answer in place of what a handler failed to; a mistake of ours is logged."""
        if isinstance(error, Instead):
            return error.reply
        if isinstance(error, BadBody):
            return replies.plain(error.status, str(error))
        log.error("%s %s failed", head.method, head.shown, exc_info=error)
        return replies.plain(500, "internal error")

    @staticmethod
    async def _write(reply: Stream, writer: BodyWriter, head: Head, body: RequestBody) -> None:
        if head.method == "HEAD":
            await writer.start()
            return
        # A client that waits for its 100-continue may get it from ``write`` reading the body: no head before that.
        if not reply.held and not body.client_waits:
            await writer.start()
        await reply.write(writer.send)
        await writer.finish()

    async def _hand_over(self, reply: Takeover, body: RequestBody) -> bool:
        self._end_of_work()
        if not await body.drain():
            answer = replies.plain(400, "the request's body must end before its connection is taken over")
            await self._stream.send_all(replies.response(answer, None, keep=False, extra=self._extra))
            return False
        early = self._inbox.take(len(self._inbox.early))
        await reply.run(TakenStream(self._stream, early, self._limits))
        return False

    def _end_of_work(self) -> None:
        """The handler has answered. What follows may last for days, so a server that stops does not wait for it."""
        self._working = False
        if self._stopping:
            raise Cut("stopping")
