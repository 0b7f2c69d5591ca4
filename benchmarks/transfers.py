"""Images that come and go: pull, push, import. Each measure leaves the engine as it found it."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks import image, registry
from benchmarks.client import Client
from benchmarks.layered import CHECK, LAYERS, layered
from benchmarks.settings import IMAGE, Samples, Settings

T = TypeVar("T")

REPOSITORY = "bench/layered"
PULLED = f"{registry.FULL}/{REPOSITORY}"
PUSHED = f"{registry.EMPTY}/{REPOSITORY}"


class WrongResult(Exception):
    """The engine did it, but not right."""


def milliseconds(work: Callable[[], object]) -> float:
    """How long it takes, from when all that was written before is on the disk."""
    return timed(work)[0]


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """As ``milliseconds``, with what comes of it."""
    os.sync()  # an engine that syncs would pay for what the one before it did not
    begin = time.perf_counter()
    result = work()
    return 1e3 * (time.perf_counter() - begin), result


def check_runs(client: Client, name: str, command: tuple[str, ...]) -> None:
    """WrongResult unless the command, which looks at the image's files, ends with 0 in a container of it."""
    if code := client.run(name, *command):
        raise WrongResult(f"{name} is not what it should be: {' '.join(command)} gives {code}")


def pull(settings: Settings) -> Samples:
    """Milliseconds to pull an image of which the engine has nothing, and again once it has all."""
    with registry.serving(registry.FULL) as source, Client(settings.host) as client:
        source.fill(REPOSITORY, layered(settings.round))
        cold = milliseconds(lambda: client.pull(PULLED))
        check_runs(client, PULLED, CHECK)
        warm = [milliseconds(lambda: client.pull(PULLED)) for _ in range(settings.warm_pulls)]
        client.remove_image(PULLED)
    return {"pull_cold": [cold], "pull_warm": warm}


def push(settings: Settings) -> Samples:
    """Milliseconds to push an image that was pulled to another registry, which has nothing."""
    with Client(settings.host) as client:
        with registry.serving(registry.FULL) as source:
            source.fill(REPOSITORY, layered(settings.round))
            client.pull(PULLED)
        client.tag(PULLED, PUSHED)
        with registry.serving(registry.EMPTY) as target:
            taken = milliseconds(lambda: client.push(PUSHED))
            if (layers := target.layers(REPOSITORY)) != LAYERS:
                raise WrongResult(f"the registry got {layers} of {LAYERS} layers")
        client.remove_image(PUSHED)
        client.remove_image(PULLED)
    return {"push": [taken]}


def import_(settings: Settings) -> Samples:
    """Milliseconds to import a root of 2,000 files and 40 MB, new each time."""
    return {"import": [_import(settings, image.import_tar(time.time_ns()))]}


def import_root(settings: Settings) -> Samples:
    """Milliseconds to import the tar that was given."""
    return {"import_root": [_import(settings, Path(settings.root_tar).read_bytes())]} if settings.root_tar else {}


def _import(settings: Settings, tar: bytes) -> float:
    name = f"{IMAGE}-import"
    with Client(settings.host) as client:
        taken = milliseconds(lambda: client.import_image(name, tar))
        check_runs(client, name, ("/bin/sh", "-c", "exit 0"))
        client.remove_image(name)
    return taken
