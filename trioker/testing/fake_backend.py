"""A Backend in memory, for tests of dialects and of the HTTP server with a dialect on it.

It keeps the promises of ``trioker.api.backend`` as far as a dialect can see them, starts no process and touches no file. Tests fill it by
its attributes and read ``calls``; ``failures`` makes the named method raise.
"""

import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from trioker.api.backend import Attachment, Backend, Info, Report, Send, Version
from trioker.model.attach import AttachRequest, LogText
from trioker.model.build import BuildRequest
from trioker.model.commit import Commit
from trioker.model.container import ChangeKind, Config, Container, Created, Phase, State
from trioker.model.errors import Conflict, Impossible, InvalidParameter, NotFound, TriokerError
from trioker.model.ids import short_id
from trioker.model.image import Image, Removal, Tag
from trioker.model.progress import Credentials, Progress, Tell
from trioker.model.search import SearchResult
from trioker.model.usage import DiskUsage


def fake_id(name: str) -> str:
    """An id of the true form that is the same in every run."""
    return hashlib.sha256(name.encode()).hexdigest()


@attrs.define
class Recorder:
    """What was called, in order, and what shall fail."""

    calls: list[tuple[object, ...]] = attrs.Factory(list)
    failures: dict[str, TriokerError] = attrs.Factory(dict)

    def record(self, method: str, *arguments: object) -> None:
        """Note a call, and raise what was set for it."""
        self.calls.append((method, *arguments))
        if method in self.failures:
            raise self.failures[method]


@attrs.define
class FakeSystem:
    """Fixed answers."""

    version_answer: Version = Version("0.1.0", "abc1234", "python3.11.2", "/usr/bin/trioker.pyz")
    info_answer: Info = Info(
        containers=11, images=16, debug=False, descriptors=11, tasks=21, memory_limit=True, swap_limit=False
    )

    usage: DiskUsage = DiskUsage((), (), 0, 0)

    async def disk_usage(self) -> DiskUsage:
        """The figures set."""
        return self.usage

    def version(self) -> Version:
        """The version set."""
        return self.version_answer

    def info(self) -> Info:
        """The figures set."""
        return self.info_answer


@attrs.define
class FakeAttachment:
    """Sends fixed output, then returns what comes until the client's end of file."""

    output: bytes

    async def run(self, stream: trio.abc.HalfCloseableStream) -> None:
        """Send, then echo."""
        await stream.send_all(self.output)
        while piece := await stream.receive_some():
            await stream.send_all(piece)


@attrs.define
class FakeContainers:
    """Containers as records; ``start`` and the like only change their state."""

    recorder: Recorder
    images: "FakeImages"
    records: list[Container] = attrs.Factory(list)
    """Newest first."""
    tar: bytes = b"tar"
    output: bytes = b"output\n"
    """What an attachment and the log give."""
    differences: Sequence[tuple[str, ChangeKind]] = ()
    warnings: tuple[str, ...] = ()
    open_logs: int = 0

    def all(self) -> Sequence[Container]:
        """Every record."""
        return list(self.records)

    def get(self, reference: str) -> Container:
        """By unique prefix."""
        found = [container for container in self.records if reference and container.id.startswith(reference)]
        if len(found) != 1:
            raise NotFound(f"No such container: {reference}")
        return found[0]

    def change(self, reference: str, **state: Any) -> None:
        """Set parts of a container's state."""
        container = self.get(reference)
        changed = attrs.evolve(container, state=attrs.evolve(container.state, **state))
        self.records[self.records.index(container)] = changed

    async def create(self, config: Config) -> Created:
        """A record for the image's name."""
        self.recorder.record("create", config)
        image = self.images.get(config.image)
        if not config.command:
            raise TriokerError("No command specified")
        container = Container(fake_id(f"container {len(self.records)}"), 1_367_854_155 * 10**9, config, image.id)
        self.records.insert(0, container)
        return Created(container.id, self.warnings)

    async def start(self, reference: str) -> None:
        """Running from now on."""
        container = self.get(reference)
        self.recorder.record("start", reference)
        if container.state.running:
            raise TriokerError(f"The container {container.id} is already running.")
        self.change(reference, phase=Phase.RUNNING, pid=4711, started_ns=1_367_854_156 * 10**9)

    async def stop(self, reference: str, grace: float) -> None:
        """Ended by SIGTERM."""
        self._end(reference, 143, "stop", grace)

    async def restart(self, reference: str, grace: float) -> None:
        """Running whatever it was."""
        self._end(reference, 143, "restart", grace)
        self.change(reference, phase=Phase.RUNNING, pid=4712)

    async def kill(self, reference: str) -> None:
        """Ended by SIGKILL."""
        self._end(reference, 137, "kill")

    def _end(self, reference: str, code: int, method: str, *arguments: object) -> None:
        container = self.get(reference)
        self.recorder.record(method, reference, *arguments)
        if container.state.running:
            self.change(reference, phase=Phase.EXITED, pid=0, exit_code=code)

    async def wait(self, reference: str) -> int:
        """The code there is; nothing here ends by itself."""
        self.recorder.record("wait", reference)
        return self.get(reference).state.exit_code

    async def resize(self, reference: str, rows: int, columns: int) -> None:
        """Recorded only."""
        self.get(reference)
        self.recorder.record("resize", reference, rows, columns)

    async def remove(self, reference: str, *, volumes: bool) -> None:
        """Forget the record."""
        container = self.get(reference)
        self.recorder.record("remove", reference, volumes)
        if container.state.running:
            raise Impossible("Impossible to remove a running container, please stop it first")
        self.records.remove(container)

    async def changes(self, reference: str) -> Sequence[tuple[str, ChangeKind]]:
        """The differences set."""
        self.get(reference)
        return self.differences

    async def commit(self, reference: str, commit: Commit) -> Image:
        """An image over the container's."""
        container = self.get(reference)
        self.recorder.record("commit", reference, commit)
        name = f"{commit.repository}:{commit.tag or 'latest'}" if commit.repository else "a commit"
        return self.images.add(name, container.image_id, comment=commit.comment, author=commit.author)

    async def export(self, reference: str, send: Send) -> None:
        """The bytes set; a failure set for "export" comes behind them."""
        self.get(reference)
        if self.tar:
            await send(self.tar)
        self.recorder.record("export", reference)

    async def sizes(self, reference: str) -> tuple[int, int]:
        """The same for all."""
        self.recorder.record("sizes", reference)
        return 12288, 180116135

    @asynccontextmanager
    async def attach(self, reference: str, wanted: AttachRequest) -> AsyncIterator[Attachment]:
        """An attachment that echoes."""
        self.get(reference)
        self.recorder.record("attach", reference, wanted)
        yield FakeAttachment(self.output)

    @asynccontextmanager
    async def logs(self, reference: str, wanted: AttachRequest) -> AsyncIterator[LogText]:
        """The output set; ``open_logs`` counts those not left."""
        self.get(reference)
        self.recorder.record("logs", reference, wanted)
        self.open_logs += 1

        async def write(send: Send) -> None:
            await send(self.output)

        try:
            yield LogText(len(self.output), write)
        finally:
            self.open_logs -= 1


@attrs.define
class FakeImages:
    """Images and tags as records."""

    recorder: Recorder
    records: list[Image] = attrs.Factory(list)
    names: list[Tag] = attrs.Factory(list)
    transfer: Sequence[tuple[int, int]] = ()
    """What ``import_url`` reports."""

    def add(self, name: str, parent: str = "", **fields: Any) -> Image:
        """Put an image there; ``name`` with a colon becomes its tag."""
        image = attrs.evolve(Image(fake_id(name), 1_364_102_658 * 10**9, parent, size=1000), **fields)
        self.records.append(image)
        repository, colon, tag = name.partition(":")
        if colon:
            self.names.append(Tag(repository, tag, image.id))
        return image

    def all(self) -> Sequence[Image]:
        """Every record."""
        return list(self.records)

    def tags(self) -> Sequence[Tag]:
        """Every name, sorted."""
        return sorted(self.names, key=lambda tag: (tag.repository, tag.tag))

    def get(self, name: str) -> Image:
        """By unique prefix, then by name."""
        found = [image for image in self.records if name and image.id.startswith(name)]
        if len(found) == 1:
            return found[0]
        wanted = name if ":" in name else f"{name}:latest"
        for tag in self.names:
            if tag.reference == wanted:
                return self.get(tag.image_id)
        raise NotFound(f"No such image: {name}")

    def lineage(self, image_id: str) -> Sequence[Image]:
        """Up to the first that has no parent."""
        by_id = {image.id: image for image in self.records}
        line = [by_id[image_id]]
        while line[-1].parent:
            line.append(by_id[line[-1].parent])
        return line

    def name_of(self, image_id: str) -> str:
        """The first name, else the short id."""
        return min((tag.reference for tag in self.names if tag.image_id == image_id), default=short_id(image_id))

    async def tag(self, name: str, repository: str, tag: str, *, force: bool) -> None:
        """Add or move a name."""
        image = self.get(name)
        self.recorder.record("tag", name, repository, tag, force)
        self._check(repository)
        taken = [other for other in self.names if (other.repository, other.tag) == (repository, tag)]
        if any(other.image_id != image.id for other in taken) and not force:
            raise Conflict(f"Conflict, {repository}:{tag} is another image's name")
        self.names = [other for other in self.names if other not in taken]
        self.names.append(Tag(repository, tag, image.id))

    def _check(self, repository: str) -> None:
        if not repository or " " in repository:
            raise InvalidParameter(f"Illegal repository name: {repository}")

    async def remove(self, name: str) -> Sequence[Removal]:
        """Take one name and the image away."""
        image = self.get(name)
        self.recorder.record("remove_image", name)
        self.records.remove(image)
        named = [tag for tag in self.names if tag.image_id == image.id]
        self.names = [tag for tag in self.names if tag not in named]
        return [*(Removal(untagged=image.id) for _ in named[:1]), Removal(deleted=image.id)]

    async def import_stream(self, chunks: AsyncIterable[bytes], repository: str, tag: str) -> Image:
        """An image whose comment is the bytes' count."""
        self.recorder.record("import_stream", repository, tag)
        size = sum([len(piece) async for piece in chunks])
        if not size:
            raise InvalidParameter("the tar is empty")
        return self._imported(repository, tag, size)

    async def import_url(self, url: str, repository: str, tag: str, report: Report) -> Image:
        """An image, after the reports set; a failure set for "import_url" comes behind them."""
        for current, total in self.transfer:
            await report(current, total)
        self.recorder.record("import_url", url, repository, tag)
        return self._imported(repository, tag, 1)

    def wanted_name(self, repository: str, tag: str) -> Tag | None:
        """The name, if it is one."""
        if not repository:
            return None
        self._check(repository)
        return Tag(repository, tag or "latest", "")

    def made_by_command(self, image_id: str, config: Config) -> Image | None:
        """The first child whose container was configured just so."""
        children = (image for image in self.records if image.parent == image_id)
        return next((image for image in children if image.container_config == config), None)

    def _imported(self, repository: str, tag: str, size: int) -> Image:
        return self.add(f"{repository}:{tag}" if repository else f"import {len(self.records)}", size=size)


@attrs.define
class FakeRegistries:
    """Registries that tell what was set and hold what was set; a failure set for a method comes behind what it tells."""

    recorder: Recorder
    told: Sequence[Progress] = ()
    found: Sequence[SearchResult] = ()

    async def pull(self, name: str, tag: str, registry: str, credentials: Credentials, tell: Tell) -> None:
        """Tells only."""
        await self._tell(tell)
        self.recorder.record("pull", name, tag, registry, credentials)

    async def push(self, name: str, tag: str, registry: str, credentials: Credentials, tell: Tell) -> None:
        """Tells only."""
        await self._tell(tell)
        self.recorder.record("push", name, tag, registry, credentials)

    async def _tell(self, tell: Tell) -> None:
        for each in self.told:
            await tell(each)

    async def search(self, term: str, credentials: Credentials) -> Sequence[SearchResult]:
        """What was set."""
        self.recorder.record("search", term, credentials)
        return self.found

    async def login(self, credentials: Credentials, server: str) -> str:
        """Always right, unless a failure is set."""
        self.recorder.record("login", credentials, server)
        return "Login Succeeded\n"


@attrs.define
class FakeInserter:
    """Makes images; a failure set for "insert" comes behind what it tells."""

    recorder: Recorder
    images: FakeImages
    told: Sequence[Progress] = ()

    async def insert(self, name: str, url: str, path: str, tell: Tell) -> Image:
        """An image over the named one."""
        parent = self.images.get(name)
        for each in self.told:
            await tell(each)
        self.recorder.record("insert", name, url, path)
        return self.images.add(f"insert {len(self.images.records)}", parent.id)


@attrs.define
class FakeBuilder:
    """Reads what it is sent, says what was set, and makes an image; a failure set for "build" comes behind what it says."""

    recorder: Recorder
    images: FakeImages
    said: Sequence[bytes] = ()
    told: Sequence[Progress] = ()
    appetite: int = 2**62
    """Bytes of the context that are read."""
    context: bytes = b""
    dockerfile: bytes = b""
    """What the last build was sent."""

    async def build(self, request: BuildRequest, say: Send, tell: Tell) -> Image:
        """An image with the name asked for."""
        await self._read(request)
        for piece in self.said:
            await say(piece)
        for each in self.told:
            await tell(each)
        self.recorder.record("build", attrs.evolve(request, context=None, dockerfile_text=None))
        name = f"{request.repository}:{request.tag or 'latest'}" if request.repository else "a build"
        return self.images.add(name)

    async def _read(self, request: BuildRequest) -> None:
        received = b""
        if request.context is not None:
            async for piece in request.context:
                received += piece
                if len(received) >= self.appetite:
                    break
        self.context = received
        if request.dockerfile_text is not None:
            self.dockerfile = await request.dockerfile_text()


@attrs.define
class FakeBackend:
    """The fakes side by side; ``backend`` is what a dialect is given."""

    recorder: Recorder = attrs.Factory(Recorder)
    system: FakeSystem = attrs.Factory(FakeSystem)
    images: FakeImages = attrs.field(init=False)
    containers: FakeContainers = attrs.field(init=False)
    registries: FakeRegistries = attrs.field(init=False)
    inserter: FakeInserter = attrs.field(init=False)
    builder: FakeBuilder = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.images = FakeImages(self.recorder)
        self.registries = FakeRegistries(self.recorder)
        self.inserter = FakeInserter(self.recorder, self.images)
        self.builder = FakeBuilder(self.recorder, self.images)
        self.containers = FakeContainers(self.recorder, self.images)

    @property
    def backend(self) -> Backend:
        """As the Protocols want it."""
        return Backend(self.system, self.containers, self.images, self.registries, self.inserter, self.builder)

    def add_container(self, name: str, state: State | None = None, **config: Any) -> Container:
        """Put a container of the first image there, newest of all."""
        image = self.images.records[0]
        settings = attrs.evolve(Config(command=("date",), image=self.images.name_of(image.id)), **config)
        container = Container(fake_id(name), 1_367_854_155 * 10**9, settings, image.id, state or State())
        self.containers.records.insert(0, container)
        return container
