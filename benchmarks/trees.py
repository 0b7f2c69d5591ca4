"""What a storage driver is asked for: trees that are made, written, read, compared and removed. Each measure leaves the engine as it found it.

What a container's processes do is timed inside, by the shell's own clock and without a process for it, so that no figure has a start in it.
"""

import random
import re
import statistics
from collections.abc import Collection
from functools import partial

from benchmarks import image, transfers
from benchmarks.client import Client
from benchmarks.measures import Measure, Metric
from benchmarks.settings import IMAGE, Samples, Settings
from benchmarks.transfers import WrongResult, milliseconds, timed

WIDE = f"{IMAGE}-wide"
"""A file of ``BIG`` bytes, and ``FILES`` small ones in directories of 100."""
DEEP = f"{IMAGE}-deep"
"""``LAYERS`` layers."""
BOTTOM = f"{IMAGE}-bottom"

BIG = 64 << 20
FILES = 10_000
LAYERS = 100
CHANGED = 1_000
LIVES = 3
"""Containers of a kind in each round."""

READ_BIG = "cat /big > /dev/null"
READ_MANY = "cat /tree/*/* > /dev/null"
APPEND = "echo x >> /big"
WRITE = "while [ $i -lt 1000 ]; do echo $i > $made/$i; i=$((i+1)); done"
TIMES = 3
"""How often each of these is done in a container, but ``APPEND``, which only the first time copies a file up."""
CHANGE = "for each in /tree/*/*0; do echo x >> $each; done"
"""Each tenth file, in all directories."""
CHANGED_PATH = r"/tree/\d+/\d*0"


def prepare(host: str, names: Collection[str]) -> None:
    """Give the engine the images that these measures run."""
    with Client(host) as client:
        client.import_image(WIDE, wide_tar())
        if "deep" in names:  # on full copies it takes a minute
            client.import_image(BOTTOM, image.pack({"bin/busybox": image.base_files()["bin/busybox"]}, _links()))
            client.build(DEEP, _deep_context(), cache=False)


def wide_tar(*, big: int = BIG, files: int = FILES) -> bytes:
    """The tar of ``WIDE``."""
    source = random.Random(0)
    content = image.base_files() | {f"tree/{n // 100}/{n}": source.randbytes(1 + n * 7 % 4096) for n in range(files)}
    return image.pack(content | {"big": source.randbytes(big)}, _links())


def life(settings: Settings) -> Samples:
    """Milliseconds to create a container of an image of 10,000 files, to run ``true`` in it, and to remove it."""
    samples: Samples = {"create": [], "run": [], "remove": []}
    with Client(settings.host) as client:
        for _ in range(LIVES):
            created, container = timed(partial(client.create, WIDE, "/bin/true"))
            ran = milliseconds(partial(_run, client, container))
            removed = milliseconds(partial(client.remove, container))
            for name, value in zip(samples, (created, ran, removed), strict=True):
                samples[name].append(value)
    return samples


def files(settings: Settings) -> Samples:
    """Milliseconds, inside a container, to read a big file and many small ones, to write to the big one, and to write many."""
    with Client(settings.host) as client:
        container = client.create(WIDE, "/bin/sh", "-c", files_script())
        with client.attach(container, multiplexed=settings.multiplexed) as attached:
            client.start(container)
            told = b"".join(map(bytes, attached.payloads()))
        client.wait(container)
        client.remove(container)
    return file_samples(told)


def file_samples(told: bytes) -> Samples:
    """What ``files_script`` told, in milliseconds. Raises WrongResult where a step is missing."""
    samples: Samples = {"read_big": [], "read_many": [], "copy_up": [], "writes": []}
    for name, before, after in (line.split() for line in told.decode().splitlines()):
        samples[name].append(1e3 * (float(after) - float(before)))
    if sum(map(len, samples.values())) != 1 + 3 * TIMES:
        raise WrongResult(f"a container told {told!r}")
    return samples


def changes(settings: Settings) -> Samples:
    """Milliseconds to list 1,000 changes in a container of an image of 10,000 files, and to remove it."""
    with Client(settings.host) as client:
        container = client.create(WIDE, "/bin/sh", "-c", CHANGE)
        _run(client, container)
        listed, found = timed(lambda: client.call("GET", f"/containers/{container}/changes"))
        removed = milliseconds(lambda: client.remove(container))
    changed = [each for each in found if each["Kind"] == 0 and re.fullmatch(CHANGED_PATH, each["Path"])]
    if len(changed) != CHANGED:
        raise WrongResult(f"{len(changed)} of {CHANGED} changes listed")
    return {"changes": [listed], "remove_changed": [removed]}


def deep(settings: Settings) -> Samples:
    """Milliseconds to start ``true`` in a container of an image of 100 layers and to see its end."""
    samples = []
    with Client(settings.host) as client:
        for _ in range(LIVES):
            container = client.create(DEEP, "/bin/true")
            samples.append(milliseconds(partial(_run, client, container)))
            client.remove(container)
    return {"deep": samples}


MEASURES: dict[str, Measure] = {
    "life": life,
    "files": files,
    "changes": changes,
    "deep": deep,
    "import": transfers.import_,
}

METRICS = tuple(
    Metric(title, "ms", samples, statistics.median)
    for title, samples in (
        ("create a container of an image of 10,000 files", "create"),
        ("start and wait", "run"),
        ("remove", "remove"),
        ("append to a file of 64 MB of the image", "copy_up"),
        ("write 1,000 small files", "writes"),
        ("read 64 MB, cached", "read_big"),
        ("read 10,000 files, cached", "read_many"),
        ("list 1,000 changes among 10,000 files", "changes"),
        ("remove a container with 1,000 changes", "remove_changed"),
        ("start and wait, image of 100 layers", "deep"),
        ("import, 2,000 files, 40 MB", "import"),
    )
)


def _run(client: Client, container: str) -> None:
    client.start(container)
    if code := client.wait(container):
        raise WrongResult(f"container {container} ended with {code}")


def files_script() -> str:
    """Reads come once before they count: cold ones are the disk's affair."""
    warm = [READ_BIG, READ_MANY]
    reads = [_told("read_big", READ_BIG), _told("read_many", READ_MANY)] * TIMES
    writes = [
        line for n in range(TIMES) for line in (f"made=/made{n}; i=0; busybox mkdir $made", _told("writes", WRITE))
    ]
    return "\n".join([*warm, *reads, _told("copy_up", APPEND), *writes])


def _told(name: str, step: str) -> str:
    return f"before=$EPOCHREALTIME; {step}; echo {name} $before $EPOCHREALTIME"


def _deep_context() -> bytes:
    steps = [f"FROM {BOTTOM}", *(f"ADD one /added/{n}" for n in range(1, LAYERS)), ""]
    return image.pack({"Dockerfile": "\n".join(steps).encode(), "one": b"1\n"}, {})


def _links() -> dict[str, str]:
    return {f"bin/{name}": "busybox" for name in image.APPLETS}
