"""The rooms that make trees and run commands in them, real ones, on a place of their own: launcher, runtime, drivers, layers. Needs root."""

import contextlib
import io
import os
import tarfile
from pathlib import Path

import attrs
import trio
from busybox import busybox_tar

from trioker.engine.commit import split_changes
from trioker.engine.files import Files
from trioker.engine.steps import Workshop
from trioker.linux import cgroups
from trioker.model.container import Config
from trioker.model.ids import new_id
from trioker.network.without import Without
from trioker.runtime.runtime import Runtime
from trioker.runtime.spec import Place
from trioker.runtime.zygote import Zygote
from trioker.storage.store import LayerStore
from trioker_overlay import open_driver as open_overlay
from trioker_vfs import open_driver as open_vfs

DRIVERS = {"overlay": open_overlay, "vfs": open_vfs}


class Records:
    """Layer records nobody keeps."""

    def layers(self):
        return ()

    async def save_layer(self, record, *, durable=False):
        await trio.lowlevel.checkpoint()

    async def delete_layer(self, key):
        await trio.lowlevel.checkpoint()


@attrs.frozen
class Lab:
    layers: LayerStore
    runtime: Runtime
    workshop: Workshop
    place: Place

    async def base(self, tar=None):
        """The key of a new bottom layer; of a busybox root where no tar is given."""
        async with self.layers.stage("") as staging:
            unpacked = await self.runtime.unpack(staging.path, staging.whiteouts, once(tar or busybox_tar()))
            return await staging.commit(unpacked.diff, durable=False)

    async def child(self, parent):
        key = new_id()
        await self.layers.create(key, parent)
        return key

    async def write(self, key, tar, directory="/", **how):
        return await self.runtime.write(
            await self.layers.mounts(key, readonly=False), once(tar), directory=directory, **how
        )

    async def pack(self, key, **what):
        """The tar's bytes."""
        pieces = []

        async def keep(piece):
            pieces.append(piece)

        await self.runtime.pack(await self.layers.mounts(key, readonly=True), keep, **what)
        return b"".join(pieces)

    async def difference(self, key):
        kept, deleted = split_changes(await self.layers.changes(key))
        return await self.pack(key, only=kept, deleted=deleted)

    async def apply(self, parent, tar):
        async with self.layers.stage(parent) as staging:
            unpacked = await self.runtime.unpack(staging.path, staging.whiteouts, once(tar))
            return await staging.commit(unpacked.diff, durable=False)

    async def sh(self, key, script, **config):
        """What a command in the layer prints, and its exit code."""
        said = []

        async def say(piece):
            said.append(piece)

        code = await self.workshop.run(key, Config(command=("/bin/sh", "-c", script), **config), say, new_id())
        return b"".join(said).decode(), code

    async def tree(self, key):
        """Everything in the layer's tree by name, as tarfile reads it of a pack."""
        with tarfile.open(fileobj=io.BytesIO(await self.pack(key))) as tar:
            return {each.name: facts(tar, each) for each in tar}


def facts(tar, member):
    content = tar.extractfile(member).read() if member.isreg() else None
    kind = (member.type, member.linkname, member.devmajor, member.devminor)
    pax = {name: value for name, value in member.pax_headers.items() if name.startswith("SCHILY")}
    return (kind, member.mode, member.uid, member.gid, member.mtime, content, pax)


def names(tar):
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return archive.getnames()


async def once(data):
    for start in range(0, len(data), 2**18):
        yield data[start : start + 2**18]


@contextlib.asynccontextmanager
async def tree_lab(path: Path, driver: str):
    for each in ("run", "root", "layers", "files"):
        (path / each).mkdir()
    group = f"trioker-trees-{os.getpid()}"
    place = Place(str(path / "run"), str(path / "root"), group, {})
    async with trio.open_nursery() as nursery:
        zygote = Zygote()
        await nursery.start(zygote.supervise)
        runtime = Runtime(zygote, place)
        layers = await LayerStore.open(DRIVERS[driver](path / "layers", {}), Records())
        yield Lab(layers, runtime, Workshop(runtime, layers, Files.below(path / "files"), Without()), place)
        assert os.listdir(path / "run") == []
        nursery.cancel_scope.cancel()
    cgroups.remove_parent(cgroups.detect(), group)
    assert not list(Path("/sys/fs/cgroup").glob(f"*/{group}*"))
