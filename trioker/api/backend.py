"""What a dialect needs of the engine behind it. ``daemon.py`` plugs in the real one, tests a hand-written fake.

References are what a user typed: a container's id prefix, an image's id prefix or name. Every method that takes one raises NotFound with
a text fit for the user ("No such container: x"). All failures are kinds of ``trioker.model.errors``.
"""

from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import attrs
import trio

from trioker.model.attach import AttachRequest, LogText
from trioker.model.build import BuildRequest
from trioker.model.commit import Commit
from trioker.model.container import ChangeKind, Config, Container, Created
from trioker.model.image import Image, Removal, Tag
from trioker.model.progress import Credentials, Tell
from trioker.model.search import SearchResult
from trioker.model.usage import DiskUsage

Send = Callable[[bytes], Awaitable[None]]


@attrs.frozen
class Info:
    """System-wide figures (page, "Display system-wide information")."""

    containers: int
    images: int
    debug: bool
    descriptors: int
    tasks: int
    memory_limit: bool
    swap_limit: bool


@attrs.frozen
class Version:
    """Who is answering."""

    version: str
    """Three dot-separated parts."""
    commit: str
    runtime: str
    """The language's version, for example "python3.11.2"."""
    executable: str
    """Path of the file that is running."""


class System(Protocol):
    """The daemon itself."""

    async def disk_usage(self) -> DiskUsage:
        """What the store holds, and who uses it."""

    def version(self) -> Version:
        """Names and versions."""

    def info(self) -> Info:
        """Counts and abilities, without blocking."""


class Attachment(Protocol):
    """A client's place at a container's streams. It is wired: nothing the container prints from now on is missed."""

    async def run(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Carry bytes both ways until the session's end (behaviour.md section 4); the caller closes ``stream``."""


class Containers(Protocol):
    """The containers. Listing and getting never wait for a container that is busy."""

    def all(self) -> Sequence[Container]:
        """Every container, newest first."""

    def get(self, reference: str) -> Container:
        """One container by unique id prefix."""

    async def create(self, config: Config) -> Created:
        """Make a container. ``config`` is the user's; the image's is merged under it here."""

    async def start(self, reference: str) -> None:
        """Start; returns when the command runs. Raises TriokerError when already running, LaunchFailed."""

    async def stop(self, reference: str, grace: float) -> None:
        """SIGTERM, ``grace`` seconds, SIGKILL; returns when it has ended. Not running is fine."""

    async def restart(self, reference: str, grace: float) -> None:
        """Stop if running, then start."""

    async def kill(self, reference: str) -> None:
        """SIGKILL and wait for the end. Not running is fine."""

    async def wait(self, reference: str) -> int:
        """The exit code, once the container is not running (at once if it is not)."""

    async def resize(self, reference: str, rows: int, columns: int) -> None:
        """Set the terminal's size."""

    async def remove(self, reference: str, *, volumes: bool) -> None:
        """Delete; ``volumes`` too where no other container has them. Raises Impossible when running."""

    async def changes(self, reference: str) -> Sequence[tuple[str, ChangeKind]]:
        """What differs from the image, in lexical order."""

    async def commit(self, reference: str, commit: Commit) -> Image:
        """A new image from what the container changed; it is frozen only while that is read."""

    async def export(self, reference: str, send: Send) -> None:
        """Send the container's tree as an uncompressed tar."""

    async def sizes(self, reference: str) -> tuple[int, int]:
        """Bytes in the writable layer, and bytes of the whole tree as the layers' sum."""

    def attach(self, reference: str, wanted: AttachRequest) -> AbstractAsyncContextManager[Attachment]:
        """Join the streams; on entry the attachment is wired."""

    def logs(self, reference: str, wanted: AttachRequest) -> AbstractAsyncContextManager[LogText]:
        """The log so far: whole stdout, then whole stderr, as asked."""


Report = Callable[[int, int], Awaitable[None]]
"""Told how far a transfer is: (bytes so far, bytes in all or 0 when unknown). The words shown with it are the dialect's."""


class Images(Protocol):
    """The images."""

    def all(self) -> Sequence[Image]:
        """Every image, tagged or not."""

    def tags(self) -> Sequence[Tag]:
        """Every tag, sorted by repository and tag."""

    def get(self, name: str) -> Image:
        """One image by unique id prefix or ``repo[:tag]``."""

    def lineage(self, image_id: str) -> Sequence[Image]:
        """The image and its ancestors, newest first. Takes a full id."""

    def name_of(self, image_id: str) -> str:
        """What listings show: the alphabetically first ``repo:tag``, else the short id. Takes a full id, known or not."""

    def wanted_name(self, repository: str, tag: str) -> Tag | None:
        """The name for an image to be made; None without a repository. Raises InvalidParameter."""

    async def tag(self, name: str, repository: str, tag: str, *, force: bool) -> None:
        """Name an image. Raises Conflict when the name is another image's and ``force`` is not set, InvalidParameter for a bad name."""

    async def remove(self, name: str) -> Sequence[Removal]:
        """Untag, then delete what nothing needs any more (behaviour.md section 5). Raises Conflict."""

    async def import_stream(self, chunks: AsyncIterable[bytes], repository: str, tag: str) -> Image:
        """A new base image from a tar, plain or compressed by gzip, bzip2 or xz. An empty ``repository`` leaves it untagged."""

    async def import_url(self, url: str, repository: str, tag: str, report: Report) -> Image:
        """The same from an http or https URL, telling how far it is."""

    def made_by_command(self, image_id: str, config: Config) -> Image | None:
        """A child of the image whose container had this configuration (2013's build cache, ``getCache``); takes a full id."""


class Registries(Protocol):
    """What other hosts have of images, and what they are given."""

    async def pull(self, name: str, tag: str, registry: str, credentials: Credentials, tell: Tell) -> None:
        """Fetch ``name`` (host, digest and tag included or not; an empty ``tag`` is all tags); from ``registry``, a v1 URL, an image by its id."""

    async def push(self, name: str, tag: str, registry: str, credentials: Credentials, tell: Tell) -> None:
        """Send a repository, or one of its tags; to ``registry``, a v1 URL, an image by its id."""

    async def search(self, term: str, credentials: Credentials) -> Sequence[SearchResult]:
        """Repositories of the default registry."""

    async def login(self, credentials: Credentials, server: str) -> str:
        """Check credentials with a registry ("" for the default one); returns its words. Raises Unauthorized, Forbidden."""


class Inserter(Protocol):
    """Puts files into images."""

    async def insert(self, name: str, url: str, path: str, tell: Tell) -> Image:
        """A new image over ``name`` with the file from ``url`` at ``path``."""


class Builder(Protocol):
    """Makes images from Dockerfiles."""

    async def build(self, request: BuildRequest, say: Send, tell: Tell) -> Image:
        """Run a Dockerfile; ``say`` gets the build's text, ``tell`` the progress of what it pulls. Raises TriokerError naming the step."""


@attrs.frozen
class Backend:
    """Everything a dialect may call."""

    system: System
    containers: Containers
    images: Images
    registries: Registries
    inserter: Inserter
    builder: Builder
