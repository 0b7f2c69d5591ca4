"""The JSON of 2013's images."""

import json
from typing import Any

import pytest

from trioker.images.registry.documents import Document
from trioker.images.registry.v1_image import encode_image, parse_image
from trioker.model.container import Config, Label
from trioker.model.errors import TriokerError
from trioker.model.image import Image

A, B = "a" * 64, "b" * 64

OF_THE_TIME = {
    "id": A,
    "parent": B,
    "comment": "made",
    "created": "2013-03-23T22:24:18.818426-07:00",
    "container": "c" * 64,
    "container_config": {"Hostname": "x", "Memory": 1024, "Cmd": ["/bin/sh", "-c", "make"], "Image": "base"},
    "docker_version": "0.4.4",
    "author": "somebody",
    "config": {
        "Hostname": "evil", "User": "nobody", "Memory": 4096, "MemorySwap": -1, "CpuShares": 9, "AttachStdin": True, "PortSpecs": ["22:22"],
        "Tty": True, "OpenStdin": True, "Env": ["A=b"], "Cmd": ["run"], "Dns": ["6.6.6.6"], "Image": "other", "Volumes": {"/data": {}},
        "VolumesFrom": "victim", "Privileged": True, "Binds": ["/:/host"], "Entrypoint": ["/entry"], "WorkingDir": "/work", "Labels": {"k": "v"},
    },
    "architecture": "amd64",
    "Size": 180,
}  # fmt: skip


def parse(over: str = B, **changes: Any) -> Image:
    return parse_image(Document("image", {**OF_THE_TIME, **changes}), A, over)


def test_an_image_is_read_with_what_it_may_set_and_no_more() -> None:
    assert parse() == Image(
        id=A,
        created_ns=1364102658_818426000,
        parent=B,
        comment="made",
        author="somebody",
        container="c" * 64,
        container_config=Config(command=("/bin/sh", "-c", "make")),
        config=Config(
            user="nobody", env=("A=b",), command=("run",), volumes=("/data",), entrypoint=("/entry",), working_dir="/work",
            labels=(Label("k", "v"),),
        ),
        architecture="x86_64",
        docker_version="0.4.4",
        foreign=True,
    )  # fmt: skip


def test_id_and_parent_may_be_left_out() -> None:
    assert parse_image(Document("image", {}), A, B) == Image(A, 0, parent=B, foreign=True)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"id": B}, f"id: expected {A}"),
        ({"parent": A}, f"parent: expected {B}"),
        ({"id": 7}, "id: expected a string"),
        ({"created": "yesterday"}, "created: expected a time"),
        ({"created": 5}, "created: expected a string"),
        ({"os": "windows"}, "windows/amd64, which does not run on linux"),
        ({"os": "a\n\x1bb"}, "a  b/amd64, which does not run on linux"),
        ({"config": []}, "config: expected an object"),
        ({"config": {"Env": "A=b"}}, "Env: expected a list"),
        ({"config": {"Volumes": {"/../etc": {}}}}, "Volumes: expected"),
        ({"container_config": {"Cmd": [1]}}, "Cmd: expected"),
        ({"author": "nul\0"}, "NUL"),
    ],
)
def test_an_image_that_is_wrong_is_refused_by_field(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(TriokerError, match=complaint):
        parse(**changes)


def test_a_base_image_with_a_parent_is_refused() -> None:
    with pytest.raises(TriokerError, match="parent: expected none"):
        parse(over="")


def test_an_image_comes_back_as_it_was_sent() -> None:
    image = parse()
    sent = encode_image(image)
    assert sent == encode_image(image)
    assert parse_image(Document("image", json.loads(sent)), A, B) == image


@pytest.mark.parametrize("image", [Image(A, 0, foreign=True), Image(A, 1, config=Config(), foreign=True)])
def test_a_configuration_that_says_nothing_is_still_one(image: Image) -> None:
    assert parse_image(Document("image", json.loads(encode_image(image))), A, "") == image
