"""Uploading a blob (OCI distribution-spec 1.1, "Pushing blobs").

Small ones go in one request, others in chunks, and on from where the registry got to when a connection breaks.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable

from trioker.http.client import Answer, FetchError, Upload
from trioker.images.registry.complaints import refusal
from trioker.images.registry.v2 import Session
from trioker.model.errors import TriokerError
from trioker.model.layer import Blob

CHUNK = 16 * 2**20
"""Bytes of one request: what is lost at most when a connection breaks; some registries buffer that much."""
BEGINNINGS = 5
"""Of one upload. Not every registry goes on where a request broke off: docker-registry 2.8 wants back the state of the last whole one,
which then does not fit what it has, and drops the upload with a 404. So chunks help there only between requests.
"""

OpenAt = Callable[[int], AsyncIterable[bytes]]
"""The blob's bytes from an offset to its end. May be called more than once, and need not be read to the end."""
Sent = Callable[[int], Awaitable[None]]
"""Bytes sent so far; fewer than before when some have to be sent again."""

_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,18})")


async def upload(session: Session, blob: Blob, open_at: OpenAt, sent: Sent, *, chunk: int = CHUNK) -> None:
    """Put a blob into the session's repository. Raises TriokerError kinds, and whatever ``open_at`` and ``sent`` raise."""
    for _ in range(BEGINNINGS):
        try:
            return await _Transfer(session, blob, open_at, sent, chunk).run()
        except _Forgotten:
            continue
    raise TriokerError(f"{session.name}: the registry forgot the upload of {blob.digest} {BEGINNINGS} times")


class _Forgotten(TriokerError):
    """The registry knows nothing of an upload it began."""


class _Transfer:
    """One upload, under one location."""

    def __init__(self, session: Session, blob: Blob, open_at: OpenAt, sent: Sent, chunk: int) -> None:
        self._session = session
        self._blob = blob
        self._open_at = open_at
        self._sent = sent
        self._what = f"upload of {blob.digest} to {session.name}"
        self._location = ""
        self._offset = 0
        self._chunk = chunk
        self._unsure = False
        """A request broke off: what the registry has of it, only it knows."""

    async def run(self) -> None:
        if self._blob.size <= self._chunk:
            await self._session.retried(self._whole)
        else:
            await self._in_chunks()

    async def _in_chunks(self) -> None:
        await self._session.retried(self._begin)
        while self._offset < self._blob.size:
            await self._session.retried(self._next_chunk)
        await self._session.retried(self._finish)

    async def _whole(self) -> None:
        await self._begin()
        await self._complete(self._pieces(0, self._blob.size))

    async def _begin(self) -> None:
        self._location = ""
        async with self._session.request("POST", self._session.uploads, body=b"") as answer:
            await self._expect(answer, 202)
            least = answer.header(b"oci-chunk-min-length")
            self._chunk = max(self._chunk, int(least) if re.fullmatch("[0-9]{1,12}", least) else 0)
            self._location = self._session.location(answer)

    async def _next_chunk(self) -> None:
        if self._unsure:
            await self._ask_how_far()
        start, end = self._offset, min(self._offset + self._chunk, self._blob.size)
        headers = [(b"content-type", b"application/octet-stream"), (b"content-range", b"%d-%d" % (start, end - 1))]
        self._unsure = True
        async with self._session.request(
            "PATCH", self._location, headers=headers, body=self._pieces(start, end)
        ) as answer:
            if answer.status == 416:
                raise FetchError(f"{self._what}: the registry is not where we are, at {start}")
            await self._expect(answer, 202, 204)
            self._go_on(answer, end)
        if self._offset <= start:
            raise FetchError(f"{self._what}: the registry took nothing of what came after {start}")

    async def _ask_how_far(self) -> None:
        async with self._session.request("GET", self._location) as answer:
            await self._expect(answer, 204, 202, 200)
            self._go_on(answer, self._offset)

    def _go_on(self, answer: Answer, otherwise: int) -> None:
        """Take over how far the registry got. It says "0-0" of no byte as well as of one."""
        match = _RANGE.fullmatch(answer.header(b"range"))
        last = int(match[1]) if match else otherwise - 1
        offset = last + 1 if last > 0 else 0
        if offset > self._blob.size:
            raise TriokerError(f"{self._what}: the registry says it has {offset} bytes, of {self._blob.size}")
        self._offset = offset
        self._unsure = False
        if answer.header(b"location"):
            self._location = self._session.location(answer)

    async def _finish(self) -> None:
        if self._unsure and await self._session.blob_size(self._blob.digest) == self._blob.size:
            return  # it was the answer that got lost
        self._unsure = True
        await self._complete(b"")

    async def _complete(self, body: bytes | Upload) -> None:
        url = f"{self._location}{'&' if '?' in self._location else '?'}digest={self._blob.digest}"
        headers = [(b"content-type", b"application/octet-stream")]
        async with self._session.request("PUT", url, headers=headers, body=body) as answer:
            await self._expect(answer, 201, 200, 204)

    async def _expect(self, answer: Answer, *statuses: int) -> None:
        if answer.status == 404 and self._location:
            raise _Forgotten(self._what)
        if answer.status not in statuses:
            raise await refusal(answer, self._what)

    def _pieces(self, start: int, end: int) -> Upload:
        return Upload(lambda: self._read(start, end), end - start)

    async def _read(self, start: int, end: int) -> AsyncIterator[bytes]:
        source = aiter(self._open_at(start))
        try:
            while start < end:
                piece = (await anext(source, b""))[: end - start]
                if not piece:
                    raise TriokerError(f"{self._what}: its bytes end at {start}, before {end}")
                yield piece
                start += len(piece)
                await self._sent(start)
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()
