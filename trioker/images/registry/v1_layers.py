"""One layer's archive from a registry of 2013, as one stream however often the connection breaks."""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import attrs

from trioker.http.client import Answer, Client, FetchError, Headers, retrying
from trioker.images.registry.documents import printable
from trioker.images.registry.v1_wire import Reply, explained, may_pass, public, refusal

BREAKS = 5
"""Connections that may break one after the other without PROGRESS before the layer is given up."""
PROGRESS = 2**20
"""Bytes between two breaks that make them no sign of a server that cannot: a megabyte takes seconds even over a bad line."""
_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]+/(?:[0-9]+|\*)")
_ERROR_BYTES = 64 * 1024


@attrs.frozen
class Download:
    """A layer being read, within its context only."""

    length: int
    """Bytes in all, 0 if the server did not say."""
    chunks: AsyncIterator[bytes]
    """Raises TriokerError when the rest cannot be had."""


@asynccontextmanager
async def download(client: Client, url: str, headers: Headers) -> AsyncIterator[Download]:
    """GET a layer; what the connection loses is asked for by Range. Raises TriokerError as ``v1_wire.refusal``.

    A server that knows no ranges sends all again, and what is here already is dropped: a layer never changes, its id is for one content.
    """
    async with AsyncExitStack() as connection:
        with explained():
            answer = await _open(connection, client, url, headers)
        async with aclosing(_chunks(connection, client, url, headers, answer)) as chunks:
            yield Download(answer.length or 0, chunks)


async def _open(connection: AsyncExitStack, client: Client, url: str, headers: Headers) -> Answer:
    """The answer, 200 or 206. Raises FetchError, TriokerError."""

    async def attempt() -> Answer:
        async with AsyncExitStack() as opening:
            answer = await opening.enter_async_context(client.request("GET", url, headers=headers))
            if answer.status not in {200, 206}:
                await _refuse(answer)
            connection.push_async_exit(opening.pop_all())
            return answer

    return await retrying(attempt)


async def _refuse(answer: Answer) -> None:
    reply = Reply(answer.status, answer.headers, await answer.read(_ERROR_BYTES), public(answer.url))
    raise answer.error(reply.code) if may_pass(reply.status) else refusal(reply)


async def _chunks(
    connection: AsyncExitStack, client: Client, url: str, headers: Headers, answer: Answer
) -> AsyncGenerator[bytes, None]:
    taken, breaks, broke_at = 0, 0, 0
    with explained():
        while True:
            skip = taken - _start(answer, taken)
            try:
                async for chunk in answer.chunks:
                    if wanted := chunk[skip:]:
                        taken += len(wanted)
                        yield wanted
                    skip = max(0, skip - len(chunk))
            except FetchError:
                breaks, broke_at = (1 if taken - broke_at >= PROGRESS else breaks + 1), taken
                if breaks > BREAKS:
                    raise
            else:
                return
            await connection.aclose()
            again = [*headers, (b"range", f"bytes={taken}-".encode())] if taken else headers
            answer = await _open(connection, client, url, again)


def _start(answer: Answer, taken: int) -> int:
    """The first byte that an answer holds, at most the one that is wanted. Raises FetchError for a part of elsewhere."""
    if answer.status == 200:
        return 0
    match = _RANGE.fullmatch(answer.header(b"content-range"))
    if match is None or int(match[1]) > taken:
        raise answer.error(f"a part of the layer that was not asked for: {printable(answer.header(b'content-range'))}")
    return int(match[1])
