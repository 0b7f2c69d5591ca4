"""The registry protocol of 2013 (registry.md): an index that knows who may use which repository, and registries that hold images.

An Index gives a Grant; with its token a Registry is asked. Nothing here knows the image store.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from urllib.parse import quote, urlsplit

import attrs

from trioker.http.client import Client, Headers, Upload, parse_url
from trioker.http.client.urls import redirected
from trioker.images.registry.documents import printable
from trioker.images.registry.manifests import CONFIG_BYTES
from trioker.images.registry.names import DOCKER_HUB, Registries, endpoints
from trioker.images.registry.v1_forms import (
    Entry,
    Grant,
    check_id,
    encode_entries,
    index_name,
    parse_ancestry,
    parse_entries,
    parse_grant,
    parse_tags,
    registry_name,
)
from trioker.images.registry.v1_layers import Download, download
from trioker.images.registry.v1_wire import Cookies, Reply, ask, basic, explained, public, refusal
from trioker.model.errors import InvalidParameter, TriokerError
from trioker.model.progress import Credentials

HUB_INDEX = "https://index.docker.io/v1"
REDIRECTS = 5
"""Followed at most, as the client does for GET."""
_ALREADY = "Image already exists"


def index_urls(host: str, registries: Registries) -> Sequence[str]:
    """Under which URLs the index of a registry (``host[:port]``, or docker.io) may be asked, in the order to try."""
    if host == DOCKER_HUB:
        return (HUB_INDEX,)
    return tuple(f"{each.url}/v1" for each in endpoints(host, registries) if not each.mirror)


@attrs.frozen
class Index:
    """An index under one URL."""

    client: Client
    url: str
    """``https://index.docker.io/v1``."""
    registries: Registries = Registries()
    credentials: Credentials = Credentials()
    cookies: Cookies = attrs.Factory(Cookies)

    async def images(self, repository: str) -> Grant:
        """Leave to pull (pull 1), and the images that the repository has. Raises Unauthorized, NotFound, TriokerError."""
        url = f"{self.url}/repositories/{index_name(repository)}/images"
        reply = await ask(self.client, "GET", url, self._headers)
        if reply.status != 200:
            raise refusal(reply)
        return parse_grant(reply.headers, reply.where, parse_entries(reply.json, reply.where))

    async def begin_push(self, repository: str, entries: Sequence[Entry]) -> Grant:
        """Leave to push these images (push 1)."""
        reply = await self._put(f"{self.url}/repositories/{index_name(repository)}/", entries)
        if reply.status not in {200, 201}:
            raise refusal(reply)
        return parse_grant(reply.headers, reply.where, tuple(entries))

    async def end_push(self, repository: str, grant: Grant) -> None:
        """Say that the registries have them now (push 5)."""
        told = [(b"x-docker-endpoints", ",".join(grant.endpoints).encode())]
        reply = await self._put(f"{self.url}/repositories/{index_name(repository)}/images", grant.entries, told)
        if reply.status not in {200, 201, 204}:
            raise refusal(reply)

    def registry(self, grant: Grant, endpoint: str) -> "Registry":
        """One of the registries that a grant is for."""
        headers = [(b"authorization", f"Token {grant.token}".encode("latin-1"))] if grant.token else []
        return Registry(self.client, self._endpoint_url(endpoint), headers, self.cookies)

    def _endpoint_url(self, endpoint: str) -> str:
        """In the clear only where the index is, and where the user allowed it."""
        index = urlsplit(self.url)
        plain = index.scheme == "http" and (endpoint == index.netloc or self.registries.allow_plain(endpoint))
        return f"{'http' if plain else 'https'}://{endpoint}/v1"

    @property
    def _headers(self) -> Headers:
        return [(b"x-docker-token", b"true"), *basic(self.credentials)]

    async def _put(self, url: str, entries: Sequence[Entry], more: Headers = ()) -> Reply:
        """PUT the list, following redirects by hand; the credentials are for the first server only."""
        body, here = encode_entries(entries), parse_url(url)
        for _ in range(REDIRECTS + 1):
            at_home = urlsplit(url)[:2] == here[:2]
            headers = self._headers if at_home else [(b"x-docker-token", b"true")]
            headers = [*headers, (b"content-type", b"application/json"), *more]
            reply = await ask(self.client, "PUT", here.geturl(), headers, body, cookies=self.cookies)
            location = reply.header(b"location")
            if reply.status not in {301, 302, 303, 307, 308} or not location:
                return reply
            with explained():
                here = redirected(here, location.encode("latin-1"))
        raise TriokerError(f"{public(url)}: more than {REDIRECTS} redirects")


@attrs.frozen
class Registry:
    """A registry under one URL."""

    client: Client
    url: str
    """With the protocol's version, as images are asked for right behind it: ``https://registry-1.docker.io/v1``."""
    authorization: Headers = attrs.field(default=(), repr=False)
    cookies: Cookies = attrs.Factory(Cookies)

    async def tags(self, repository: str) -> Mapping[str, str]:
        """Tag to image id (pull 2). Raises NotFound."""
        reply = await self._get(
            f"/repositories/{registry_name(repository)}/tags", f"Repository not found: {repository}"
        )
        return parse_tags(reply.json, reply.where)

    async def ancestry(self, image_id: str) -> tuple[str, ...]:
        """The image and those it stands on, child first (pull 3)."""
        reply = await self._get(f"/images/{image_id}/ancestry")
        return parse_ancestry(reply.json, image_id, reply.where)

    async def image(self, image_id: str) -> Reply:
        """The image's JSON as it is (pull 4)."""
        reply = await self._get(f"/images/{image_id}/json")
        if len(reply.body) > CONFIG_BYTES:
            raise TriokerError(
                f"{reply.where}: an image's JSON of {len(reply.body)} bytes, more than the {CONFIG_BYTES} allowed"
            )
        return reply

    def layer(self, image_id: str) -> AbstractAsyncContextManager[Download]:
        """The image's own layer, a tar in any compression (pull 5)."""
        return download(self.client, f"{self.url}/images/{image_id}/layer", self.authorization)

    async def put_image(self, image_id: str, image_json: bytes, checksum: str) -> bool:
        """Send an image's JSON (push 2); False where the registry has the image already, layer and all."""
        headers = [(b"content-type", b"application/json"), (b"x-docker-checksum", checksum.encode())]
        reply = await self._put(f"/images/{image_id}/json", image_json, headers)
        if reply.status != 200 and reply.error == _ALREADY:
            return False
        _check(reply)
        return True

    async def put_layer(self, image_id: str, layer: Upload) -> None:
        """Send its layer (push 3)."""
        _check(await self._put(f"/images/{image_id}/layer", layer))

    async def put_tag(self, repository: str, tag: str, image_id: str) -> None:
        """Name it (push 4)."""
        path = f"/repositories/{registry_name(repository)}/tags/{quote(tag, safe='')}"
        headers = [(b"content-type", b"application/json")]
        _check(await self._put(path, json.dumps(image_id).encode(), headers))

    async def _get(self, path: str, missing: str = "") -> Reply:
        reply = await ask(self.client, "GET", self.url + path, self.authorization)
        if reply.status != 200:
            raise refusal(reply, missing)
        return reply

    async def _put(self, path: str, body: bytes | Upload, headers: Headers = ()) -> Reply:
        return await ask(
            self.client, "PUT", self.url + path, [*self.authorization, *headers], body, cookies=self.cookies
        )


def _check(reply: Reply) -> None:
    if reply.status not in {200, 201, 204}:
        raise refusal(reply)


def registry_at(client: Client, url: str, registries: Registries, credentials: Credentials) -> Registry:
    """The registry that a user named by its URL (``registry=`` of the page): without an index, so without a token.

    Raises InvalidParameter for a bad URL, and for one in the clear that the daemon was not told to trust.
    """
    with explained():
        parts = parse_url(url)
    if parts.scheme == "http" and not registries.allow_plain(parts.netloc.rpartition("@")[2]):
        raise InvalidParameter(
            f"{public(url)}: images from plain http need --insecure-registry {parts.netloc.rpartition('@')[2]}"
        )
    return Registry(client, url.rstrip("/"), basic(credentials))


def check_image_id(image_id: str) -> str:
    """The full id by which a user wants an image straight from a registry; short ones only the store knows. Raises InvalidParameter."""
    try:
        return check_id(image_id, "registry")
    except TriokerError:
        raise InvalidParameter(
            f"{printable(image_id)}: a registry knows images by their full id, 64 lower-case hex digits"
        ) from None
