"""What the engine needs of other rooms. ``daemon.py`` plugs in the real ones; tests plug in hand-written fakes."""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterator, Sequence
from collections.abc import Container as Collection
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

import trio

from trioker.linux.mounts import Mount
from trioker.model.container import ChangeKind, Container
from trioker.model.image import Image, Tag
from trioker.model.network import Endpoint
from trioker.model.run import Attached, Exit, Output, Run

Send = Callable[[bytes], Awaitable[None]]
"""Takes one piece of a byte stream; returns when there is room for the next."""


class Process(Protocol):
    """A live container's process, as the runtime holds it."""

    pid: int
    started_ns: int

    async def receive(self) -> Attached | Output | Exit:
        """The next thing that happens; after an Exit nothing comes. One task only."""

    async def subscribe(self) -> None:
        """Ask for output: an Attached comes, then each Output."""

    async def unsubscribe(self) -> None:
        """Ask for no more; what is under way still comes."""

    def signal(self, number: int) -> None:
        """Signal the container's init; a process that is gone is no error."""

    def open_stdin(self) -> trio.abc.SendStream | None:
        """A stream of its own into the container's stdin (or terminal); None where stdin is not open."""

    async def close_stdin(self) -> None:
        """Let the container see end of file once every stream of ``open_stdin`` is closed too. Idempotent."""

    def resize(self, rows: int, columns: int) -> None:
        """Set the terminal's size. Raises Impossible without a terminal."""

    async def aclose(self) -> None:
        """Let go of the monitor and the descriptors; the container lives on."""


class Runtime(Protocol):
    """Starts containers and finds those that outlived an earlier daemon."""

    async def launch(self, run: Run, mounts: Sequence[Mount], output: int | None = None) -> Process:
        """Start; returns when the command has been executed. Raises LaunchFailed.

        ``output`` is a pipe that gets what the command prints: then nothing of it is logged or told. It stays the caller's.
        """

    async def reconnect(self, container_id: str) -> Process | Exit | None:
        """A container of an earlier daemon: alive, ended with a record, or None where nothing is known (all is cleaned up)."""

    async def sweep(self, keep: Collection[str]) -> None:
        """``forget`` every run but those of ``keep``: what an earlier daemon had no time to clear away."""

    async def forget(self, container_id: str) -> None:
        """Remove what a finished run left: run directory, control groups. Idempotent."""

    def frozen(self, container_id: str) -> AbstractAsyncContextManager[None]:
        """Meanwhile nothing in the container runs. Where that cannot be it is told in the log, and the container goes on."""

    async def thaw(self, container_id: str) -> None:
        """Let a container go on that is ``frozen``; a further time, or where it was not, is fine."""

    async def pack(
        self,
        mounts: Sequence[Mount],
        send: Send,
        running: Any = None,
        *,
        only: Sequence[str] | None = None,
        deleted: Sequence[str] = (),
        directory: str = "",
    ) -> None:
        """Send the tree that ``mounts`` show as an uncompressed tar, made by a confined helper.

        ``running`` is the Process of a container whose tree is mounted already: then that very mount is packed. ``only`` makes a layer of these
        paths, which takes away those in ``deleted``; ``directory`` sends what is in there, nothing where there is no such directory.
        """

    async def unpack(self, path: Path, whiteouts: str, chunks: AsyncIterable[bytes]) -> object:
        """Unpack a tar into a host directory as it arrives, by a confined helper. Raises InvalidParameter for a bad one."""


class Network(Protocol):
    """The network. A place on it is reserved and published before a launch, and given back when the run has ended."""

    def reserve(self, container_id: str, port_specs: Sequence[str] = ()) -> Endpoint | None:
        """A place with published ports; None where containers have no network. Raises InvalidParameter, Conflict."""

    async def publish(self, reserved: Endpoint) -> None:
        """Lead its ports there, for whoever comes to have the place. Raises TriokerError."""

    async def disconnect(self, gone: Endpoint) -> None:
        """Give a place back, published or not: its ports are free at once. Idempotent."""

    def resolv_conf(self, chosen: Sequence[str]) -> str:
        """What a container's /etc/resolv.conf says; ``chosen`` are its own name servers."""

    def hosts(self, name: str, place: Endpoint | None) -> str:
        """What the /etc/hosts of a container of this host name says."""


class Layers(Protocol):
    """The storage, as the engine uses it: one writable layer per container, its key the container's id."""

    async def create(self, key: str, parent: str) -> None:
        """A new writable layer over an image's."""

    async def restore(self, key: str, parent: str) -> bool:
        """Make a writable layer anew, empty, whose files are not there (any more); False where they are."""

    async def mounts(self, key: str, *, readonly: bool) -> Sequence[Mount]:
        """The recipes for the layer's tree."""

    async def changes(self, key: str) -> Sequence[tuple[str, ChangeKind]]:
        """What differs from the image."""

    async def usage(self, key: str) -> int:
        """Bytes in the layer itself."""

    async def remove(self, key: str) -> None:
        """Delete the layer; unknown keys are no error."""


class Images(Protocol):
    """The images, as the engine needs them."""

    def wanted_name(self, repository: str, tag: str) -> Tag | None:
        """The name for an image to be made, "latest" where there is no tag; None without a repository. Raises InvalidParameter."""

    async def create(self, draft: Image, wanted: Tag | None, chunks: AsyncIterable[bytes]) -> Image:
        """A new image from the tar of its layer over ``draft.parent``, durable. Raises NotFound, InvalidParameter."""

    def get(self, name: str) -> Image:
        """Look an image up by id prefix or name. Raises NotFound."""

    def lineage(self, image_id: str) -> Sequence[Image]:
        """The image and its ancestors, newest first. Takes a full id."""


class Records(Protocol):
    """The store of container records."""

    async def save_container(self, container: Container, *, durable: bool = False) -> None:
        """Write the record; ``durable`` returns only when it would survive a power cut."""

    async def delete_container(self, container_id: str) -> None:
        """Forget the record."""

    def containers(self) -> Iterator[Container]:
        """All records; called once, at start."""
