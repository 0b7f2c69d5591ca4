"""A registry that speaks the distribution protocol v2 (OCI distribution-spec 1.1; Docker Registry HTTP API V2)."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from typing import TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import attrs

from trioker.http.client import Answer, BadUrl, FetchError, Hopeless, Upload, leads_inside, retrying
from trioker.images.registry import media
from trioker.images.registry.complaints import drain, media_type, refusal, want_json
from trioker.images.registry.documents import BadDocument, read_document
from trioker.images.registry.manifests import MANIFEST_BYTES
from trioker.images.registry.names import Endpoint, check_digest
from trioker.images.registry.tokens import NOBODY, Authorization, Tokens
from trioker.model.errors import InvalidParameter, TriokerError
from trioker.model.progress import Credentials

T = TypeVar("T")
Headers = Sequence[tuple[bytes, bytes]]

_VERSION = b"docker-distribution-api-version"
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(?:(\d{1,18})|\*)")
_NEXT = re.compile(r"""<([^<>]*)>\s*;[^,<]*\brel\s*=\s*"?next\b""")
_ACCEPT = [(b"accept", ", ".join((*media.MANIFESTS, *media.INDEXES, *media.SCHEMA1)).encode())]
"""Schema 1, too: a registry that has nothing else then sends it, and we can say what is wrong with it."""

PAGE = 1000
"""Names asked for at once; registries may give fewer."""
PAGES = 1000
PAGE_BYTES = 4 * 2**20
NAMES = 100_000
"""Taken of a list at most."""


@attrs.frozen
class RawManifest:
    """A manifest or index as it was sent."""

    digest: str
    """Of ``raw``."""
    media_type: str
    raw: bytes = attrs.field(repr=False)


@attrs.frozen(eq=False)
class BlobPart:
    """A blob being read, from ``start``: where it was wanted from, or 0 where the registry cannot do that."""

    start: int
    total: int | None
    """Bytes of the whole blob; None if the registry did not say."""
    chunks: AsyncIterator[bytes]
    """Raises FetchError when it ends early, stalls or is malformed: the caller may go on from where it got to."""


def check_name(repository: str) -> None:
    """Raises InvalidParameter for what v2 does not take as a repository (distribution-spec 1.1, "Pulling manifests")."""
    if repository != repository.lower():
        raise InvalidParameter(f"invalid reference format: repository name ({repository}) must be lowercase")
    if not _NAME.fullmatch(repository):
        raise InvalidParameter(f"invalid reference format: {repository} is no repository name")


class Session:
    """What one user does with one repository at one endpoint. All methods raise TriokerError kinds; all but ``blob`` try again what may pass."""

    def __init__(
        self,
        tokens: Tokens,
        endpoint: Endpoint,
        repository: str = "",
        *,
        credentials: Credentials = NOBODY,
        push: bool = False,
        name: str = "",
    ) -> None:
        """``name`` is the repository in error texts, by default with its host. Without a repository only ``ping`` and ``catalog`` work."""
        if repository:
            check_name(repository)
        self.name = name or f"{endpoint.authority}/{repository}".removesuffix("/")
        self._client = tokens.client
        self._base = f"{endpoint.url}/v2/"
        self._repository = repository
        scopes = [f"repository:{repository}:{'pull,push' if push else 'pull'}"] if repository else []
        self._authorization = Authorization(tokens, endpoint, credentials, scopes)

    async def ping(self) -> bool:
        """Whether v2 is spoken here. A challenge is remembered, so that what follows need not be refused first.

        Raises TriokerError where nobody answers, or not as a registry would: the next endpoint may be better. A connection that is closed
        without an answer is tried only once more, for that is how some servers of TLS meet plain words.
        """
        lost = 0

        async def attempt() -> bool:
            nonlocal lost
            try:
                return await self._ping()
            except FetchError as error:
                lost += not error.status
                if lost > 1:
                    raise Hopeless(str(error)) from error
                raise

        return await self.retried(attempt)

    async def _ping(self) -> bool:
        async with self._client.request("GET", self._base) as answer:
            if answer.status == 401:
                self._authorization.learn(_challenges(answer), "")
                await drain(answer)
                return bool(answer.header(_VERSION) or answer.header(b"www-authenticate"))
            if answer.status == 200:
                want_json(answer, self.name)
                await drain(answer)
                return True
            if answer.status in {400, 403, 408, 429} or answer.status >= 500:  # 400: plain words to a TLS server
                raise await refusal(answer, self.name)
            return False

    async def check_login(self) -> None:
        """Whether the registry takes the credentials. Raises Unauthorized."""
        await self.retried(self._check_login)

    async def _check_login(self) -> None:
        async with self.request("GET", "") as answer:
            if answer.status != 200:
                raise await refusal(answer, self.name)
            want_json(answer, self.name)

    async def manifest(self, reference: str) -> RawManifest:
        """The manifest or index of a tag or digest, verified against the digest asked for and the one the registry names."""
        return await self.retried(lambda: self._manifest(reference))

    async def _manifest(self, reference: str) -> RawManifest:
        what = f"manifest for {self._shown(reference)}"
        async with self.request("GET", f"{self._repository}/manifests/{reference}", headers=_ACCEPT) as answer:
            if answer.status != 200:
                raise await refusal(answer, what)
            want_json(answer, what)
            raw = await answer.read(MANIFEST_BYTES)
            digest = f"sha256:{sha256(raw).hexdigest()}"
            for expected in (reference, answer.header(b"docker-content-digest")):
                if expected.startswith("sha256:") and expected != digest:
                    raise BadDocument(f"{what}: what came has the digest {digest}, not {expected[:80]!r}")
            return RawManifest(digest, media_type(answer), raw)

    @asynccontextmanager
    async def blob(self, digest: str, offset: int = 0) -> AsyncIterator[BlobPart]:
        """Read a blob, from ``offset`` where the registry can (RFC 9110, section 14). Not verified.

        Raises FetchError where another try may help: the caller knows what it has got already (``http.client.retrying``).
        """
        url = f"{self._repository}/blobs/{check_digest(digest)}"
        for start in dict.fromkeys((offset, 0)):
            wanted = [(b"range", b"bytes=%d-" % start)] if start else []
            async with self.request("GET", url, headers=wanted) as answer:
                if start and (answer.status == 416 or (answer.status == 206 and _range(answer)[0] != start)):
                    continue
                yield await self._part(answer, digest)
                return

    async def _part(self, answer: Answer, digest: str) -> BlobPart:
        if answer.status == 200:
            return BlobPart(0, answer.length, answer.chunks)
        if answer.status == 206 and _range(answer)[0] >= 0:
            return BlobPart(*_range(answer), answer.chunks)
        raise await refusal(answer, f"blob {digest} of {self.name}")

    async def blob_size(self, digest: str) -> int | None:
        """Bytes of a blob that is there; None if it is not."""
        return await self.retried(lambda: self._blob_size(digest))

    async def _blob_size(self, digest: str) -> int | None:
        async with self.request("HEAD", f"{self._repository}/blobs/{check_digest(digest)}") as answer:
            if answer.status == 404:
                return None
            if answer.status != 200:
                raise await refusal(answer, f"blob {digest} of {self.name}")
            return answer.length or 0

    async def tags(self) -> Sequence[str]:
        """The repository's tags. Raises NotFound where there is no such repository."""
        return await self._list(f"{self._repository}/tags/list", "tags", f"tags of {self.name}")

    async def catalog(self) -> Sequence[str]:
        """The registry's repositories, where it tells."""
        return await self._list("_catalog", "repositories", f"catalogue of {self.name}")

    async def _list(self, path: str, key: str, what: str) -> Sequence[str]:
        names: list[str] = []
        url = f"{self._base}{path}?n={PAGE}"
        for _ in range(PAGES):
            found, following = await self.retried(partial(self._page, url, key, what))
            names += found
            if not following or not found or len(names) >= NAMES:
                break
            url = following
        return list(dict.fromkeys(names))[:NAMES]

    async def _page(self, url: str, key: str, what: str) -> tuple[Sequence[str], str]:
        async with self.request("GET", url) as answer:
            if answer.status != 200:
                raise await refusal(answer, what)
            want_json(answer, what)
            found = read_document(await answer.read(PAGE_BYTES), what).texts(key)
            link = _NEXT.search(", ".join(_all(answer, b"link")))
            following = urljoin(url, link[1]) if link else ""
            if following and not self._is_ours(following):
                raise BadDocument(
                    f"{what}: the next page is said to be at another host, {urlsplit(following).netloc[:100]!r}"
                )
            return found, following

    async def mount(self, digest: str, from_repository: str) -> bool:
        """Take over a blob of another repository of the registry; False if it has to be uploaded."""
        return await self.retried(lambda: self._mount(digest, from_repository))

    async def _mount(self, digest: str, from_repository: str) -> bool:
        query = urlencode({"mount": check_digest(digest), "from": from_repository}, safe="/:")
        scopes = [f"repository:{from_repository}:pull"]
        async with self.request(
            "POST", f"{self._repository}/blobs/uploads/?{query}", body=b"", scopes=scopes
        ) as answer:
            if answer.status not in {201, 202}:
                raise await refusal(answer, f"blob {digest} of {from_repository}")
            begun = "" if answer.status == 201 else self.location(answer)
        if begun:  # as an upload, which we do not want; the registry would also forget it in a week
            async with self.request("DELETE", begun):
                pass
        return not begun

    async def put_manifest(self, reference: str, media_type: str, raw: bytes) -> str:
        """Name what was uploaded; the digest of ``raw``."""
        return await self.retried(lambda: self._put_manifest(reference, media_type, raw))

    async def _put_manifest(self, reference: str, media_type: str, raw: bytes) -> str:
        headers = [(b"content-type", media_type.encode())]
        digest = f"sha256:{sha256(raw).hexdigest()}"
        async with self.request(
            "PUT", f"{self._repository}/manifests/{reference}", headers=headers, body=raw
        ) as answer:
            if not 200 <= answer.status < 300:
                raise await refusal(answer, f"manifest for {self._shown(reference)}")
            taken = answer.header(b"docker-content-digest")
            if taken.startswith("sha256:") and taken != digest:
                raise TriokerError(
                    f"manifest for {self._shown(reference)}: the registry took it as {taken[:80]!r}, not as {digest}"
                )
        return digest

    @property
    def uploads(self) -> str:
        """Where uploads begin."""
        return f"{self._repository}/blobs/uploads/"

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        body: bytes | Upload | None = None,
        scopes: Sequence[str] = (),
    ) -> AsyncIterator[Answer]:
        """One exchange, authorized as the registry wants it; ``url`` may be relative to ``/v2/``. Raises FetchError, TriokerError."""
        url = urljoin(self._base, url)
        ours = self._is_ours(url)
        for last in (False, True):
            used = await self._authorization.header(scopes) if ours else ""
            shown = [(b"authorization", used.encode())] if used else []
            async with self._client.request(method, url, headers=[*headers, *shown], body=body) as answer:
                asks = answer.status == 401 and self._is_ours(answer.url) and not last
                if asks and self._authorization.learn(_challenges(answer), used):
                    await drain(answer)
                    continue
                yield answer
                return

    async def retried(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """``http.client.retrying``, with what fails in the end as TriokerError."""
        try:
            return await retrying(attempt)
        except (FetchError, BadUrl) as error:
            raise TriokerError(str(error)) from error

    def location(self, answer: Answer) -> str:
        """Where an upload goes on. It may be elsewhere, and is shown no credentials there, but not in the clear where we came by TLS.

        Nor at this machine where the registry is not: its PUTs and DELETEs would be ours.
        """
        location = answer.header(b"location")
        url = urljoin(answer.url, location)
        if not location or urlsplit(url).scheme not in {"http", "https"}:
            raise TriokerError(f"{self.name}: the registry began an upload without saying where it goes")
        if self._base.startswith("https:") and not url.startswith("https:"):
            raise TriokerError(
                f"{self.name}: the registry wants an upload over plain http, at {urlsplit(url).netloc[:100]!r}"
            )
        if leads_inside(self._base, url):
            raise TriokerError(
                f"{self.name}: the registry wants an upload to this machine, at {urlsplit(url).netloc[:100]!r}"
            )
        return url

    def _is_ours(self, url: str) -> bool:
        return _origin(url) == _origin(self._base)

    def _shown(self, reference: str) -> str:
        return f"{self.name}{'@' if ':' in reference else ':'}{reference}"


def _challenges(answer: Answer) -> Sequence[str]:
    return _all(answer, b"www-authenticate")


def _all(answer: Answer, name: bytes) -> Sequence[str]:
    return [value.decode("latin-1") for each, value in answer.headers if each == name]


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _range(answer: Answer) -> tuple[int, int | None]:
    """First byte and total of a Content-Range; (-1, None) if it cannot be read."""
    match = _CONTENT_RANGE.fullmatch(answer.header(b"content-range"))
    return (int(match[1]), int(match[3]) if match[3] else None) if match else (-1, None)
