"""The composition root: the only file that knows every room. Opens them in order, closes them in reverse.

Order of stopping: the API first, then the supervisor (containers and their network live on), then the state.
"""

import contextlib
import gc
import logging
import os
import platform
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import attrs
import trio

from trioker import __version__
from trioker.api import build_handler
from trioker.api.backend import Backend, Info, Version
from trioker.commit import COMMIT
from trioker.engine.configuration import Abilities
from trioker.engine.containers import Containers, Rooms
from trioker.engine.files import Files
from trioker.engine.steps import Workshop
from trioker.engine.trial import try_out
from trioker.http.addresses import Activated, BadAddress, Tcp, parse_address
from trioker.http.client import Client, Proxies
from trioker.http.listeners import Listener, ListenError, activated_ports, open_listeners
from trioker.http.server import serve
from trioker.http.tls import server_context
from trioker.images.blobs import BlobStore
from trioker.images.build.builder import Builder
from trioker.images.build.scratch import sweep
from trioker.images.build.web import Opener
from trioker.images.insert import Inserter
from trioker.images.registries import open_client, registry_access
from trioker.images.store import ImageStore
from trioker.images.store import Rooms as ImageRooms
from trioker.launcher.userns import Remap
from trioker.linux import cgroups
from trioker.model.errors import LaunchFailed, NotFound, TriokerError
from trioker.model.ids import short_id
from trioker.model.options import DaemonOptions
from trioker.model.usage import DiskUsage, LayerUsage
from trioker.network.network import Network
from trioker.network.opening import daemon_network
from trioker.network.without import Without
from trioker.runtime.remap import read_remap
from trioker.runtime.runtime import Runtime
from trioker.runtime.spec import Place
from trioker.runtime.zygote import Zygote
from trioker.service import (
    STOP_SIGNALS,
    StartError,
    Stop,
    check_control_groups,
    configure_logging,
    leaves,
    locked,
    make_directory,
    notify,
    pid_file,
    possible_rlimits,
    protect_from_memory_shortage,
    raise_open_files_limit,
)
from trioker.state.database import Database, open_database
from trioker.storage.opening import Choice, open_store
from trioker.storage.store import LayerStore

log = logging.getLogger("trioker")

CGROUP_PARENT = "trioker"
PACKAGE = Path(__file__).parent
VERSION = Version(
    version=__version__,
    commit=COMMIT,
    runtime=f"python{platform.python_version()}",
    executable=str(PACKAGE.parent if PACKAGE.parent.is_file() else PACKAGE),  # the .pyz, or the package of a checkout
)


def main(options: DaemonOptions) -> int:
    """Run the daemon until it is told to stop; returns the exit status."""
    configure_logging(debug=options.debug, as_json=options.log_json)
    if os.geteuid() != 0:
        log.critical("trioker makes namespaces, mounts and control groups: run it as root")
        return 1
    failures: list[Exception] = []
    try:
        trio.run(run, options)
    except* (StartError, ListenError, BadAddress, TriokerError) as group:
        failures = list(leaves(group))
    for each in failures:
        log.critical("%s", each)
    return 1 if failures else 0


async def run(options: DaemonOptions) -> None:
    """Open every room, serve, and close them again."""
    rlimits = raise_open_files_limit() | possible_rlimits(options.limits.rlimits)
    protect_from_memory_shortage()
    check_control_groups()
    make_directory(options.root, 0o711)
    remap = read_remap(options.userns_remap, options.root) if options.userns_remap else None
    with trio.open_signal_receiver(*STOP_SIGNALS) as signals, locked(options.root), pid_file(options.pid_file):
        async with trio.open_nursery() as nursery:
            stop = Stop(nursery.cancel_scope)
            nursery.start_soon(stop.listen, signals)
            await run_rooms(options, rlimits, remap, stop)
            nursery.cancel_scope.cancel()
        notify("STOPPING=1")


async def run_rooms(options: DaemonOptions, rlimits: dict[str, list[int]], remap: Remap | None, stop: Stop) -> None:
    """The rooms, from the lowest up, and back."""
    async with open_database(options.root / "state.db") as database:
        with exec_root(options.exec_root, database.store_id) as directory:
            place = Place(
                run_root=str(directory / "run"),
                mount_point=str(directory / "root"),
                cgroup_parent=CGROUP_PARENT,
                rlimits=rlimits,
                pids_limit=options.limits.processes,
            )
            choice = Choice(options.storage_driver, dict(options.storage_options), options.driver_dirs)
            async with (
                open_store(options.root, database, choice) as store,
                open_client(options.registries, Proxies.from_environment(os.environ)) as client,
                open_network(options, database) as network,
                trio.open_nursery() as nursery,
            ):
                stop.last.append(store.layers.abandon_calls)
                zygote = Zygote(network.port, remap)
                await nursery.start(zygote.supervise)
                log.info("trioker %s, storage driver %s on %s", __version__, store.driver.name, options.root)
                runtime = Runtime(zygote, place)
                if remap:
                    await check_remap(options, runtime, store.layers)
                ground = Ground(options, database, store.layers, runtime, network, client, nursery)
                await serve_api(options, await open_backend(ground), stop)
                nursery.cancel_scope.cancel()


async def check_remap(options: DaemonOptions, runtime: Runtime, layers: LayerStore) -> None:
    """Raises StartError where containers cannot have a user namespace, or the storage driver's files not their ids."""
    try:
        await try_out(runtime, layers)
    except LaunchFailed as failure:
        raise StartError(f"--userns-remap={options.userns_remap} does not work here: {failure}") from failure
    except (OSError, TriokerError) as error:  # a full disk: what is there must be removable
        log.warning("--userns-remap=%s could not be tried out: %s", options.userns_remap, error)


def open_network(
    options: DaemonOptions, database: Database
) -> contextlib.AbstractAsyncContextManager[Network | Without]:
    """The containers' network, with the places that containers had when the last daemon ended."""
    addresses = [parse_address(each) for each in options.listeners]
    guarded = [each.port for each in addresses if isinstance(each, Tcp)]
    if any(isinstance(each, Activated) for each in addresses):
        guarded += activated_ports(os.environ)
    live = [each.endpoint for each in database.containers() if each.endpoint]
    wanted = attrs.evolve(
        options.network, store=database.store_id, root=str(options.root.absolute()), guarded_ports=tuple(guarded)
    )
    return daemon_network(wanted, database, live, cleanup=options.cleanup)


@attrs.frozen
class Ground:
    """What images and containers stand on."""

    options: DaemonOptions
    database: Database
    layers: LayerStore
    runtime: Runtime
    network: Network | Without
    client: Client
    nursery: trio.Nursery


async def open_backend(ground: Ground) -> Backend:
    """All that the API may call, with what an earlier daemon left taken up."""
    found = cgroups.detect()
    abilities = Abilities(memory_limit=found.memory_limit, swap_limit=found.swap_limit)
    files = Files.below(ground.options.root)
    blobs = await BlobStore.open(
        ground.options.root / "blobs", ground.database, time.time_ns, ground.options.registries.blob_limit
    )
    images, containers = await open_engine(ground, files, abilities)
    temporary = ground.options.root / "tmp"
    sweep(temporary)
    layers, runtime = ground.layers, ground.runtime
    registries = registry_access(
        ground.options.registries,
        ground.client,
        store=images,
        layers=layers,
        trees=runtime,
        unpacker=runtime,
        blobs=blobs,
    )
    workshop = Workshop(runtime, layers, files, ground.network)
    builder = Builder(images, layers, runtime, workshop, registries.pull_base, Opener(ground.client), temporary)
    inserter = Inserter(images, layers, runtime, partial(download, ground.client), temporary)
    system = System(containers, images, blobs, layers, files, ground.options.debug, abilities)
    return Backend(system, containers, images, registries, inserter, builder)


async def open_engine(ground: Ground, files: Files, abilities: Abilities) -> tuple[ImageStore, Containers]:
    """Images and containers. Layers that belong to neither are removed; those of an image that has lost one are not, its disk may come back."""

    def users(image_id: str) -> list[str]:
        return [f"container {short_id(each.id)}" for each in containers.all() if each.image_id == image_id]

    layers, runtime, database = ground.layers, ground.runtime, ground.database
    fetch = partial(download, ground.client)
    images = ImageStore(ImageRooms(database, layers, runtime, fetch, time.time_ns, users, __version__), layers.keys())
    containers = Containers(
        Rooms(runtime, layers, images, database, ground.network),
        files,
        ground.nursery,
        log_policy=ground.options.container_logs,
        abilities=abilities,
    )
    for key in layers.reconciled.missing:
        log.warning("the files of layer %s are gone from the disk", key)
    await containers.recover()
    removed = await layers.collect(containers.layer_keys() | {image.layer for image in database.images()})
    for key in (*layers.reconciled.removed, *removed):
        log.warning("layer %s was left by an earlier daemon and belongs to nothing: removed", key)
    return images, containers


async def serve_api(options: DaemonOptions, backend: Backend, stop: Stop) -> None:
    """Answer requests until told to stop."""
    tls = None
    if options.tls is not None:
        tls = server_context(str(options.tls.ca), str(options.tls.certificate), str(options.tls.key))
    async with contextlib.AsyncExitStack() as stack, trio.open_nursery() as serving:
        listeners: list[Listener] = []
        for address in options.listeners:
            opened = open_listeners(
                parse_address(address),
                cors=options.cors,
                host_names=frozenset(options.host_names),
                tls=tls,
                exposed=options.exposed,
            )
            listeners += await stack.enter_async_context(opened)
        await serving.start(serve, listeners, build_handler(backend))
        for each in options.listeners:
            log.info("serving on %s", each)
        gc.freeze()
        notify("READY=1")
        await stop.wait()
        serving.cancel_scope.cancel()


@attrs.frozen
class Download:
    """Implements ``images.ports.Download``."""

    length: int
    chunks: AsyncIterator[bytes]


@contextlib.asynccontextmanager
async def download(client: Client, url: str) -> AsyncIterator[Download]:
    """``images.ports.Fetch``: what a URL holds, by the client that knows the proxies and authorities of this daemon."""
    async with Opener(client)(url) as answer:
        yield Download(answer.length or 0, answer.chunks)


@contextlib.contextmanager
def exec_root(directory: Path, store_id: str) -> Iterator[Path]:
    """The part of the exec root that belongs to one store, ours alone; removed at the end where nothing runs on."""
    own = directory / store_id[:12]
    for each in (own / "run", own / "root"):
        make_directory(each, 0o700)
    with locked(own):
        try:
            yield own
        finally:
            cgroups.remove_parent(cgroups.detect(), CGROUP_PARENT)
            with contextlib.suppress(OSError):
                (own / "run").rmdir()  # fails while containers run on: then everything stays
                (own / "root").rmdir()
                (own / "lock").unlink()
                own.rmdir()
                directory.rmdir()


@attrs.frozen
class System:
    """Implements ``api.backend.System``."""

    containers: Containers
    images: ImageStore
    blobs: BlobStore
    layers: LayerStore
    files: Files
    debug: bool
    abilities: Abilities

    def version(self) -> Version:
        """Names and versions."""
        return VERSION

    def info(self) -> Info:
        """Counts and abilities."""
        return Info(
            containers=len(self.containers.all()),
            images=len(self.images.all()),
            debug=self.debug,
            descriptors=len(os.listdir("/proc/self/fd")),
            tasks=trio.lowlevel.current_statistics().tasks_living,
            memory_limit=self.abilities.memory_limit,
            swap_limit=self.abilities.swap_limit,
        )

    async def disk_usage(self) -> DiskUsage:
        """What the store holds, and who uses it."""
        containers = {each.id for each in self.containers.all()}
        shown: dict[str, list[str]] = {}
        for image in self.images.all():
            shown.setdefault(image.layer, []).append(image.id)
        layers = []
        for key in sorted(self.layers.keys()):
            with contextlib.suppress(NotFound):  # removed while we looked at the others
                usage = LayerUsage(
                    key=key,
                    parent=self.layers.record(key).parent,
                    size=await self.layers.usage(key),
                    images=tuple(shown.get(key, ())),
                    container=key if key in containers else "",
                )
                layers.append(usage)
        volumes = await trio.to_thread.run_sync(self.files.volume_sizes)
        return DiskUsage(tuple(layers), volumes, await self.blobs.size(), self.blobs.limit)
