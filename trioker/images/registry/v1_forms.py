"""What is said in the registry protocol of 2013 (registry.md): its names, headers and JSON as values. Does no I/O.

All that comes from a server is checked here, and refused with a TriokerError that names it.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

import attrs

from trioker.images.references import check_tag
from trioker.images.registry.documents import printable, show
from trioker.model.errors import InvalidParameter, TriokerError

ANCESTORS = 1024
"""Generations below one image at most, itself included: as many as layers of today's manifests. The overlay of 2013 ended at 42."""
ENDPOINTS = 16
"""Registries that one index may send us to."""
JSON_BYTES = 8 * 2**20
"""Of one reply: 100,000 images of an index's list."""

_ID = re.compile(r"[0-9a-f]{64}")
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*)(:[0-9]{1,5})?")


@attrs.frozen
class Entry:
    """One line of the list of images that an index keeps of a repository."""

    id: str
    checksum: str = ""
    """``sha256:`` and 64 hex digits, of what ``checksum`` says; "" where none is known."""
    tag: str = ""


@attrs.frozen
class Grant:
    """An index's leave to use a repository at its registries."""

    token: str
    """To be shown there as ``Authorization: Token ...``."""
    endpoints: tuple[str, ...]
    """``host[:port]``."""
    entries: tuple[Entry, ...] = ()


def index_name(repository: str) -> str:
    """How the index calls a repository, percent-encoded: ``foo``, ``user/foo``, and ``src/`` before what has more slashes."""
    if repository.count("/") > 1:
        return f"src/{quote(repository, safe='')}"
    return quote(repository.removeprefix("library/"))


def registry_name(repository: str) -> str:
    """How the registry calls it: as the index does, but one-part names are below ``library/``."""
    name = index_name(repository)
    return name if "/" in name else f"library/{name}"


def layer_checksum(image_json: bytes) -> "hashlib._Hash":
    """The hash of an image's JSON, to be updated with its layer's archive; ``sha256:`` and its digest are the image's checksum."""
    return hashlib.sha256(image_json + b"\n")


def check_id(value: object, where: str) -> str:
    """An image's id from a registry."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise TriokerError(f"{where}: expected an image id of 64 lower-case hex digits, got {show(value)}")
    return value


def decode(raw: bytes, where: str, content_type: str = "") -> object:
    """The JSON of a reply; ``where`` is the URL for people."""
    try:
        value: object = json.loads(raw)
    except (ValueError, RecursionError):
        kind = content_type.partition(";")[0].strip()
        said = f"{printable(kind)} instead of JSON" if kind and "json" not in kind else "what is not JSON"
        raise TriokerError(f"{where}: the registry answered {said}") from None
    return value


def parse_grant(headers: Sequence[tuple[bytes, bytes]], where: str, entries: tuple[Entry, ...] = ()) -> Grant:
    """X-Docker-Token and X-Docker-Endpoints of an index's reply; the second must be there."""
    endpoints = [each.strip() for each in _all(headers, b"x-docker-endpoints").split(",") if each.strip()]
    if not endpoints:
        raise TriokerError(f"{where}: Index response didn't contain any endpoints (X-Docker-Endpoints)")
    for each in endpoints[:ENDPOINTS]:
        if not _AUTHORITY.fullmatch(each):
            raise TriokerError(f"{where}: bad endpoint in X-Docker-Endpoints: {show(each)}: expected HOST[:PORT]")
    return Grant(_all(headers, b"x-docker-token"), tuple(dict.fromkeys(endpoints[:ENDPOINTS])), entries)


def _all(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> str:
    return ", ".join(value.decode("latin-1").strip() for key, value in headers if key.lower() == name)


def parse_entries(value: object, where: str) -> tuple[Entry, ...]:
    """An index's list of images. A checksum of another kind than ours (2013 had tarsums, too) counts as none."""
    if not isinstance(value, list):
        raise TriokerError(f"{where}: expected a list of images, got {show(value)}")
    return tuple(_parse_entry(each, where) for each in value)


def _parse_entry(value: object, where: str) -> Entry:
    if not isinstance(value, dict):
        raise TriokerError(f'{where}: expected {{"id": ..., "checksum": ...}}, got {show(value)}')
    checksum = value.get("checksum")
    known = isinstance(checksum, str) and _CHECKSUM.fullmatch(checksum)
    return Entry(check_id(value.get("id"), where), str(checksum) if known else "")


def encode_entries(entries: Iterable[Entry]) -> bytes:
    """The same list the other way, as the first and the last step of a push send it."""
    lines = []
    for entry in entries:
        line = {"id": entry.id, "checksum": entry.checksum, "Tag": entry.tag}
        lines.append({key: value for key, value in line.items() if value})
    return json.dumps(lines).encode()


def parse_tags(value: object, where: str) -> Mapping[str, str]:
    """Tag to image id."""
    if not isinstance(value, dict):
        raise TriokerError(f'{where}: expected {{"tag": "image id", ...}}, got {show(value)}')
    for tag, image_id in value.items():
        try:
            check_tag(tag)
        except InvalidParameter:
            raise TriokerError(f"{where}: bad tag {show(tag)}") from None
        check_id(image_id, where)
    return value


def parse_ancestry(value: object, image_id: str, where: str) -> tuple[str, ...]:
    """An image and those it stands on, child first."""
    if not isinstance(value, list) or not value:
        raise TriokerError(f"{where}: expected a list of image ids, got {show(value)}")
    if len(value) > ANCESTORS:
        raise TriokerError(f"{where}: {len(value)} ancestors, more than the {ANCESTORS} allowed")
    found = tuple(check_id(each, where) for each in value)
    if found[0] != image_id:
        raise TriokerError(f"{where}: the ancestry begins with {found[0]}, not with the image itself")
    if len(set(found)) < len(found):
        raise TriokerError(f"{where}: an image is its own ancestor")
    return found
