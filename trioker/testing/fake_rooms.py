"""Hand-written fakes of the rooms the engine needs (``engine.ports``): containers whose life a test directs."""

import contextlib
import os
import signal as signals
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from pathlib import Path

import attrs
import trio
import trio.testing

from trioker.linux.mounts import Mount
from trioker.model.container import ChangeKind, Config, Container
from trioker.model.errors import Conflict, Impossible, InvalidParameter, LaunchFailed, NotFound, TriokerError
from trioker.model.image import Image, Tag
from trioker.model.network import Endpoint, PublishedPort
from trioker.model.run import Attached, Exit, Output, Run


class FakeProcess:
    """A container's process: a test makes it print and end; SIGKILL ends it, SIGTERM if ``obeys``."""

    def __init__(self, *, attached: bool = False, obeys: bool = True, tty: bool = False) -> None:
        self.pid = 4711
        self.started_ns = 1_700_000_000_000_000_000
        self.obeys = obeys
        self.signals: list[int] = []
        self.size: tuple[int, int] | None = None
        self.stdin = bytearray()
        self.stdin_open = True
        self.told = attached
        self.closed = False
        self.position = 0
        self.output = -1
        self._tty = tty
        self._send, self._receive = trio.open_memory_channel[Attached | Output | Exit](1000)

    def prints(self, data: bytes, stream: int = 1) -> None:
        """One piece of output: told when someone subscribed, or on its way through the pipe of a build's step."""
        if self.output >= 0:
            os.write(self.output, data)
        self.position += len(data)
        if self.told:
            self._send.send_nowait(Output(stream, data, self.position))

    def ends(self, code: int = 0, *, oom_killed: bool = False) -> None:
        """The process is over."""
        if self.output >= 0:
            os.close(self.output)
            self.output = -1
        self._send.send_nowait(Exit(code, 1_700_000_001_000_000_000, oom_killed))

    async def receive(self) -> Attached | Output | Exit:
        """The next thing that happens."""
        return await self._receive.receive()

    async def subscribe(self) -> None:
        """Tell output from now on."""
        self.told = True
        self._send.send_nowait(Attached(self.position))

    async def unsubscribe(self) -> None:
        """Tell no more."""
        self.told = False

    def signal(self, number: int) -> None:
        """A signal arrives."""
        self.signals.append(number)
        if number == signals.SIGKILL or self.obeys:
            self.ends(128 + number)

    def open_stdin(self) -> trio.abc.SendStream | None:
        """A stream whose bytes end up in ``stdin``."""
        return FakeStdin(self.stdin) if self.stdin_open else None

    async def close_stdin(self) -> None:
        """End of file."""
        self.stdin_open = False

    def resize(self, rows: int, columns: int) -> None:
        """Remember the size."""
        if not self._tty:
            raise Impossible("Impossible to resize: the container has no terminal")
        self.size = (rows, columns)

    async def aclose(self) -> None:
        """The daemon lets go."""
        self.closed = True


class FakeStdin(trio.abc.SendStream):
    """Collects what is sent."""

    def __init__(self, target: bytearray) -> None:
        self._target = target

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        await trio.lowlevel.checkpoint()
        self._target += data

    async def wait_send_all_might_not_block(self) -> None:
        """There is always room."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Nothing to close."""
        await trio.lowlevel.checkpoint()


class FakeRuntime:
    """Every launch gives the next of ``processes`` (a fresh obedient one by default) or raises it."""

    def __init__(self) -> None:
        self.processes: list[FakeProcess | LaunchFailed] = []
        self.runs: list[Run] = []
        self.survivors: dict[str, FakeProcess | Exit] = {}
        self.forgotten: list[str] = []
        self.kept: Collection[str] = ()
        self.tree = b"tar"
        self.packed: list[dict[str, object]] = []
        self.unpacked: dict[str, bytes] = {}
        self.frozen_now: set[str] = set()
        self.froze: list[str] = []

    async def launch(self, run: Run, mounts: Sequence[Mount], output: int | None = None) -> FakeProcess:
        """Start."""
        await trio.lowlevel.checkpoint()
        self.runs.append(run)
        process = self.processes.pop(0) if self.processes else FakeProcess(tty=run.config.tty)
        if isinstance(process, LaunchFailed):
            raise process
        process.told = run.attached
        if output is not None:
            process.output = os.dup(output)
        return process

    async def reconnect(self, container_id: str) -> FakeProcess | Exit | None:
        """What an earlier daemon left."""
        await trio.lowlevel.checkpoint()
        return self.survivors.get(container_id)

    async def sweep(self, keep: Collection[str]) -> None:
        """Remember what was kept."""
        self.kept = keep

    async def forget(self, container_id: str) -> None:
        """Clear away."""
        self.forgotten.append(container_id)

    @contextlib.asynccontextmanager
    async def frozen(self, container_id: str) -> AsyncIterator[None]:
        """Remember it."""
        self.frozen_now.add(container_id)
        self.froze.append(container_id)
        try:
            yield
        finally:
            await self.thaw(container_id)

    async def thaw(self, container_id: str) -> None:
        """Go on."""
        self.frozen_now.discard(container_id)

    async def pack(
        self,
        mounts: Sequence[Mount],
        send: Callable[[bytes], Awaitable[None]],
        running: object = None,
        **selection: object,
    ) -> None:
        """The same tree always; what was asked for is remembered."""
        self.packed.append({"frozen": set(self.frozen_now), "running": running, **selection})
        await send(self.tree)

    async def unpack(self, path: Path, whiteouts: str, chunks: AsyncIterable[bytes]) -> object:
        """Keep the bytes."""
        self.unpacked[str(path)] = b"".join([chunk async for chunk in chunks])
        return None


class FakeNetwork:
    """Places one after another; ``broken`` is what publishing raises."""

    def __init__(self) -> None:
        self.places: dict[str, Endpoint] = {}
        self.published: list[str] = []
        self.gone: list[Endpoint] = []
        self.broken: TriokerError | None = None
        self._last = 1

    def reserve(self, container_id: str, port_specs: Sequence[str] = ()) -> Endpoint:
        """The next address; port 4000 and up for wishes without a public port. Port 1 is always in use."""
        if any(each.startswith("1:") for each in port_specs):
            raise Conflict("Port already in use: 1")
        self._last += 1
        ports = tuple(PublishedPort("tcp", "", 4000 + number, int(each)) for number, each in enumerate(port_specs))
        place = Endpoint(
            container=container_id,
            bridge="bridge",
            link=f"link{self._last}",
            mac="",
            address=f"10.0.0.{self._last}",
            prefix=24,
            gateway="10.0.0.1",
            ports=ports,
        )
        self.places[container_id] = place
        return place

    async def publish(self, reserved: Endpoint) -> None:
        """Remember it."""
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise self.broken
        self.published.append(reserved.container)

    async def disconnect(self, gone: Endpoint) -> None:
        """It is free."""
        self.places.pop(gone.container, None)
        self.gone.append(gone)
        await trio.lowlevel.checkpoint()

    def resolv_conf(self, chosen: Sequence[str]) -> str:
        """The gateway where nothing is chosen."""
        return "".join(f"nameserver {each}\n" for each in chosen or ("10.0.0.1",))

    def hosts(self, name: str, place: Endpoint | None) -> str:
        """One line."""
        return f"{place.address if place else '127.0.0.1'} {name}\n"


class FakeLayers:
    """Keys in a dictionary."""

    def __init__(self) -> None:
        self.parents: dict[str, str] = {}

    async def create(self, key: str, parent: str) -> None:
        """A new layer."""
        self.parents[key] = parent

    async def restore(self, key: str, parent: str) -> bool:
        """Make it if it is not there."""
        lost = key not in self.parents
        self.parents[key] = parent
        return lost

    async def mounts(self, key: str, *, readonly: bool) -> Sequence[Mount]:
        """One recipe."""
        return (Mount(f"/layers/{key}", "none"),)

    async def changes(self, key: str) -> Sequence[tuple[str, ChangeKind]]:
        """One file was added."""
        return (("/new", ChangeKind.ADDED),)

    async def usage(self, key: str) -> int:
        """Ten bytes."""
        return 10

    async def remove(self, key: str) -> None:
        """Forget."""
        self.parents.pop(key, None)


class FakeImages:
    """One image, known as ``busybox``."""

    def __init__(self, config: Config | None = None) -> None:
        self.image = Image("f" * 64, 1, config=config, size=100, layer="a" * 64)
        self.created: list[tuple[Image, Tag | None, bytes]] = []

    def get(self, name: str) -> Image:
        """By its one name."""
        if name != "busybox":
            raise NotFound(f"No such image: {name}")
        return self.image

    def wanted_name(self, repository: str, tag: str) -> Tag | None:
        """Every name is good but one that begins with a dot."""
        if repository.startswith("."):
            raise InvalidParameter(f"bad name {repository}")
        return Tag(repository, tag or "latest", "") if repository else None

    async def create(self, draft: Image, wanted: Tag | None, chunks: AsyncIterable[bytes]) -> Image:
        """Remember what was asked for, with the bytes of the layer."""
        layer = b"".join([chunk async for chunk in chunks])
        self.created.append((draft, wanted, layer))
        return attrs.evolve(draft, id="c" * 64)

    def lineage(self, image_id: str) -> Sequence[Image]:
        """It has no parents."""
        return (self.image,)


@attrs.define
class FakeRecords:
    """Records in a dictionary; ``durable`` counts the durable writes."""

    saved: dict[str, Container] = attrs.field(factory=dict)
    durable: int = 0

    async def save_container(self, container: Container, *, durable: bool = False) -> None:
        """Write."""
        await trio.lowlevel.checkpoint()
        self.durable += durable
        self.saved[container.id] = container

    async def delete_container(self, container_id: str) -> None:
        """Forget."""
        await trio.lowlevel.checkpoint()
        self.saved.pop(container_id, None)

    def containers(self) -> Iterator[Container]:
        """All."""
        return iter(list(self.saved.values()))
