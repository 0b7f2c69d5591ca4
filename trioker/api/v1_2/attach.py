"""Attach (page, "Attach to a container" and "Hijacking"; behaviour.md section 4)."""

from contextlib import AsyncExitStack

import trio

from trioker.api.backend import Send
from trioker.api.errors import explain
from trioker.api.router import Call
from trioker.api.v1_2.parameters import Parameters, query_parameters
from trioker.http.messages import Reply, Stream, Takeover
from trioker.model.attach import AttachRequest
from trioker.model.errors import TriokerError

RAW_TYPE = b"application/vnd.docker.raw-stream"
RAW_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: " + RAW_TYPE + b"\r\n\r\n"
"""Byte for byte as in 2013: no date, no length, and the connection's end is the body's."""


async def post_container_attach(call: Call) -> Reply:
    """Take the connection over, or send the logs as an ordinary reply when nothing else is wanted.

    The parameters come from the URL only: what follows the head is the container's input, whatever its Content-Type.
    """
    wanted = _wanted(query_parameters(call.request))
    call.backend.containers.get(call.name)
    if wanted.logs and not wanted.stream:
        return await _logs(call, wanted)

    async def run(stream: trio.abc.HalfCloseableStream) -> None:
        await _serve(call, wanted, stream)

    return Takeover(run)


def _wanted(query: Parameters) -> AttachRequest:
    stream, stdin = query.flag("stream"), query.flag("stdin")
    return AttachRequest(
        logs=query.flag("logs"),
        stream=stream,
        stdin=stream and stdin,
        stdout=query.flag("stdout"),
        stderr=query.flag("stderr"),
    )


async def _logs(call: Call, wanted: AttachRequest) -> Stream:
    """The log with its length; what was opened for it is closed when it is written."""
    opened = AsyncExitStack()
    log = await opened.enter_async_context(call.backend.containers.logs(call.name, wanted))

    async def write(send: Send) -> None:
        async with opened:
            await log.write(send)

    return Stream(200, write, ((b"Content-Type", RAW_TYPE),), length=log.length)


async def _serve(call: Call, wanted: AttachRequest, stream: trio.abc.HalfCloseableStream) -> None:
    """The head once the streams are joined, so that a client who has read it misses nothing; failures as text behind it."""
    if not wanted.stream:
        await stream.send_all(RAW_HEAD)
        return
    head = RAW_HEAD
    try:
        async with call.backend.containers.attach(call.name, wanted) as session:
            await stream.send_all(RAW_HEAD)
            head = b""
            await session.run(stream)
    except TriokerError as error:
        await stream.send_all(head + f"Error: {explain(error)}\n".encode("utf-8", "replace"))
