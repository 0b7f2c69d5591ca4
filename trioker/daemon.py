"""The composition root: the only file that knows every room. Opens them in order, closes them in reverse.

Order of stopping: the API first, then the supervisor (containers live on), then the state.
"""

import contextlib
import gc
import logging
import os
import platform
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterator
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
from trioker.http.addresses import BadAddress, parse_address
from trioker.http.client import BadUrl, Fetched, FetchError, fetch
from trioker.http.listeners import Listener, ListenError, open_listeners
from trioker.http.server import serve
from trioker.http.tls import server_context
from trioker.images.store import ImageStore
from trioker.images.store import Rooms as ImageRooms
from trioker.linux import cgroups
from trioker.model.errors import InvalidParameter, TriokerError
from trioker.model.options import DaemonOptions
from trioker.runtime.runtime import Runtime
from trioker.runtime.spec import Place
from trioker.runtime.zygote import Zygote
from trioker.service import (
    STOP_SIGNALS,
    StartError,
    configure_logging,
    locked,
    notify,
    pid_file,
    raise_open_files_limit,
    wait_for_stop,
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
    failures: list[BaseException] = []
    try:
        trio.run(run, options)
    except* (StartError, ListenError, BadAddress, TriokerError) as group:
        failures = list(_flatten(group))
    for each in failures:
        log.critical("%s", each)
    return 1 if failures else 0


def _flatten(group: BaseExceptionGroup[Exception]) -> Iterator[BaseException]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _flatten(each)
        else:
            yield each


async def run(options: DaemonOptions) -> None:
    """Open every room, serve, and close them again."""
    rlimits = raise_open_files_limit()
    options.root.mkdir(mode=0o711, parents=True, exist_ok=True)
    with trio.open_signal_receiver(*STOP_SIGNALS) as signals, locked(options.root), pid_file(options.pid_file):
        async with open_database(options.root / "state.db") as database:
            with exec_root(options.exec_root, database.store_id, rlimits) as place:
                choice = Choice(options.storage_driver, dict(options.storage_options), options.driver_dirs)
                async with open_store(options.root, database, choice) as store, trio.open_nursery() as nursery:
                    zygote = Zygote()
                    await nursery.start(zygote.supervise)
                    runtime = Runtime(zygote, place)
                    log.info("trioker %s, storage driver %s on %s", __version__, store.driver.name, options.root)
                    backend = await open_engine(options, database, store.layers, runtime, nursery)
                    await serve_api(options, backend, signals)
                    nursery.cancel_scope.cancel()
        notify("STOPPING=1")


async def open_engine(
    options: DaemonOptions, database: Database, layers: LayerStore, runtime: Runtime, nursery: trio.Nursery
) -> Backend:
    """Images and containers, with what an earlier daemon left taken up."""
    found = cgroups.detect()
    abilities = Abilities(memory_limit=found.memory_limit, swap_limit=found.swap_limit)
    files = Files.below(options.root)

    def users(image_id: str) -> list[str]:
        return [each.id for each in containers.all() if each.image_id == image_id]

    rooms = ImageRooms(database, layers, runtime, download, time.time_ns, users, __version__)
    images = ImageStore(rooms, layers.keys())
    containers = Containers(
        Rooms(runtime, layers, images, database),
        files,
        nursery,
        log_policy=options.container_logs,
        abilities=abilities,
    )
    await containers.recover()
    removed = await layers.collect(containers.layer_keys() | {image.id for image in images.all()})
    for key in (*layers.reconciled.removed, *removed):
        log.warning("layer %s was left by an earlier daemon and belongs to nothing: removed", key)
    return Backend(System(containers, images, options.debug, abilities), containers, images)


async def serve_api(options: DaemonOptions, backend: Backend, signals: AsyncIterable[int]) -> None:
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
        await wait_for_stop(signals)
        serving.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def download(url: str) -> AsyncIterator[Fetched]:
    """``images.ports.Fetch`` by the HTTP client, its failures as the users' own kinds."""
    try:
        async with fetch(url) as fetched:
            yield fetched
    except BadUrl as error:
        raise InvalidParameter(str(error)) from error
    except FetchError as error:
        raise TriokerError(str(error)) from error


@contextlib.contextmanager
def exec_root(directory: Path, store_id: str, rlimits: dict[str, list[int]]) -> Iterator[Place]:
    """The part of the exec root that belongs to one store, ours alone; removed at the end where nothing runs on."""
    own = directory / store_id[:12]
    for each in (own / "run", own / "root"):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(own):
        try:
            yield Place(
                run_root=str(own / "run"), mount_point=str(own / "root"), cgroup_parent=CGROUP_PARENT, rlimits=rlimits
            )
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
