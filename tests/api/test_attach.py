"""POST /containers/{id}/attach: who gets a reply and who the connection."""

from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from trioker.api import build_handler
from trioker.http.messages import Stream, Takeover
from trioker.model.attach import AttachRequest
from trioker.model.container import Phase, State
from trioker.model.errors import Impossible, TriokerError
from trioker.testing.fake_backend import FakeAttachment, fake_id
from trioker.testing.fake_request import FakeBody, fake_request, reply_body

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
NAME = fake_id("a")[:12]


@pytest.fixture
def attach(fake):
    """Send an attach request; the container has the name NAME."""
    fake.add_container("a", State(Phase.RUNNING))
    handler = build_handler(fake.backend)

    async def attach(query, body=b"", content_type=""):
        return await handler(fake_request("POST", f"/v1.2/containers/{NAME}/attach?{query}", body, content_type))

    return attach


async def conversation(takeover, said=b""):
    """What the client of a takeover reads, having said something and closed its side."""
    assert isinstance(takeover, Takeover)
    client, server = trio.testing.memory_stream_pair()

    async def serve():
        await takeover.run(server)
        await server.aclose()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await client.send_all(said)
            await client.send_eof()
            return b"".join([piece async for piece in client])


async def test_a_stream_takes_the_connection_over_and_writes_the_head_of_2013(fake, attach):
    reply = await attach("stream=1&stdin=1&stdout=1&stderr=1")
    assert await conversation(reply, b"hello\n") == HEAD + b"output\nhello\n"
    wanted = AttachRequest(stream=True, stdin=True, stdout=True, stderr=True)
    assert fake.recorder.calls == [("attach", NAME, wanted)]


async def test_logs_and_stream_come_in_one_session(fake, attach):
    await conversation(await attach("logs=1&stream=1&stdout=true"))
    assert fake.recorder.calls == [("attach", NAME, AttachRequest(logs=True, stream=True, stdout=True))]


async def test_the_streams_are_joined_before_the_head_is_sent(fake, attach, monkeypatch):
    happened = []

    class Joined(FakeAttachment):
        async def run(self, _stream):
            happened.append("run")

    @asynccontextmanager
    async def join(*_):
        happened.append("joined")
        yield Joined(b"")
        happened.append("left")

    monkeypatch.setattr(type(fake.containers), "attach", join)
    reply = await attach("stream=1&stdout=1")
    client, server = trio.testing.memory_stream_pair()
    pump = server.send_stream.send_all_hook

    async def sent():
        happened.append("sent")
        await pump()

    server.send_stream.send_all_hook = sent
    await reply.run(server)
    assert happened == ["joined", "sent", "run", "left"]
    assert await client.receive_some() == HEAD


async def test_a_stream_without_output_is_still_a_session(fake, attach):
    await conversation(await attach("stream=1"))
    assert fake.recorder.calls == [("attach", NAME, AttachRequest(stream=True))]


async def test_neither_logs_nor_stream_is_a_head_and_the_end(fake, attach):
    assert await conversation(await attach("stdin=1&stdout=1&stderr=1")) == HEAD
    assert fake.recorder.calls == []


async def test_logs_alone_are_an_ordinary_reply_with_a_length(fake, attach):
    reply = await attach("logs=1&stream=0&stdout=1&stderr=1&stdin=1")
    assert isinstance(reply, Stream)
    assert (reply.status, reply.length) == (200, 7)
    assert reply.headers == ((b"Content-Type", b"application/vnd.docker.raw-stream"),)
    assert await reply_body(reply) == b"output\n"
    assert fake.recorder.calls == [("logs", NAME, AttachRequest(logs=True, stdout=True, stderr=True))]
    assert fake.containers.open_logs == 0


async def test_logs_are_let_go_when_the_client_leaves(fake, attach):
    reply = await attach("logs=1&stdout=1")

    async def send(_):
        raise trio.BrokenResourceError

    with pytest.raises(trio.BrokenResourceError):
        await reply.write(send)
    assert fake.containers.open_logs == 0


@pytest.mark.parametrize("name", ["logs", "stream", "stdin", "stdout", "stderr"])
async def test_a_flag_that_cannot_be_read_is_refused(fake, attach, name):
    reply = await attach(f"{name}=maybe")
    assert (reply.status, reply.body) == (
        400,
        f'Bad parameter: {name}: expected 1, true, 0 or false, got "maybe"\n'.encode(),
    )
    assert fake.recorder.calls == []


async def test_what_follows_the_head_is_no_form(fake):
    fake.add_container("a", State(Phase.RUNNING))
    request = fake_request(
        "POST", f"/containers/{NAME}/attach", b"stream=1&logs=1", "application/x-www-form-urlencoded"
    )
    assert isinstance(await build_handler(fake.backend)(request), Takeover)
    assert isinstance(request.body, FakeBody)
    assert request.body.reads == 0


async def test_a_failure_to_join_comes_behind_the_head(fake, attach):
    fake.recorder.failures["attach"] = Impossible("attach to a ghost container")
    said = await conversation(await attach("stream=1&stdout=1"))
    assert said == HEAD + b"Error: Impossible: attach to a ghost container\n"


async def test_a_failure_on_the_way_comes_behind_the_output(attach, monkeypatch):
    async def run(_, stream):
        await stream.send_all(b"out")
        raise TriokerError("the monitor is gone")

    monkeypatch.setattr(FakeAttachment, "run", run)
    assert await conversation(await attach("stream=1&stdout=1")) == HEAD + b"outError: the monitor is gone\n"


async def test_logs_that_cannot_be_had_are_a_plain_error(fake, attach):
    fake.recorder.failures["logs"] = TriokerError("cannot read the log")
    reply = await attach("logs=1&stdout=1")
    assert (reply.status, reply.body) == (500, b"cannot read the log\n")
