"""An image's JSON as the registries of 2013 keep it, one generation each."""

import json
from collections.abc import Mapping

from trioker.images.registry.configurations import encode_image_config, parse_image_config
from trioker.images.registry.documents import BadDocument, Document, printable
from trioker.images.registry.platforms import Platform, go_word, kernel_word
from trioker.images.registry.times import parse_time, show_time
from trioker.model.image import Image


def parse_image(document: Document, image_id: str, parent: str) -> Image:
    """Read the JSON of an image over ``parent`` ("" for none). Raises BadDocument.

    Id and parent are those of the ancestry, which the JSON may leave out but not contradict. Both of its configurations may set only
    what an image may.
    """
    for name, expected in (("id", image_id), ("parent", parent)):
        if document.text(name) not in {"", expected}:
            raise document.wrong(name, expected or "none")
    platform = Platform(document.text("os"), document.text("architecture"))
    if platform.os not in {"", "linux"}:
        raise BadDocument(f"{document.what}: an image for {printable(str(platform))}, which does not run on linux")
    try:
        created_ns = parse_time(document.text("created"))
    except ValueError as error:
        raise document.wrong("created", str(error).removeprefix("expected ")) from None
    return Image(
        id=image_id,
        created_ns=created_ns,
        parent=parent,
        comment=document.text("comment"),
        author=document.text("author"),
        container=document.text("container"),
        container_config=parse_image_config(document.document("container_config")),
        config=parse_image_config(document.document("config")) if document.has("config") else None,
        architecture=kernel_word(platform),
        docker_version=document.text("docker_version"),
        foreign=True,
    )


def encode_image(image: Image) -> bytes:
    """The JSON of an image; the same bytes for the same image."""
    fields: Mapping[str, object] = {
        "id": image.id,
        "parent": image.parent,
        "comment": image.comment,
        "created": show_time(image.created_ns),
        "container": image.container,
        "container_config": encode_image_config(image.container_config),
        "docker_version": image.docker_version,
        "author": image.author,
        "config": None if image.config is None else encode_image_config(image.config),
        "architecture": go_word(image.architecture),
        "os": "linux",
        "Size": image.size,
    }
    return json.dumps(
        {key: value for key, value in fields.items() if value not in ("", None)}, separators=(",", ":")
    ).encode()
