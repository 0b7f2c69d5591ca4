import json

import attrs
import pytest

from trioker.api import build_handler
from trioker.http.messages import Response, Stream
from trioker.testing.fake_backend import FakeBackend
from trioker.testing.fake_request import fake_request, whole_reply


@attrs.frozen
class Answer:
    status: int
    body: bytes
    headers: dict[str, str]
    length: int | None = None

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        assert self.headers["Content-Type"] == "application/json"
        return json.loads(self.body)


@pytest.fixture
def fake():
    """A backend with one image, base:latest."""
    backend = FakeBackend()
    backend.images.add("base:latest")
    return backend


@pytest.fixture
def ask(fake):
    """Send one request and read the whole answer; a JSON value as body is encoded."""
    handler = build_handler(fake.backend)

    async def ask(method, target, body=b"", content_type="", headers=()):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        reply = await handler(fake_request(method, target, body, content_type, headers))
        assert isinstance(reply, Response | Stream)
        whole = await whole_reply(reply)
        names = {name.decode(): value.decode() for name, value in whole.headers}
        return Answer(whole.status, whole.body, names, getattr(reply, "length", None))

    return ask
