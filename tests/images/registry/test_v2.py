from contextlib import asynccontextmanager

import pytest
from v2_peer import BASE, Lost, Registry, complaint, digest_of, over_sockets, reply, session

from trioker.http.client import FetchError
from trioker.images.registry.manifests import MANIFEST_BYTES
from trioker.images.registry.v2 import Session, check_name
from trioker.model.errors import Forbidden, InvalidParameter, NotFound, TriokerError

OCI = "application/vnd.oci.image.manifest.v1+json"
DATA = bytes(range(256)) * 20


def always(answer):
    """A registry with one answer to all."""
    registry = Registry()
    registry.twists.append(lambda _: answer)
    return registry


def first(*answers):
    """A registry that answers so, and then as it should."""
    registry, left = Registry(), list(answers)

    def twist(asked):
        if not left:
            return None
        answer = left.pop(0)
        if answer is Lost:
            raise Lost
        return answer

    registry.twists.append(twist)
    return registry


@pytest.mark.parametrize(
    ("answer", "spoken"),
    [
        (reply(200, {}, docker_distribution_api_version="registry/2.0"), True),
        (reply(200, {}), True),
        (reply(200, b""), True),
        (reply(401, docker_distribution_api_version="registry/2.0"), True),
        (reply(401, www_authenticate='Basic realm="x"'), True),
        (reply(401), False),
        (reply(404), False),
        (reply(404, b"<html>", content_type="text/html"), False),
        (reply(405), False),
    ],
)
async def test_a_ping_tells_whether_v2_is_spoken(answer, spoken):
    assert await session(always(answer)).ping() is spoken


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (reply(200, b"<html>", content_type="text/html; charset=utf-8"), TriokerError, "text/html instead of JSON"),
        (reply(400, b"Client sent an HTTP request to an HTTPS server.\n"), TriokerError, "400"),
        (reply(403), Forbidden, "denied"),
        (reply(503), TriokerError, "503"),
        (complaint(429, "TOOMANYREQUESTS", "slow down"), TriokerError, "toomanyrequests: slow down"),
    ],
)
async def test_a_ping_that_meets_no_registry_raises(answer, kind, text, autojump_clock):
    with pytest.raises(kind, match=text):
        await session(always(answer)).ping()


async def test_a_ping_does_not_insist_where_connections_are_closed(autojump_clock):
    registry = first(*[Lost] * 5)
    with pytest.raises(TriokerError, match="the connection was lost"):
        await session(registry).ping()
    assert len(registry.asked) == 2
    assert await session(first(Lost)).ping()


@pytest.mark.parametrize("reference", ["1", digest_of(b'{"a": 1}')])
async def test_a_manifest_comes_with_its_digest_and_type(reference):
    registry = Registry()
    digest = registry.add_manifest("lib/app", "1", OCI, b'{"a": 1}')
    found = await session(registry).manifest(reference)
    assert (found.digest, found.media_type, found.raw) == (digest, OCI, b'{"a": 1}')
    assert "application/vnd.oci.image.index.v1+json" in str(registry.asked[0].headers)


async def test_parameters_of_a_media_type_are_left_out():
    found = await session(always(reply(200, b"{}", content_type=f"{OCI.upper()}; charset=utf-8"))).manifest("1")
    assert found.media_type == OCI


@pytest.mark.parametrize(
    ("reference", "header"),
    [("1", "sha256:" + "0" * 64), (digest_of(b"other"), ""), (digest_of(b"other"), digest_of(b"other"))],
)
async def test_a_manifest_with_another_digest_is_refused(reference, header):
    answer = reply(200, b"{}", content_type=OCI, docker_content_digest=header)
    with pytest.raises(TriokerError, match="what came has the digest sha256:44136fa"):
        await session(always(answer)).manifest(reference)


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (
            complaint(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            NotFound,
            "manifest for registry.example/lib/app:1 not found: manifest unknown$",
        ),
        (complaint(404, "NAME_UNKNOWN", "no such name"), NotFound, "not found: name unknown: no such name"),
        (reply(404), NotFound, "not found: the registry answered 404"),
        (reply(200, b"<html>", content_type="text/html"), TriokerError, "answered text/html instead of JSON"),
        (reply(418, b"<html>", content_type="text/html"), TriokerError, "HTTP status 418, text/html instead of JSON"),
        (reply(404, {"errors": [{"message": "a\x1b[31m\nb" + "c" * 1000}]}), NotFound, r"a \[31m bc+\.\.\.$"),
        (reply(404, {"errors": [7]}), NotFound, "answered 404"),
        (reply(404, {"errors": {"a": 1}}), NotFound, "answered 404"),
        (reply(404, b"[[[[" * 10_000), NotFound, "answered 404"),
        (reply(418, b"x" * 100_000), TriokerError, "answered 418"),
        (reply(302, location="https://elsewhere.example/"), TriokerError, "answered 302"),
        (reply(200, b"x" * (MANIFEST_BYTES + 1), content_type=OCI), TriokerError, "longer than"),
    ],
)
async def test_a_manifest_that_cannot_be_had_is_told_in_known_words(answer, kind, text):
    with pytest.raises(kind, match=text):
        await session(always(answer)).manifest("1")


@pytest.mark.parametrize("passing", [reply(500), complaint(429, "TOOMANYREQUESTS", "x", retry_after="7"), Lost])
async def test_what_may_pass_is_tried_again(passing, autojump_clock):
    registry = first(passing, passing)
    registry.add_manifest("lib/app", "1", OCI, b"{}")
    assert (await session(registry).manifest("1")).raw == b"{}"


async def read(client: Session, digest: str, offset: int = 0) -> tuple[int, int | None, bytes]:
    async with client.blob(digest, offset) as part:
        return part.start, part.total, b"".join([piece async for piece in part.chunks])


@pytest.mark.parametrize("offset", [0, 1, 5119])
async def test_a_blob_is_read_from_where_one_left_off(offset):
    registry = Registry()
    digest = registry.add_blob("lib/app", DATA)
    assert await read(session(registry), digest, offset) == (offset, len(DATA), DATA[offset:])


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, DATA),
        reply(416),
        reply(206, DATA[7:], content_range=f"bytes 7-{len(DATA) - 1}/{len(DATA)}"),
        reply(206, DATA, content_range=f"bytes 0-{len(DATA) - 1}/{len(DATA)}"),
        reply(206, DATA[5:]),
        reply(206, DATA[5:], content_range="bytes nonsense"),
    ],
)
async def test_a_registry_that_cannot_go_on_is_read_from_the_start(answer):
    registry = first(answer)
    digest = registry.add_blob("lib/app", DATA)
    assert await read(session(registry), digest, 5) == (0, len(DATA), DATA)


async def test_a_blob_that_cannot_be_had_now_may_be_had_later():
    with pytest.raises(FetchError) as caught:
        await read(session(always(reply(503, retry_after="9"))), digest_of(DATA))
    assert (caught.value.status, caught.value.retry_after) == (503, 9)


async def test_a_blob_that_is_not_there_is_not_found():
    with pytest.raises(NotFound, match=r"blob sha256:\w+ of registry.example/lib/app not found: blob unknown"):
        await read(session(Registry()), digest_of(DATA))


async def test_the_size_of_a_blob_tells_whether_it_is_there():
    registry = Registry()
    digest = registry.add_blob("lib/app", DATA)
    async with over_sockets(registry) as client:
        assert await client.blob_size(digest) == len(DATA)
        assert await client.blob_size(digest_of(b"other")) is None


def pages(*links):
    """Page after page of one name each."""
    registry, left = Registry(), list(links)
    registry.twists.append(lambda _: reply(200, {"tags": [f"tag{len(left)}"], "name": "x"}, link=left.pop(0)))
    return registry


async def test_tags_are_read_page_by_page():
    registry = pages(
        '</v2/lib/app/tags/list?last=b&n=1>; rel="next"', f"<{BASE}/v2/lib/app/tags/list?last=c>;rel=next", ""
    )
    assert await session(registry).tags() == ["tag3", "tag2", "tag1"]
    assert [asked.url.partition("?")[2] for asked in registry.asked] == ["n=1000", "last=b&n=1", "last=c"]


async def test_a_next_page_elsewhere_is_refused():
    with pytest.raises(TriokerError, match=r"another host, 'evil\.example'"):
        await session(pages('<https://evil.example/v2/>; rel="next"')).tags()


async def test_endless_pages_end():
    registry = always(reply(200, {"tags": ["a", "b"]}, link='<?again>; rel="next"'))
    assert await session(registry).tags() == ["a", "b"]
    assert len(registry.asked) == 1000


async def test_no_tags_are_an_empty_list():
    assert await session(always(reply(200, {"name": "x", "tags": None}))).tags() == []


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"tags": [1]}', b'{"tags": "a"}'])
async def test_a_list_that_is_none_is_refused(body):
    with pytest.raises(TriokerError, match=r"tags of registry\.example/lib/app"):
        await session(always(reply(200, body))).tags()


async def test_the_catalogue_names_repositories():
    registry = always(reply(200, {"repositories": ["a", "b/c"]}))
    assert await session(registry, "").catalog() == ["a", "b/c"]
    assert registry.asked[0].path == "/v2/_catalog"


async def test_a_blob_is_mounted_or_the_begun_upload_is_given_up():
    registry = Registry()
    digest = registry.add_blob("lib/other", DATA)
    client = session(registry, push=True)
    assert await client.mount(digest, "lib/other")
    assert ("lib/app", digest) in registry.blobs
    assert not await client.mount(digest_of(b"x"), "lib/other")
    assert not registry.uploads


async def test_a_manifest_is_put_and_its_digest_compared():
    registry = Registry()
    client = session(registry, push=True)
    assert await client.put_manifest("1", OCI, b"{}") == digest_of(b"{}")
    assert registry.manifests["lib/app", "1"] == (OCI, b"{}")
    with pytest.raises(TriokerError, match="the registry took it as"):
        await session(always(reply(201, docker_content_digest=digest_of(b"other")))).put_manifest("1", OCI, b"{}")


@pytest.mark.parametrize("name", ["App", "a__b__c/D"])
def test_upper_case_is_not_for_v2(name):
    with pytest.raises(InvalidParameter, match="must be lowercase"):
        check_name(name)


@pytest.mark.parametrize("name", ["_a", "a_", "a..b", "a___b", ".", "a//b", ""])
def test_what_v2_takes_for_no_name_is_refused(name):
    with pytest.raises(InvalidParameter, match="is no repository name"):
        check_name(name)


class Redirecting:
    """A client that was led to another host, which answers by itself."""

    def __init__(self, inner, url):
        self.inner, self.url, self.shown = inner, url, []

    @asynccontextmanager
    async def request(self, method, url, *, headers=(), body=None):
        self.shown.append(dict(headers))
        async with self.inner.request(method, url, headers=headers, body=body) as answer:
            object.__setattr__(answer, "url", self.url)
            yield answer


async def test_another_hosts_challenge_is_not_answered():
    registry = always(reply(401, www_authenticate='Bearer realm="https://evil.example/token"'))
    client = session(registry)
    client._client = Redirecting(client._client, "https://storage.example/blob")
    with pytest.raises(TriokerError, match="unauthorized"):
        await read(client, digest_of(DATA))
    assert len(client._client.shown) == 1
