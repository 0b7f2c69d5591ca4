"""A build with everything around it in memory: layers are dicts from path to content, commands a small language of their own."""

import fnmatch
import io
import posixpath
import tarfile
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio
from image_fakes import FakeLayers, FakeRecords, FakeUnpacker, FakeWeb, pieces

from trioker.images.build.builder import Builder
from trioker.images.store import ImageStore, Rooms
from trioker.linux.mounts import Mount
from trioker.model.build import BuildRequest
from trioker.model.container import ChangeKind, Config
from trioker.model.errors import InvalidParameter, NotFound, TriokerError
from trioker.model.image import Image, Tag
from trioker.model.layer import Unpacked

BASE = "b" * 64


@attrs.frozen
class Node:
    """A file's bytes, or None for a directory; and what else a tar says."""

    content: bytes | None
    mode: int = 0o755
    owner: str = ""
    mtime: float = 0


@attrs.define
class TreeLayers(FakeLayers):
    """Layers whose trees can be looked at."""

    trees: dict = attrs.field(factory=dict)

    async def create(self, key, parent):
        await super().create(key, parent)
        self.trees[key] = dict(self.trees.get(parent, {}))

    async def remove(self, key):
        await super().remove(key)
        self.trees.pop(key, None)

    async def mounts(self, key, *, readonly):
        await trio.lowlevel.checkpoint()
        return [Mount(key, "readonly" if readonly else "")]

    async def changes(self, key):
        await trio.lowlevel.checkpoint()
        below = self.trees.get(self.parents[key], {})
        return [(path, ChangeKind.ADDED) for path, node in self.trees[key].items() if below.get(path) != node]

    async def usage(self, key):
        await trio.lowlevel.checkpoint()
        below = self.trees.get(self.parents[key], {})
        return sum(len(node.content or b"") for path, node in self.trees[key].items() if below.get(path) != node)


@attrs.define
class FakeTrees:
    """Writes and packs the trees of ``layers``."""

    layers: TreeLayers
    writes: int = 0

    async def write(self, mounts, chunks, *, directory, single="", owner=""):
        assert not mounts[0].fstype
        tree = self.layers.trees[mounts[0].source]
        data = b"".join([chunk async for chunk in chunks])
        self.writes += 1
        if owner == "nobody-knows":
            raise InvalidParameter("no user nobody-knows in the image")
        is_directory = directory.endswith("/") or (directory in tree and tree[directory].content is None)
        top = directory.rstrip("/") or "/"
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                path = posixpath.normpath(posixpath.join(top, member.name))
                if single:
                    path = posixpath.join(top, single) if is_directory else top
                content = tar.extractfile(member).read() if member.isfile() else None
                tree[path] = Node(content, member.mode, owner or f"{member.uid}:{member.gid}", member.mtime)
        if not single:
            tree.setdefault(top, Node(None))
        return Unpacked(0, 0, "")

    async def pack(self, mounts, send, *, only=None, deleted=(), sources=()):
        assert mounts[0].fstype == "readonly"
        tree = self.layers.trees[mounts[0].source]
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for source in sources:
                wanted = posixpath.join("/", posixpath.normpath(source.lstrip("/")))
                found = [path for path in tree if fnmatch.fnmatch(path, wanted) or path.startswith(f"{wanted}/")]
                if not found:
                    raise InvalidParameter(f"{source}: no such file or directory")
                for path in sorted(found):
                    member = tarfile.TarInfo(path.lstrip("/") or ".")
                    node = tree[path]
                    member.mode, member.type = node.mode, tarfile.DIRTYPE if node.content is None else tarfile.REGTYPE
                    member.size = len(node.content or b"")
                    tar.addfile(member, io.BytesIO(node.content or b""))
        await send(buffer.getvalue())


@attrs.define
class FakeWorkshop:
    """Commands: ``write PATH TEXT``, ``say TEXT``, ``env`` (all of it), ``fail CODE``, ``hang``; several joined by `` && ``."""

    layers: TreeLayers
    ran: list = attrs.field(factory=list)
    configs: list = attrs.field(factory=list)
    connected: list = attrs.field(factory=list)
    hanging: trio.Event = attrs.field(factory=trio.Event)
    running: set = attrs.field(factory=set)

    async def run(self, layer_key, config, say, name, *, connected):
        self.connected.append(connected)
        self.configs.append(config)
        self.ran.append(config.command[-1])
        self.running.add(name)
        try:
            for command in config.command[-1].split(" && "):
                word, _, rest = command.partition(" ")
                if word == "write":
                    path, _, text = rest.partition(" ")
                    self.layers.trees[layer_key][path] = Node(text.encode(), 0o644)
                elif word == "say":
                    await say(rest.encode())
                elif word == "env":
                    await say("".join(f"{each}\n" for each in config.env).encode())
                elif word == "hang":
                    self.hanging.set()
                    await trio.sleep_forever()
                elif word == "fail":
                    return int(rest.split()[0])
            return 0
        finally:
            self.running.remove(name)


@attrs.frozen
class FakePage:
    chunks: object
    headers: dict

    def header(self, name):
        return self.headers.get(name, "")


@attrs.define
class FakeSites:
    """Pages by their URL."""

    pages: dict = attrs.field(factory=dict)
    headers: dict = attrs.field(factory=dict)
    asked: list = attrs.field(factory=list)

    @asynccontextmanager
    async def __call__(self, url):
        self.asked.append(url)
        if url not in self.pages:
            raise TriokerError(f"{url}: the server answered 404")
        yield FakePage(pieces(self.pages[url]), self.headers)


@attrs.define
class Yard:
    """A place to build in, with an image ``base`` that has a CMD and a file."""

    directory: Path
    records: FakeRecords = attrs.field(factory=FakeRecords)
    layers: TreeLayers = attrs.field(factory=TreeLayers)
    sites: FakeSites = attrs.field(factory=FakeSites)
    pulled: list = attrs.field(factory=list)
    registry: dict = attrs.field(factory=dict)
    said: bytearray = attrs.field(factory=bytearray)
    ticks: int = 0
    store: ImageStore = None
    trees: FakeTrees = None
    workshop: FakeWorkshop = None

    def __attrs_post_init__(self):
        self.put(Image(BASE, 1, config=Config(command=("/bin/sh",), env=("PATH=/bin",))), "base")
        self.layers.trees[BASE]["/etc"] = Node(None)
        self.layers.trees[BASE]["/etc/motd"] = Node(b"hello")
        self.open()

    def put(self, image, name=""):
        self.records.image_rows[image.id] = image
        self.layers.parents.setdefault(image.layer, "")
        self.layers.trees.setdefault(image.layer, {})
        if name:
            self.records.tag_rows[name, "latest"] = Tag(name, "latest", image.id)

    def open(self):
        """A store on what is on the disk, as after a restart."""
        rooms = Rooms(self.records, self.layers, FakeUnpacker(), FakeWeb().fetch, self.tick, no_containers, "9.8.7")
        self.store = ImageStore(rooms, self.layers.parents.keys())
        self.trees = FakeTrees(self.layers)
        self.workshop = FakeWorkshop(self.layers)

    def tick(self):
        self.ticks += 1
        return self.ticks

    async def pull(self, name, tag, tell):
        await trio.lowlevel.checkpoint()
        self.pulled.append((name, tag))
        if name not in self.registry:
            raise NotFound(f"{name}: not found in the registry")
        image = self.registry[name]
        self.layers.trees.setdefault(image.layer, {})
        self.layers.parents.setdefault(image.layer, "")
        await self.store.publish([image], [Tag(name, tag, image.id)])

    async def say(self, data):
        await trio.lowlevel.checkpoint()
        self.said += data

    @property
    def builder(self):
        return Builder(self.store, self.layers, self.trees, self.workshop, self.pull, self.sites, self.directory)

    async def build(self, text, files=(), **request):
        """Build a context of the Dockerfile and files (TarInfo or name: content)."""
        context = context_tar({"Dockerfile": text} | dict(files))
        return await self.send(context=pieces(context), **request)

    async def send(self, **request):
        self.said.clear()
        self.workshop.ran.clear()
        self.workshop.configs.clear()
        image = await self.builder.build(BuildRequest(**request), self.say)
        self.whole()
        return image

    def tree(self, image):
        return self.layers.trees[image.layer]

    @property
    def text(self):
        return self.said.decode()

    def whole(self):
        """Nothing is left but what images show."""
        assert {image.layer for image in self.store.all()} == set(self.layers.parents)
        assert {image.id for image in self.store.all()} == set(self.records.image_rows)
        assert not +self.layers.holds
        assert not +self.store._pins
        assert not list(self.directory.iterdir())
        assert not self.workshop.running
        return True


def no_containers(image_id):
    return []


@attrs.frozen
class File:
    """A file of a context, with what a test wants to vary."""

    content: bytes = b""
    mode: int = 0o644
    uid: int = 0
    mtime: int = 0
    kind: bytes = tarfile.REGTYPE
    link: str = ""


def context_tar(files):
    """A tar of names and contents: text, bytes, File, or None for a directory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, value in files.items():
            file = as_file(value)
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.uid, member.mtime = len(file.content), file.mode, file.uid, file.mtime
            member.type, member.linkname = file.kind, file.link
            tar.addfile(member, io.BytesIO(file.content))
    return buffer.getvalue()


def as_file(value):
    if value is None:
        return File(kind=tarfile.DIRTYPE, mode=0o755)
    if isinstance(value, str):
        return File(value.encode())
    return value if isinstance(value, File) else File(value)
