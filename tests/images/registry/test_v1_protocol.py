"""The protocol of 2013, step by step, over a real socket."""

import json
from collections.abc import AsyncIterator

import pytest
from registry_v1 import TOKEN, RegistryV1, running_registry
from v1_peer import USER, asking

from trioker.http.client import Client, Upload
from trioker.images.registry.manifests import CONFIG_BYTES
from trioker.images.registry.names import Registries
from trioker.images.registry.v1 import HUB_INDEX, Index, Registry, check_image_id, index_urls, registry_at
from trioker.images.registry.v1_forms import Entry, layer_checksum
from trioker.model.errors import Forbidden, InvalidParameter, NotFound, TriokerError, Unauthorized
from trioker.model.progress import Credentials

LAYER = bytes(range(256)) * 2000


async def read(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


def upload(data: bytes) -> Upload:
    async def pieces() -> AsyncIterator[bytes]:
        yield data[:1000]
        yield data[1000:]

    return Upload(pieces)


async def test_an_image_is_asked_for_in_five_steps(registry: RegistryV1) -> None:
    base = registry.add(b"base")
    top = registry.add(LAYER, base, comment="made")
    registry.tag("foo", "latest", top)
    async with asking(registry, Credentials()) as index:
        grant = await index.images("foo")
        assert [entry.id for entry in grant.entries] == [top, base]
        at = index.registry(grant, grant.endpoints[0])
        assert await at.tags("foo") == {"latest": top}
        assert await at.ancestry(top) == (top, base)
        image = await at.image(top)
        assert json.loads(image.body)["comment"] == "made"
        assert image.header(b"x-docker-size") == str(len(LAYER))
        async with at.layer(top) as download:
            assert download.length == len(LAYER)
            assert await read(download.chunks) == LAYER
    listed = registry.asked[0]
    assert (listed.path, listed.headers["x-docker-token"]) == ("/v1/repositories/foo/images", "true")
    assert "authorization" not in listed.headers
    assert {each.headers["authorization"] for each in registry.asked[1:]} == {f"Token {TOKEN}"}


async def test_an_image_is_sent_in_five_steps(registry: RegistryV1) -> None:
    image_id, image_json = "a" * 64, json.dumps({"id": "a" * 64}).encode()
    checksum = layer_checksum(image_json)
    checksum.update(LAYER)
    entry = Entry(image_id, f"sha256:{checksum.hexdigest()}", "v1")
    async with asking(registry) as index:
        grant = await index.begin_push("user/foo", [entry])
        at = index.registry(grant, grant.endpoints[0])
        assert await at.put_image(image_id, image_json, entry.checksum)
        await at.put_layer(image_id, upload(LAYER))
        await at.put_tag("user/foo", "v1", image_id)
        await index.end_push("user/foo", grant)
        assert not await at.put_image(image_id, image_json, entry.checksum)
    assert registry.images[image_id].layer == LAYER
    assert registry.tags == {"user/foo": {"v1": image_id}}
    assert registry.lists["user/foo"] == [{"id": image_id, "checksum": entry.checksum, "Tag": "v1"}]
    (layer,) = registry.asked_for("PUT", "/layer")
    assert layer.headers["transfer-encoding"] == "chunked"
    assert layer.headers["cookie"] == "session=1"
    (last,) = registry.asked_for("PUT", "/images")
    assert last.headers["x-docker-endpoints"] == registry.address


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (401, Unauthorized, r"^Please login first \(HTTP code 401\)$"),
        (403, Forbidden, "/repositories/foo/images: HTTP code: 403: as told"),
        (404, NotFound, "HTTP code: 404"),
        (418, TriokerError, "HTTP code: 418: as told"),
    ],
)
async def test_an_index_that_refuses_is_told_in_the_words_of_2013(
    registry: RegistryV1, status: int, kind: type[TriokerError], text: str
) -> None:
    registry.faults.status["/images"] = status
    async with asking(registry) as index:
        with pytest.raises(kind, match=text) as refused:
            await index.images("foo")
    assert USER.password not in str(refused.value)
    assert type(refused.value) is kind


async def test_a_server_that_is_busy_is_asked_again(registry: RegistryV1) -> None:
    registry.tag("foo", "latest", registry.add(LAYER))
    registry.faults.once["/images"] = 503
    async with asking(registry) as index:
        assert (await index.images("foo")).endpoints
    assert len(registry.asked_for("GET", "/images")) == 2


async def test_a_repository_the_registry_lacks_is_not_found(registry: RegistryV1) -> None:
    registry.lists["foo"] = []
    async with asking(registry) as index:
        grant = await index.images("foo")
        with pytest.raises(NotFound, match="Repository not found"):
            await index.registry(grant, registry.address).tags("foo")


async def test_an_index_without_endpoints_is_refused(registry: RegistryV1) -> None:
    registry.lists["foo"] = []
    registry.faults.no_endpoints = True
    async with asking(registry) as index:
        with pytest.raises(TriokerError, match="didn't contain any endpoints"):
            await index.images("foo")


@pytest.mark.parametrize("ending", ["/images", "/tags", "/ancestry", "/json"])
async def test_a_page_for_browsers_is_refused(registry: RegistryV1, ending: str) -> None:
    image = registry.add(LAYER)
    registry.tag("foo", "latest", image)
    async with asking(registry) as index:
        grant = await index.images("foo")
        at = index.registry(grant, registry.address)
        registry.faults.html.add(ending)
        with pytest.raises(TriokerError, match="the registry answered text/html instead of JSON"):
            await ask_all(index, at, image)


async def test_an_image_that_has_too_much_to_say_is_refused(registry: RegistryV1) -> None:
    image = registry.add(LAYER, comment="x" * CONFIG_BYTES)
    registry.tag("foo", "latest", image)
    async with asking(registry) as index:
        at = index.registry(await index.images("foo"), registry.address)
        with pytest.raises(TriokerError, match=r"an image's JSON of 104\d{4} bytes, more than the 1048576 allowed"):
            await at.image(image)


async def ask_all(index: Index, at: Registry, image: str) -> None:
    await index.images("foo")
    await at.tags("foo")
    await at.ancestry(image)
    assert (await at.image(image)).document


async def test_wrong_credentials_are_refused(registry: RegistryV1) -> None:
    async with asking(registry, Credentials("somebody", "wrong")) as index:
        with pytest.raises(Unauthorized, match="Please login first"):
            await index.begin_push("user/foo", [])


async def test_a_push_follows_a_redirection_and_takes_no_credentials_along(registry: RegistryV1) -> None:
    with running_registry() as other:
        registry.faults.redirect_push = f"http://{other.address}"
        async with asking(registry) as index:
            with pytest.raises(Unauthorized):
                await index.begin_push("user/foo", [])
        (asked,) = other.asked
        assert (asked.method, asked.path) == ("PUT", "/v1/repositories/user/foo/")
        assert "authorization" not in asked.headers
        assert "cookie" not in asked.headers


async def test_a_push_follows_a_redirection_at_home_with_its_credentials(registry: RegistryV1) -> None:
    registry.faults.redirect_push = f"http://{registry.address}"
    async with asking(registry) as index:
        assert (await index.begin_push("user/foo", [])).token == TOKEN


async def test_a_checksum_that_is_wrong_is_the_registrys_to_refuse(registry: RegistryV1) -> None:
    async with asking(registry) as index:
        grant = await index.begin_push("user/foo", [])
        at = index.registry(grant, registry.address)
        assert await at.put_image("a" * 64, b"{}", "sha256:" + "0" * 64)
        with pytest.raises(TriokerError, match="HTTP code: 400: Checksum mismatch"):
            await at.put_layer("a" * 64, upload(LAYER))


# -- layers ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_layer_goes_on_where_the_connection_broke(registry: RegistryV1, ranges: bool) -> None:
    image = registry.add(LAYER)
    registry.faults.cut_layers = 3
    registry.faults.no_ranges = not ranges
    with running_registry(open=True) as other:
        other.images, other.faults = registry.images, registry.faults
        async with asking(other) as index:
            at = registry_at(index.client, other.url, Registries(), Credentials())
            async with at.layer(image) as download:
                assert await read(download.chunks) == LAYER
        asked = [each.headers.get("range") for each in other.asked]
    assert asked[0] is None
    assert len(asked) == 4
    assert all(each and each.startswith("bytes=") for each in asked[1:])


async def test_a_layer_that_breaks_again_and_again_is_given_up(registry: RegistryV1) -> None:
    image = registry.add(b"short")
    registry.tag("foo", "latest", image)
    registry.faults.cut_layers = 100
    registry.faults.no_ranges = True
    async with asking(registry) as index:
        at = index.registry(await index.images("foo"), registry.address)
        with pytest.raises(TriokerError, match="/layer"):
            async with at.layer(image) as download:
                await read(download.chunks)
    assert 2 <= len(registry.asked_for("GET", "/layer")) <= 10


async def test_a_layer_is_fetched_from_where_the_registry_points_without_the_token(registry: RegistryV1) -> None:
    image = registry.add(LAYER)
    registry.tag("foo", "latest", image)
    with running_registry(open=True) as store:
        store.images = registry.images
        registry.faults.redirect_layers = f"http://{store.address}"
        async with asking(registry) as index:
            at = index.registry(await index.images("foo"), registry.address)
            async with at.layer(image) as download:
                assert await read(download.chunks) == LAYER
        assert "authorization" not in store.asked[0].headers


async def test_a_layer_that_is_not_there_is_not_found(registry: RegistryV1) -> None:
    registry.lists["foo"] = []
    async with asking(registry) as index:
        at = index.registry(await index.images("foo"), registry.address)
        with pytest.raises(NotFound, match="HTTP code: 404: Image not found"):
            async with at.layer("a" * 64):
                pass


# -- where to ask ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "registries", "urls"),
    [
        ("docker.io", Registries(), (HUB_INDEX,)),
        ("docker.io", Registries(default="other.io"), (HUB_INDEX,)),
        ("other.io", Registries(), ("https://other.io/v1",)),
        ("127.0.0.1:80", Registries(), ("http://127.0.0.1:80/v1", "https://127.0.0.1:80/v1")),
        ("reg:80", Registries(insecure=frozenset({"reg:80"})), ("https://reg:80/v1", "http://reg:80/v1")),
        ("reg:80", Registries(default="http://reg:80", mirrors=("https://mirror",)), ("http://reg:80/v1",)),
    ],
)
def test_an_index_is_looked_for_under_the_registrys_urls(
    host: str, registries: Registries, urls: tuple[str, ...]
) -> None:
    assert index_urls(host, registries) == urls


@pytest.mark.parametrize(
    ("index", "endpoint", "url"),
    [
        ("https://index.io/v1", "registry.io", "https://registry.io/v1"),
        ("https://index.io/v1", "127.0.0.1:5000", "https://127.0.0.1:5000/v1"),
        ("http://127.0.0.1:1/v1", "127.0.0.1:5000", "http://127.0.0.1:5000/v1"),
        ("http://127.0.0.1:1/v1", "registry.io", "https://registry.io/v1"),
        ("http://lan:1/v1", "lan:1", "http://lan:1/v1"),
        ("http://lan:1/v1", "trusted.lan", "http://trusted.lan/v1"),
    ],
)
async def test_a_registry_is_asked_in_the_clear_only_where_the_user_allowed_it(
    index: str, endpoint: str, url: str
) -> None:
    at = Index(Client(), index, Registries(insecure=frozenset({"trusted.lan"})))
    assert at._endpoint_url(endpoint) == url


@pytest.mark.parametrize("url", ["ftp://x/v1", "x/v1", "http://", "http://elsewhere.io/v1", ""])
def test_a_registry_named_by_a_bad_or_unsafe_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidParameter):
        registry_at(Client(), url, Registries(), Credentials())


@pytest.mark.parametrize("image_id", ["", "abc", "A" * 64, "../" * 20 + "abcd", "a" * 63 + "\n"])
def test_an_image_is_asked_for_by_its_full_id_only(image_id: str) -> None:
    assert check_image_id("a" * 64) == "a" * 64
    with pytest.raises(InvalidParameter, match="full id"):
        check_image_id(image_id)
