"""POST /images/create as an import."""

import json

import pytest
from api_client import objects

from trioker.api import build_handler
from trioker.http.messages import Stream
from trioker.model.errors import InvalidParameter, NotFound, TriokerError
from trioker.model.progress import Progress
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
        ("fromSrc=ftp://x/y.tar", (b"", ""), 'fromSrc: expected an http or https URL, got "ftp://x/y.tar"'),
        ("fromSrc=http://", (b"", ""), 'fromSrc: expected an http or https URL, got "http://"'),
        ("fromSrc=http://x:99999/", (b"", ""), 'fromSrc: expected an http or https URL, got "http://x:99999/"'),
        ("fromSrc=http://[x", (b"", ""), 'fromSrc: expected an http or https URL, got "http://[x"'),
        ("fromSrc=x/a%0D%0Ab", (b"", ""), 'fromSrc: expected an http or https URL, got "x/a\\r\\nb"'),
        ("fromSrc=x/a+b", (b"", ""), 'fromSrc: expected an http or https URL, got "x/a b"'),
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


def counted(words, current, total):
    return {"status": "Importing", "progress": words, "progressDetail": {"current": current, "total": total}}


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
    assert objects(answer.body.decode()) == [
        {"status": f"Downloading from {url}"},
        counted("9.476 kB/94.86 kB (10%)", 9476, 94_860),
        counted("94.86 kB/94.86 kB (100%)", 94_860, 94_860),
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
    assert objects(answer.body.decode()) == [
        {"status": "Downloading from http://h/x"},
        counted("4096/? (n/a)", 4096, 0),
        {"error": "connection refused", "errorDetail": {"message": "connection refused"}},
    ]


async def test_each_object_is_sent_on_its_own(fake):
    reply = await build_handler(fake.backend)(fake_request("POST", "/images/create?fromSrc=http://h/x"))
    assert isinstance(reply, Stream)
    sent = []

    async def send(piece):
        sent.append(json.loads(piece))

    await reply.write(send)
    assert len(sent) == 3


INSERT = "/v1.2/images/base/insert?url=example.com%2Ff&path=%2Fusr%2Ff"


async def test_an_insertion_ends_with_the_id_in_the_form_that_clients_search_for(ask, fake):
    fake.inserter.told = [Progress("Downloading", current=10, total=10)]
    answer = await ask("POST", INSERT)
    assert fake.recorder.calls == [("insert", fake_id("base:latest"), "http://example.com/f", "/usr/f")]
    made = fake.images.records[-1].id
    assert answer.status == 200
    assert objects(answer.body.decode())[1:] == [{}, {"status": made}, {"Id": made[:12]}]
    assert answer.body.endswith(b'{"Id":"%s"}' % made[:12].encode())


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("path=/x", 'url: expected an http or https URL, got ""'),
        ("url=ftp://x/y&path=/x", 'url: expected an http or https URL, got "ftp://x/y"'),
        ("url=http://x/y", "path: expected the path of the file in the image"),
        ("url=http://x/y&path=/", "path: expected the path of the file in the image"),
    ],
)
async def test_what_cannot_be_inserted_is_refused(ask, fake, query, text):
    answer = await ask("POST", f"/images/base/insert?{query}")
    assert (answer.status, answer.text) == (400, f"Bad parameter: {text}\n")
    assert fake.recorder.calls == []


async def test_an_insertion_into_no_image_is_a_404(ask):
    answer = await ask("POST", INSERT.replace("base", "a/b"))
    assert (answer.status, answer.text) == (404, "No such image: a/b\n")


async def test_an_insertion_that_fails_before_a_word_is_an_ordinary_error(ask, fake):
    fake.recorder.failures["insert"] = NotFound("http://example.com/f: 404")
    answer = await ask("POST", INSERT)
    assert (answer.status, answer.text) == (404, "http://example.com/f: 404\n")
