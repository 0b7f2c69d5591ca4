"""The cache key of a step: what it does, and all its result depends on but the parent image, whose id stands for tree and configuration."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import cast

import attrs

from trioker.images.build.entries import Placed
from trioker.images.dockerfile.instructions import Instruction

_VERSION = "trioker recipe 1"  # to be raised when a step comes to do something else than before


def recipe(
    instruction: Instruction, *, arguments: Mapping[str, str] | None = None, placed: Iterable[Placed] = ()
) -> str:
    """64 hex digits, for the instruction as ``expanded`` gave it.

    ``arguments`` are the build arguments a RUN can see (``Scope.keyed_arguments``), ``placed`` what COPY or ADD puts in place: by
    name, kind, mode, owner, size, link, attributes and content, never by time.
    """
    digest = hashlib.sha256()
    for part in (_VERSION, instruction, sorted((arguments or {}).items())):
        digest.update(_encoded(part))
    for each in placed:
        digest.update(_encoded(_key(each)))
    return digest.hexdigest()


def _key(placed: Placed) -> tuple[object, ...]:
    entry = placed.entry
    content = entry.size, entry.link, entry.digest, entry.device, entry.xattrs
    return placed.name, placed.named, entry.kind, entry.mode, entry.uid, entry.gid, *content


def _encoded(value: object) -> bytes:
    """One encoding for each value, and no two values with the same: a letter for the type, the length, the bytes."""
    letter, data = _body(value)
    return b"%b%d:%b" % (letter, len(data), data)


def _body(value: object) -> tuple[bytes, bytes]:
    if isinstance(value, str):
        return b"s", value.encode("utf-8", "surrogatepass")
    if isinstance(value, bytes):
        return b"b", value
    if value is None or isinstance(value, int):
        return b"i", repr(value).encode()
    if isinstance(value, list | tuple):
        return b"l", b"".join(map(_encoded, value))
    fields = [
        getattr(value, field.name) for field in attrs.fields(cast("type[attrs.AttrsInstance]", type(value))) if field.eq
    ]
    return b"o", _encoded(type(value).__name__) + _encoded(fields)
