"""The containers: every operation a dialect may ask for (``api.backend.Containers``)."""

import contextlib
import functools
import logging
import signal
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import attrs
import trio

from trioker.engine.attach import LiveAttachment, LoggedAttachment, Source, attach_live, wanted_streams
from trioker.engine.cell import ActiveRun, Cell
from trioker.engine.commit import draft_image, split_changes
from trioker.engine.configuration import Abilities, complete, merge
from trioker.engine.files import Files, Names
from trioker.engine.flow import carry
from trioker.engine.lifecycle import Step
from trioker.engine.names import IdIndex
from trioker.engine.output import STDERR, open_log, send_log
from trioker.engine.ports import Images, Layers, Network, Process, Records, Runtime, Send
from trioker.launcher.logfile import log_end
from trioker.model.attach import AttachRequest, LogText
from trioker.model.commit import Commit
from trioker.model.container import ChangeKind, Config, Container, Created, Phase, VolumeMount
from trioker.model.errors import Impossible, LaunchFailed, NotFound, TriokerError
from trioker.model.ids import new_id, short_id
from trioker.model.image import Image
from trioker.model.run import Attached, Exit, LogPolicy, Output, Run
from trioker.model.signals import signal_number

log = logging.getLogger("trioker.engine")

LOST = -127  # exit code of a container that was found dead with no record of its end (behaviour.md section 4, "Status")
KILLED_WITHIN = 30.0  # seconds; a killed process that stays longer hangs in the kernel, and the caller is told


@attrs.frozen
class Rooms:
    """The other rooms, as the engine uses them."""

    runtime: Runtime
    layers: Layers
    images: Images
    records: Records
    network: Network


class Containers:
    """All containers of one store. ``nursery`` is the supervisor's: it holds one task per live container."""

    def __init__(
        self, rooms: Rooms, files: Files, nursery: trio.Nursery, *, log_policy: LogPolicy, abilities: Abilities
    ) -> None:
        self._runtime, self._layers = rooms.runtime, rooms.layers
        self._images, self._records, self._network = rooms.images, rooms.records, rooms.network
        self._files = files
        self._nursery = nursery
        self._log_policy = log_policy
        self._abilities = abilities
        self._cells: dict[str, Cell] = {}
        self._index = IdIndex()

    # -- looking ------------------------------------------------------------------------------------------------------

    def all(self) -> Sequence[Container]:
        """Every container, newest first."""
        return sorted((cell.record for cell in self._cells.values()), key=lambda each: each.created_ns, reverse=True)

    def get(self, reference: str) -> Container:
        """One container by unique id prefix. Raises NotFound."""
        return self._cell(reference).record

    def layer_keys(self) -> frozenset[str]:
        """The layers that containers have."""
        return frozenset(self._cells)

    def _cell(self, reference: str) -> Cell:
        return self._cells[self._index.find(reference)]

    # -- coming up ----------------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Take up the store of an earlier daemon: find what runs, record what ended, finish what was begun."""
        for record in self._records.containers():
            self._add(Cell(record))
        for cell in list(self._cells.values()):
            if cell.state.phase is Phase.REMOVING:
                await self._remove(cell)
                continue
            if cell.state.phase in {Phase.STARTING, Phase.RUNNING}:
                await self._find_again(cell)
            if cell.run is None:
                await self._restore_files(cell)
        await self._runtime.sweep({each.record.id for each in self._cells.values() if each.run is not None})

    def _add(self, cell: Cell) -> None:
        self._cells[cell.record.id] = cell
        self._index.add(cell.record.id)

    async def _find_again(self, cell: Cell) -> None:
        match await self._runtime.reconnect(cell.record.id):
            case None:
                error = "the container was running when the host or the daemon went down, and left no record of its end"
                await self._settle(cell, Exit(LOST, time.time_ns(), error=error))
            case Exit() as ended:
                await self._settle(cell, ended)
            case process:
                self._took_off(cell, process)

    async def _restore_files(self, cell: Cell) -> None:
        """A container is on the disk before its files are. Where the power went in between it has its image's again, as unsynced files are lost."""
        try:
            image = self._images.lineage(cell.record.image_id)[0]
            if not await self._layers.restore(cell.record.id, image.layer):
                return
        except (TriokerError, OSError) as failure:
            log.warning("the files of container %s are gone: %s", short_id(cell.record.id), failure)
            return
        note = "its files were gone from the disk when the daemon came up, as after a power cut: it has those of its image again"
        log.warning("container %s: %s", short_id(cell.record.id), note)
        if cell.state.started_ns:
            error = "; ".join(filter(None, (cell.state.error, note)))
            cell.record = attrs.evolve(cell.record, state=attrs.evolve(cell.state, error=error))
            await self._records.save_container(cell.record)

    # -- making and removing ------------------------------------------------------------------------------------------

    async def create(self, config: Config) -> Created:
        """Make a container. Raises NotFound for an unknown image."""
        image = self._images.get(config.image)
        container_id = new_id()
        config, warnings = complete(merge(config, image.config), container_id, self._abilities)
        record = Container(
            id=container_id,
            created_ns=time.time_ns(),
            config=config,
            image_id=image.id,
            volumes=tuple(VolumeMount(path, new_id()) for path in config.volumes),
            resolv_conf=self._files.resolv_conf(container_id),
        )
        with trio.CancelScope(shield=True):
            await self._layers.create(container_id, image.layer)
            try:
                await self._records.save_container(record, durable=True)
            except TriokerError:
                await self._layers.remove(container_id)
                raise
            self._add(Cell(record))
        return Created(short_id(container_id), warnings)

    async def remove(self, reference: str, *, volumes: bool) -> None:
        """Delete. Raises Impossible when running."""
        cell = self._cell(reference)
        async with cell.lock:
            self._check_present(cell, reference)
            if cell.run is not None:
                if not cell.run.ended.is_set():
                    raise Impossible("Impossible to remove a running container, please stop it first")
                await cell.run.settled.wait()
            with trio.CancelScope(shield=True):
                cell.step(Step.REMOVE)
                cell.record = attrs.evolve(cell.record, volumes=self._own_volumes(cell) if volumes else ())
                await self._records.save_container(cell.record)
                await self._remove(cell)

    def _check_present(self, cell: Cell, reference: str) -> None:
        """After a wait for the lock: the container may have been removed meanwhile."""
        if self._cells.get(cell.record.id) is not cell:
            raise NotFound(f"No such container: {reference}")

    def _own_volumes(self, cell: Cell) -> tuple[VolumeMount, ...]:
        others = (each for each in self._cells.values() if each is not cell)
        shared = {mount.volume for other in others for mount in other.record.volumes}
        return tuple(mount for mount in cell.record.volumes if mount.volume not in shared)

    async def _remove(self, cell: Cell) -> None:
        """Finish a removal that is on record; the volumes it still names go too."""
        container_id = cell.record.id
        cell.hub.end()
        await self._layers.remove(container_id)
        await trio.to_thread.run_sync(self._files.remove, cell.record)
        await self._records.delete_container(container_id)
        del self._cells[container_id]
        self._index.discard(container_id)

    # -- running ------------------------------------------------------------------------------------------------------

    async def start(self, reference: str) -> None:
        """Start; returns when the command runs. Raises TriokerError when already running, LaunchFailed."""
        cell = self._cell(reference)
        async with cell.lock:
            self._check_present(cell, reference)
            await self._start(cell)

    async def _start(self, cell: Cell) -> None:
        if cell.run is not None:
            if not cell.run.ended.is_set():
                raise TriokerError(f"The container {cell.record.id} is already running.")
            await cell.run.settled.wait()
        with trio.CancelScope(shield=True):
            cell.step(Step.START, error="", oom_killed=False)
            try:
                self._take_place(cell)
                await self._records.save_container(cell.record)
                if cell.hub.watched:
                    cell.hub.begin(log_end(self._files.log_directory(cell.record.id)))
                process = await self._launch(cell)
            except Exception as failure:
                await self._failed(cell, failure)
                raise
            self._took_off(cell, process)
            await self._records.save_container(cell.record)

    def _take_place(self, cell: Cell) -> None:
        """Its place on the network is on record before anything leads there."""
        place = self._network.reserve(cell.record.id, cell.record.config.port_specs)
        cell.record = attrs.evolve(cell.record, endpoint=place)

    async def _launch(self, cell: Cell) -> Process:
        self._inherit_volumes(cell)
        self._files.prepare(cell.record, self._names(cell.record))
        await self._make_volumes(cell.record)
        mounts = await self._layers.mounts(cell.record.id, readonly=False)
        if cell.record.endpoint:
            await self._network.publish(cell.record.endpoint)
        return await self._runtime.launch(self._run_of(cell), mounts)

    def _names(self, record: Container) -> Names:
        config = record.config
        hosts = self._network.hosts(config.hostname, record.endpoint)
        return Names(config.hostname, hosts, self._network.resolv_conf(config.dns))

    async def _make_volumes(self, record: Container) -> None:
        """Those that are not there yet. One that the image declares begins with what is in its place, for a user expects to find that there."""
        missing = self._files.missing_volumes(record)
        declared = self._declared_volumes(record) if missing else ()
        for mount in missing:
            with self._files.new_volume(mount.volume) as path:
                if mount.path in declared:
                    await self._fill_volume(record, mount.path, path)

    def _declared_volumes(self, record: Container) -> tuple[str, ...]:
        config = self._images.lineage(record.image_id)[0].config
        return config.volumes if config else ()

    async def _fill_volume(self, record: Container, inside: str, volume: Path) -> None:
        mounts = await self._layers.mounts(record.id, readonly=True)
        await carry(
            lambda send: self._runtime.pack(mounts, send, directory=inside),
            functools.partial(self._runtime.unpack, volume, "remove"),
        )

    def _run_of(self, cell: Cell) -> Run:
        record = cell.record
        return Run(
            id=record.id,
            config=record.config,
            binds=self._files.binds(record),
            log_directory=self._files.log_directory(record.id),
            log_policy=self._log_policy,
            attached=cell.hub.watched,
            endpoint=record.endpoint,
        )

    def _inherit_volumes(self, cell: Cell) -> None:
        """Take over the volumes of another container (``VolumesFrom``). Raises NotFound, or TriokerError for an overlap."""
        reference = cell.record.config.volumes_from
        if not reference:
            return
        try:
            source = self.get(reference)
        except NotFound:
            raise TriokerError(f"Container {reference} not found. Impossible to mount its volumes") from None
        mine = {each.path: each.volume for each in cell.record.volumes}
        for each in source.volumes:
            if mine.setdefault(each.path, each.volume) != each.volume:
                raise TriokerError(f"The requested volume {each.path} overlaps one of the container {reference}")
        taken = tuple(each for each in source.volumes if each not in cell.record.volumes)
        cell.record = attrs.evolve(cell.record, volumes=cell.record.volumes + taken)

    async def _failed(self, cell: Cell, failure: Exception) -> None:
        code = failure.exit_code if isinstance(failure, LaunchFailed) else 128
        if cell.hub.live:
            await cell.hub.deliver(Output(STDERR, f"{failure}\n".encode(errors="surrogateescape"), cell.hub.position))
        oom_killed = isinstance(failure, LaunchFailed) and failure.oom_killed
        await self._settle(cell, Exit(code, time.time_ns(), oom_killed, str(failure)))

    def _took_off(self, cell: Cell, process: Process) -> None:
        cell.step(Step.STARTED, pid=process.pid, started_ns=process.started_ns)
        cell.run = ActiveRun(process)
        cell.hub.started(process)
        self._nursery.start_soon(self._supervise, cell, cell.run)

    async def _supervise(self, cell: Cell, run: ActiveRun) -> None:
        try:
            ended = await self._follow(cell, run.process)
            with trio.CancelScope(shield=True):
                await self._settle(cell, ended)
                run.settled.set()
        finally:
            with trio.CancelScope(shield=True):
                await run.process.aclose()

    async def _follow(self, cell: Cell, process: Process) -> Exit:
        while True:
            match await process.receive():
                case Output() as output:
                    await cell.hub.deliver(output)
                case Attached(position):
                    await self._catch_up(cell, position)
                    cell.hub.begin(position)
                case Exit() as ended:
                    if cell.hub.live:
                        await self._catch_up(cell, log_end(self._files.log_directory(cell.record.id)))
                    return ended

    async def _catch_up(self, cell: Cell, position: int) -> None:
        """After a lost and renewed connection: those who are attached get from the log what was printed meanwhile."""
        if cell.hub.live and cell.hub.position < position:
            async with open_log(self._files.log_directory(cell.record.id), cell.hub.position, position) as missed:
                for stream, data in missed.records():
                    await cell.hub.deliver(Output(stream, data, position))

    async def _settle(self, cell: Cell, ended: Exit) -> None:
        """Record a run's end and clear away what it left. What callers see changes first, at once: its ports are free with that."""
        place = cell.record.endpoint
        cell.record = attrs.evolve(cell.record, endpoint=None)
        cell.step(
            Step.ENDED,
            pid=0,
            exit_code=ended.code,
            finished_ns=ended.finished_ns,
            error=ended.error,
            oom_killed=ended.oom_killed,
        )
        if cell.run is not None:
            cell.run.ended.set()
        cell.hub.end()
        if ended.oom_killed:
            log.warning("container %s reached its memory limit: the kernel killed it", short_id(cell.record.id))
        if place:
            await self._network.disconnect(place)
        try:
            await self._records.save_container(cell.record)
            await self._runtime.forget(cell.record.id)
        except (TriokerError, OSError):
            # The run directory keeps the exit record: the next daemon stores what this one could not.
            log.exception("the end of container %s could not be stored", short_id(cell.record.id))

    # -- ending -------------------------------------------------------------------------------------------------------

    async def stop(self, reference: str, grace: float) -> None:
        """The stop signal, ``grace`` seconds, SIGKILL; returns when it has ended. Not running is fine."""
        cell = self._cell(reference)
        async with cell.lock:
            await self._stop(cell, grace)

    async def _stop(self, cell: Cell, grace: float) -> None:
        if cell.run is None or cell.run.ended.is_set():
            return
        cell.run.process.signal(signal_number(cell.record.config.stop_signal))
        with trio.move_on_after(grace):
            await cell.run.ended.wait()
        await self._kill(cell)

    async def _kill(self, cell: Cell) -> None:
        if cell.run is None or cell.run.ended.is_set():
            return
        cell.run.process.signal(signal.SIGKILL)
        if cell.frozen:  # version 1's freezer holds what is killed, too
            await self._runtime.thaw(cell.record.id)
        with trio.move_on_after(KILLED_WITHIN) as scope:
            await cell.run.ended.wait()
        if scope.cancelled_caught:
            raise TriokerError(f"The container {cell.record.id} was killed but has not ended: it hangs in the kernel")

    async def restart(self, reference: str, grace: float) -> None:
        """Stop if running, then start."""
        cell = self._cell(reference)
        async with cell.lock:
            self._check_present(cell, reference)
            await self._stop(cell, grace)
            await self._start(cell)

    async def kill(self, reference: str) -> None:
        """SIGKILL and wait for the end. Not running is fine."""
        await self._kill(self._cell(reference))  # no lock: a kill must not wait for a stop's grace

    async def wait(self, reference: str) -> int:
        """The exit code, once the container is not running (at once if it is not)."""
        cell = self._cell(reference)
        if cell.run is not None:
            await cell.run.ended.wait()
        return cell.state.exit_code

    async def resize(self, reference: str, rows: int, columns: int) -> None:
        """Set the terminal's size. Raises Impossible when not running or without a terminal."""
        cell = self._cell(reference)
        if cell.run is None or cell.run.ended.is_set():
            raise Impossible(f"Impossible to resize: the container {reference} is not running")
        cell.run.process.resize(rows, columns)

    # -- what is inside -----------------------------------------------------------------------------------------------

    async def changes(self, reference: str) -> Sequence[tuple[str, ChangeKind]]:
        """What differs from the image, in lexical order."""
        return await self._layers.changes(self.get(reference).id)

    async def export(self, reference: str, send: Send) -> None:
        """Send the container's tree as an uncompressed tar."""
        cell = self._cell(reference)
        await self._runtime.pack(await self._layers.mounts(cell.record.id, readonly=True), send, cell.running)

    async def commit(self, reference: str, wanted: Commit) -> Image:
        """A new image of what the container changed. Raises NotFound, InvalidParameter for a bad name."""
        cell = self._cell(reference)
        name = self._images.wanted_name(wanted.repository, wanted.tag)
        draft = draft_image(cell.record, wanted)
        return await carry(
            functools.partial(self._send_changes, cell, reference), functools.partial(self._images.create, draft, name)
        )

    async def _send_changes(self, cell: Cell, reference: str, send: Send) -> None:
        """Send what the container changed as the tar of a layer. Meanwhile it cannot be started, stopped or removed, only killed."""
        async with cell.lock:
            self._check_present(cell, reference)
            async with self._at_rest(cell):
                kept, deleted = split_changes(await self._layers.changes(cell.record.id))
                mounts = await self._layers.mounts(cell.record.id, readonly=True)
                await self._runtime.pack(mounts, send, cell.running, only=kept, deleted=deleted)

    @contextlib.asynccontextmanager
    async def _at_rest(self, cell: Cell) -> AsyncIterator[None]:
        """Nothing changes in the container's tree."""
        if cell.running is None:
            yield
            return
        cell.frozen = True
        try:
            async with self._runtime.frozen(cell.record.id):
                yield
        finally:
            cell.frozen = False

    async def sizes(self, reference: str) -> tuple[int, int]:
        """Bytes in the writable layer, and bytes of the whole tree as the layers' sum."""
        record = self.get(reference)
        own = await self._layers.usage(record.id)
        return own, own + sum(each.size for each in self._images.lineage(record.image_id))

    # -- streams ------------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def attach(self, reference: str, wanted: AttachRequest) -> AsyncIterator[LiveAttachment | LoggedAttachment]:
        """Join the streams; on entry the attachment is wired."""
        cell = self._cell(reference)
        source = Source(cell.hub, cell.record.config, self._files.log_directory(cell.record.id))
        if cell.state.phase is Phase.STARTING:
            async with cell.lock:
                pass  # one moment and it runs, or has failed
        if cell.run is not None and not cell.run.ended.is_set():
            await cell.hub.wait_live()
        if not wanted.stream or cell.state.phase not in {Phase.CREATED, Phase.RUNNING}:
            yield LoggedAttachment(source, wanted)
            return
        async with attach_live(source, wanted) as attachment:
            yield attachment

    @contextlib.asynccontextmanager
    async def logs(self, reference: str, wanted: AttachRequest) -> AsyncIterator[LogText]:
        """The log so far: whole stdout, then whole stderr, as asked."""
        streams = wanted_streams(wanted)
        async with open_log(self._files.log_directory(self.get(reference).id)) as snapshot:

            async def write(send: Send) -> None:
                for each in streams:
                    await send_log(snapshot, (each,), send)

            yield LogText(await trio.to_thread.run_sync(snapshot.length, streams), write)
