"""Images and containers made until the power goes, and what there must be of them when it is back.

Each image is named by a number and holds what that number says, so that anybody can tell later whether it is whole.
"""

import itertools
import random
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from io import BytesIO
from typing import Any, NamedTuple

from api_client import Api
from build_yard import BUILT, context
from busybox import small_tar
from host import IMAGE, daemon
from host_state import bytes_below

FILES = 12
LONGEST = 60_000  # bytes of a file
LINES = 20_000  # of a commit
CREATED = "created:"
YOUNGEST = 5
PAUSE = 0.3  # seconds between two containers: images shall be made meanwhile, too
LEFT = 1_500_000
"""Bytes: the state's database, the daemon's file and its log; far less than the images were."""


def make_images(begin: int, *, say: Any) -> None:
    """Import, commit, build and create at the same time and for ever; each name is said as soon as the daemon has acknowledged it."""

    def repeat(kind: str, make: Callable[[Api, str, int], str | None]) -> None:
        api = Api(daemon().api.address)
        for number in itertools.count(begin):
            say(make(api, f"{kind}:{number}", number) or f"{kind}:{number}")

    with ThreadPoolExecutor() as threads:
        done, _ = wait([threads.submit(repeat, *each) for each in MAKERS.items()], return_when="FIRST_EXCEPTION")
        for each in done:
            each.result()


def check_images(acknowledged: list[str], *, say: Any) -> int:
    """All that were acknowledged are there, and all that are there are whole. Returns how many there are."""
    api = daemon().api
    names = {name for name in _names(api) if not name.startswith(IMAGE)}
    containers = [name for name in acknowledged if name.startswith(CREATED)]
    assert names >= {*acknowledged} - {*containers}, sorted({*acknowledged} - {*containers} - names)
    _check_containers(api, [name.removeprefix(CREATED) for name in containers])
    for name in sorted(names):
        assert _content(api, name).items() >= _expected(*name.split(":")).items(), name
    return len(names)


def _check_containers(api: Api, acknowledged: list[str]) -> None:
    """Those that were created are there, and the youngest, whose files the cut may have taken, have their image's and run."""
    there = [row["Id"] for row in api.ok("GET", "/containers/json?all=1")]
    assert all(any(each.startswith(one) for each in there) for one in acknowledged), (acknowledged, there)
    for container in acknowledged[-YOUNGEST:]:
        api.start(container)
        assert api.wait(container) == 0, api.logs(container)


def remove_images(*, say: Any) -> int:
    """Then nothing of them is on the disk, whole or not. Returns the bytes that are left."""
    api = daemon().api
    for row in api.ok("GET", "/containers/json?all=1"):
        api.remove(row["Id"])
    for name in _names(api):
        api.ok("DELETE", f"/images/{name}")
    assert api.ok("GET", "/images/json?all=1") == []
    place = daemon().directory
    left = bytes_below(place) - (place / "trioker.pyz").stat().st_size
    assert left < LEFT, left
    return left


def _names(api: Api) -> list[str]:
    return [f"{row['Repository']}:{row['Tag']}" for row in api.ok("GET", "/images/json") if "Repository" in row]


def _import(api: Api, name: str, number: int) -> None:
    repository, _, tag = name.partition(":")
    api.import_image(small_tar(**_files(number)), repository, tag)


def _commit(api: Api, name: str, number: int) -> None:
    repository, _, tag = name.partition(":")
    with api.container("sh", "-c", numbers(number).command, image=IMAGE) as container:
        assert api.wait(container) == 0
        api.ok("POST", f"/commit?container={container}&repo={repository}&tag={tag}")


def _build(api: Api, name: str, number: int) -> None:
    answer = api.call(
        "POST", f"/build?t={name}", context(f"FROM {IMAGE}\nRUN echo {number} > /n\nCOPY f* /\n", _files(number))
    )
    assert BUILT.search(answer.text), answer.text


def _create(api: Api, _name: str, _number: int) -> str:
    time.sleep(PAUSE)
    return f"{CREATED}{api.create('true', image=IMAGE)}"


MAKERS = {"imported": _import, "committed": _commit, "built": _build, "created": _create}


def _expected(kind: str, number: str) -> dict[str, bytes]:
    return {"numbers": numbers(int(number)).content} if kind == "committed" else _files(int(number))


class Numbers(NamedTuple):
    """A file in a container's root."""

    command: str
    """For its shell: makes it."""
    content: bytes


def numbers(first: int) -> Numbers:
    """The file ``numbers``: long enough not to be written at once."""
    content = b"".join(b"%d\n" % each for each in range(first, first + LINES + 1))
    return Numbers(f"seq {first} {first + LINES} > /numbers", content)


def _files(number: int) -> dict[str, bytes]:
    dice = random.Random(number)
    return {f"f{each}": dice.randbytes(dice.randrange(LONGEST)) for each in range(FILES)}


def _content(api: Api, image: str) -> dict[str, bytes]:
    """The files at its top, out of an export of a container that never runs."""
    with api.container("none", image=image, start=False) as container:
        return dict(unpacked(api.ok("GET", f"/containers/{container}/export")))


def unpacked(tar: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files in a tar."""
    with tarfile.open(fileobj=BytesIO(tar)) as members:
        for each in members:
            if each.isfile():
                yield each.name.removeprefix("./"), members.extractfile(each).read()
