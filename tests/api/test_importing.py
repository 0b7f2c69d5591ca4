"""POST /images/create as an import."""

import json

import pytest
import trio

from trioker.api import build_handler
from trioker.api.v1_2.progress import Reporter
from trioker.http.messages import Stream
from trioker.model.errors import InvalidParameter, TriokerError
from trioker.testing.fake_backend import fake_id
from trioker.testing.fake_request import fake_request

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    "query", ["fromSrc=-&repo=x&tag=1", "repo=x&tag=1", "fromSrc=&repo=x&tag=1", "fromImage=&fromSrc=-&repo=x&tag=1"]
)
async def test_an_import_from_the_body_answers_one_object(ask, fake, query):
    answer = await ask("POST", f"/v1.2/images/create?{query}", b"tar bytes")
    assert answer.status == 200
    assert answer.headers == {"Content-Type": "application/json"}
    assert answer.body == b'{"status":"%s"}' % fake_id("x:1")[:12].encode()
    assert fake.images.records[-1].size == len(b"tar bytes")


async def test_a_chunked_body_counts_as_a_body(ask, fake):
    answer = await ask("POST", "/images/create?repo=x", headers=[(b"transfer-encoding", b"chunked")])
    assert (answer.status, answer.text) == (400, "Bad parameter: the tar is empty\n")
    assert fake.recorder.calls == [("import_stream", "x", "latest")]


async def test_curl_calls_every_upload_a_form(ask, fake):
    answer = await ask("POST", "/images/create?fromSrc=-&repo=x", b"tar=bytes", FORM)
    assert (answer.status, fake.recorder.calls) == (200, [("import_stream", "x", "latest")])


async def test_without_a_repository_there_is_no_name(ask, fake):
    await ask("POST", "/images/create?fromSrc=-", b"tar")
    assert [tag.reference for tag in fake.images.tags()] == ["base:latest"]


@pytest.mark.parametrize(
    ("query", "upload", "text"),
    [
        ("", (b"", ""), "fromSrc: expected fromImage, fromSrc, or a tar in the body"),
        ("", (b"fromSrc=-&repo=x", FORM), "fromSrc: the body is a form, so it cannot be the tar"),
        ("repo=x", (b"tar", FORM), "fromSrc: the body is a form, so it cannot be the tar"),
        ("fromSrc=-&repo=a:b", (b"tar", ""), "repo: Illegal repository name: a:b"),
        ("fromSrc=-&repo=a&tag=b/c", (b"tar", ""), "tag: Illegal tag name: b/c"),
        ("fromSrc=http://x/y.tar&repo=a&tag=b:c", (b"", ""), "tag: Illegal tag name: b:c"),
        ("fromSrc=ftp://x/y.tar", (b"", ""), 'fromSrc: expected "-" or an http or https URL, got "ftp://x/y.tar"'),
        ("fromSrc=http://", (b"", ""), 'fromSrc: expected "-" or an http or https URL, got "http://"'),
        ("fromSrc=http://x:99999/", (b"", ""), 'fromSrc: expected "-" or an http or https URL, got "http://x:99999/"'),
        ("fromSrc=http://[x", (b"", ""), 'fromSrc: expected "-" or an http or https URL, got "http://[x"'),
        ("fromSrc=x/a%0D%0Ab", (b"", ""), 'fromSrc: expected "-" or an http or https URL, got "x/a\\r\\nb"'),
        ("fromSrc=x/a+b", (b"", ""), 'fromSrc: expected "-" or an http or https URL, got "x/a b"'),
    ],
)
async def test_what_cannot_be_imported_is_refused_before_anything_is_read(ask, fake, query, upload, text):
    answer = await ask("POST", f"/images/create?{query}", *upload)
    assert (answer.status, answer.text) == (400, f"Bad parameter: {text}\n")
    assert fake.recorder.calls == []


async def test_a_refused_name_leaves_the_body_unread(fake):
    request = fake_request("POST", "/images/create?fromSrc=-&repo=a:b", b"tar")
    await build_handler(fake.backend)(request)
    assert request.body.reads == 0


async def test_a_bad_tar_is_a_plain_error(ask, fake):
    fake.recorder.failures["import_stream"] = InvalidParameter("entry ../x: leaves the tree")
    answer = await ask("POST", "/images/create?fromSrc=-", b"tar")
    assert (answer.status, answer.text) == (400, "Bad parameter: entry ../x: leaves the tree\n")


def objects(body):
    """The objects of a sequence without separators."""
    text, decoder, found = body.decode(), json.JSONDecoder(), []
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ("http://127.0.0.1:8000/x.tar", "http://127.0.0.1:8000/x.tar"),
        ("https://h/x", "https://h/x"),
        ("127.0.0.1:8000/x.tar", "http://127.0.0.1:8000/x.tar"),
        ("example.com/x.tar?a=b", "http://example.com/x.tar?a=b"),
    ],
)
async def test_an_import_from_a_url_tells_how_far_it_is(ask, fake, source, url):
    fake.images.transfer = [(9476, 94_860), (94_860, 94_860)]
    answer = await ask("POST", f"/images/create?repo=x&tag=1&fromSrc={source.replace('&', '%26')}")
    assert (answer.status, answer.length, answer.headers) == (200, None, {"Content-Type": "application/json"})
    assert objects(answer.body) == [
        {"status": f"Downloading from {url}"},
        {"status": "Importing", "progress": "9.476 kB/94.86 kB (10%)"},
        {"status": "Importing", "progress": "94.86 kB/94.86 kB (100%)"},
        {},
        {"status": fake_id("x:1")[:12]},
    ]
    assert fake.recorder.calls == [("import_url", url, "x", "1")]


async def test_the_source_may_come_in_a_form(ask, fake):
    await ask("POST", "/images/create", b"fromSrc=example.com%2Fx.tar&repo=x", FORM)
    assert fake.recorder.calls == [("import_url", "http://example.com/x.tar", "x", "latest")]


async def test_a_failed_transfer_is_the_last_object(ask, fake):
    fake.images.transfer = [(4096, 0)]
    fake.recorder.failures["import_url"] = TriokerError("connection refused")
    answer = await ask("POST", "/images/create?fromSrc=http://h/x")
    assert answer.status == 200
    assert objects(answer.body) == [
        {"status": "Downloading from http://h/x"},
        {"status": "Importing", "progress": "4096/? (n/a)"},
        {"error": "connection refused"},
    ]


async def test_each_object_is_sent_on_its_own(fake):
    reply = await build_handler(fake.backend)(fake_request("POST", "/images/create?fromSrc=http://h/x"))
    assert isinstance(reply, Stream)
    sent = []

    async def send(piece):
        sent.append(json.loads(piece))

    await reply.write(send)
    assert len(sent) == 3


@pytest.mark.usefixtures("autojump_clock")
async def test_progress_is_told_ten_times_a_second_and_at_the_end():
    sent = []

    async def send(piece):
        sent.append(json.loads(piece)["progress"])

    report = Reporter(send, "Importing")
    for current in range(1, 101):
        await report(current, 100)
        await trio.sleep(0.01)
    assert len(sent) in range(10, 13)
    assert sent[-1] == "100 B/100 B (100%)"
