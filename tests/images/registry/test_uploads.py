import pytest
from v2_peer import Lost, Registry, complaint, digest_of, over_sockets, reply, session

from trioker.images.registry.uploads import upload
from trioker.model.errors import Forbidden, TriokerError
from trioker.model.layer import Blob
from trioker.model.progress import Credentials

DATA = bytes(range(256)) * 100
BLOB = Blob(digest_of(DATA), len(DATA))
CHUNK = 4000
CHUNKS = -(-len(DATA) // CHUNK)


class Source:
    """The blob's bytes, and how much of them the registry was sent."""

    def __init__(self, data: bytes = DATA) -> None:
        self.data = data
        self.open = 0
        self.told: list[int] = []

    async def open_at(self, offset: int):
        self.open += 1
        try:
            for start in range(offset, len(self.data), 1500):
                yield self.data[start : start + 1500]
        finally:
            self.open -= 1

    async def sent(self, count: int) -> None:
        self.told.append(count)


async def send(registry, data: bytes = DATA, source: Source | None = None) -> Source:
    source = source or Source(data)
    await upload(
        session(registry, push=True), Blob(digest_of(data), len(data)), source.open_at, source.sent, chunk=CHUNK
    )
    assert source.open == 0
    return source


def methods(registry) -> list[str]:
    return [asked.method for asked in registry.asked]


@pytest.mark.parametrize("size", [0, 1, CHUNK])
async def test_a_small_blob_goes_in_one_request(size):
    registry = Registry()
    await send(registry, DATA[:size])
    assert registry.blobs["lib/app", digest_of(DATA[:size])] == DATA[:size]
    assert methods(registry) == ["POST", "PUT"]


@pytest.mark.parametrize("size", [CHUNK + 1, 2 * CHUNK, len(DATA)])
async def test_a_large_blob_goes_in_chunks(size):
    registry = Registry()
    source = await send(registry, DATA[:size])
    assert registry.blobs["lib/app", digest_of(DATA[:size])] == DATA[:size]
    assert methods(registry) == ["POST", *["PATCH"] * -(-size // CHUNK), "PUT"]
    assert registry.asked[1].headers["content-range"] == f"0-{CHUNK - 1}"
    assert source.told == sorted(source.told)
    assert source.told[-1] == size


def broken(registry, method: str, times: int, taken: int):
    """The connection breaks at the second request of the method, when so many bytes had come."""
    left = [None, *[taken] * times]

    def twist(asked):
        if asked.method == method and left and left.pop(0) is not None:
            registry.uploads[asked.path.rpartition("/")[2]] += asked.body[:taken]
            raise Lost

    registry.twists.append(twist)
    return registry


@pytest.mark.parametrize("taken", [0, 1, 1234, CHUNK])
async def test_a_broken_upload_goes_on_where_the_registry_got_to(taken, autojump_clock):
    registry = broken(Registry(), "PATCH", 2, taken)
    await send(registry)
    assert registry.blobs["lib/app", BLOB.digest] == DATA
    assert methods(registry).count("GET") == 2
    assert methods(registry).count("POST") == 1


async def test_a_lost_answer_to_the_last_request_is_no_failure(autojump_clock):
    registry, lost = Registry(), []

    def twist(asked):
        if asked.method == "PUT" and not lost:
            lost.append(registry.answer(asked))
            raise Lost

    registry.twists.append(twist)
    await send(registry)
    assert methods(registry)[-2:] == ["PUT", "HEAD"]


async def test_a_small_upload_that_breaks_begins_again(autojump_clock):
    registry = Registry()
    lost = [True]

    def twist(asked):
        if asked.method == "PUT" and lost:
            lost.clear()
            raise Lost

    registry.twists.append(twist)
    await send(registry, b"small")
    assert methods(registry) == ["POST", "PUT"] * 2


async def test_an_upload_the_registry_forgot_begins_again():
    registry = Registry()
    forgotten = [True]

    def twist(asked):
        if asked.method == "PATCH" and asked.headers["content-range"].startswith(f"{CHUNK}-") and forgotten:
            forgotten.clear()
            registry.uploads.clear()

    registry.twists.append(twist)
    await send(registry)
    assert methods(registry).count("POST") == 2


async def test_a_registry_that_always_forgets_is_given_up():
    registry = Registry()
    registry.twists.append(lambda asked: registry.uploads.clear() if asked.method == "PATCH" else None)
    with pytest.raises(TriokerError, match="forgot the upload"):
        await send(registry)
    assert methods(registry).count("POST") == 5


async def test_a_registry_that_takes_less_is_sent_the_rest():
    registry = Registry()

    def twist(asked):
        if asked.method == "PATCH":
            key = asked.path.rpartition("/")[2]
            registry.uploads[key] += asked.body[:1000]
            return registry.progress(202, "lib/app", key)
        return None

    registry.twists.append(twist)
    await send(registry)
    assert registry.blobs["lib/app", BLOB.digest] == DATA


@pytest.mark.parametrize("progress", ["0-0", "0-999999999"])
async def test_a_registry_that_counts_wrong_is_given_up(progress, autojump_clock):
    registry = Registry()
    registry.twists.append(lambda asked: reply(202, range=progress) if asked.method in {"PATCH", "GET"} else None)
    with pytest.raises(TriokerError, match=r"the registry (took nothing|says it has)"):
        await send(registry)


async def test_a_chunk_is_as_long_as_the_registry_wants_it():
    registry = Registry()

    def twist(asked):
        if asked.method == "POST":
            status, headers, body = registry.answer(asked)
            return status, {**headers, "oci-chunk-min-length": "10000"}, body
        return None

    registry.twists.append(twist)
    await send(registry)
    assert registry.asked[1].headers["content-range"] == "0-9999"


async def test_locations_may_change_on_the_way():
    registry, moved = Registry(), []

    def twist(asked):
        moved.append(asked.url.partition("?")[2])
        status, headers, body = registry.answer(asked)
        if "location" in headers:
            headers["location"] = headers["location"].replace("_state=x", f"_state={len(moved)}")
        return status, headers, body

    registry.twists.append(twist)
    await send(registry)
    assert moved[:3] == ["", "_state=1", "_state=2"]
    assert moved[-1] == f"_state={len(moved) - 1}&digest={BLOB.digest}"


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (
            complaint(401, "UNAUTHORIZED", "authentication required"),
            TriokerError,
            "unauthorized: authentication required",
        ),
        (complaint(403, "DENIED", "no push for you"), Forbidden, "denied: no push for you"),
        (
            complaint(404, "NAME_UNKNOWN", "repository name not known"),
            TriokerError,
            "name unknown: repository name not known",
        ),
        (reply(413), TriokerError, "answered 413"),
        (reply(202), TriokerError, "without saying where it goes"),
        (reply(202, location="ftp://x/"), TriokerError, "without saying where it goes"),
        (reply(202, location="http://registry.example/upload"), TriokerError, "over plain http, at 'registry.example'"),
        (reply(202, location="https://127.1:4243/containers/x"), TriokerError, "to this machine, at '127.1:4243'"),
        (reply(200, b"<html>", content_type="text/html"), TriokerError, "text/html instead of JSON"),
    ],
)
async def test_a_refused_upload_says_why(answer, kind, text):
    registry = Registry()
    registry.twists.append(lambda asked: answer if asked.method == "POST" else None)
    with pytest.raises(kind, match=text):
        await send(registry)
    assert methods(registry) == ["POST"]


async def test_a_wrong_digest_is_the_registrys_word():
    source = Source(DATA[:-1] + b"x")
    with pytest.raises(TriokerError, match="digest invalid: provided digest did not match"):
        await send(Registry(), source=source)


async def test_a_blob_that_ends_early_is_an_error():
    with pytest.raises(TriokerError, match="its bytes end at 25000"):
        await send(Registry(), source=Source(DATA[:25000]))


async def test_an_upload_elsewhere_is_shown_no_credentials():
    registry = Registry()

    def twist(asked):
        if asked.url.startswith("https://storage.example"):
            return reply(202, location="https://storage.example/x") if asked.method == "PATCH" else reply(201)
        if not asked.authorization:
            return reply(401, www_authenticate='Basic realm="x"')
        return reply(202, location="https://storage.example/x")

    registry.twists.append(twist)
    client = session(registry, push=True, credentials=Credentials(username="ann", password="x"))
    source = Source()
    await upload(client, BLOB, source.open_at, source.sent, chunk=CHUNK)
    elsewhere = [asked for asked in registry.asked if "storage" in asked.url]
    assert len(elsewhere) == CHUNKS + 1
    assert not any(asked.authorization for asked in elsewhere)


async def test_an_upload_works_over_the_wire():
    registry, source = Registry(), Source()
    async with over_sockets(registry, push=True) as client:
        await upload(client, BLOB, source.open_at, source.sent, chunk=CHUNK)
    assert registry.blobs["lib/app", BLOB.digest] == DATA
