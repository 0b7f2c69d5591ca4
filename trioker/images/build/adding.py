"""What ADD takes beyond COPY: archives of the context to unpack, URLs to fetch, git repositories."""

import posixpath
from pathlib import Path
from urllib.parse import unquote, urlsplit

import attrs
import trio

from trioker.images.build import git
from trioker.images.build.archive import EMPTY, LARGEST, Archive, is_archive, receive
from trioker.images.build.copying import Part, written
from trioker.images.build.entries import ContextEntry, Placed
from trioker.images.build.ports import Web
from trioker.images.build.scratch import file_pieces, save, sending
from trioker.images.build.selection import names_directory, select
from trioker.images.build.web import modified_ns
from trioker.images.dockerfile.instructions import Add
from trioker.launcher.tar_header import FILE
from trioker.model.errors import InvalidParameter, TriokerError

FETCHED_MODE = 0o600
"""Of a URL's content (Dockerfile reference, "ADD", "Adding files from a URL")."""


async def added(instruction: Add, archive: Archive, web: Web, directory: Path) -> list[Part]:
    """What all its sources come to; URLs are fetched below ``directory``. Raises TriokerError."""
    if instruction.keep_git_dir:
        raise InvalidParameter("ADD --keep-git-dir is not supported: the files of a commit come without its repository")
    if instruction.checksum and not any(map(_is_url, instruction.sources)):
        raise InvalidParameter("ADD --checksum is only for sources that are URLs")
    parts: list[Part] = []
    for number, source in enumerate(instruction.sources):
        place = directory / f"source-{number}"
        if not _is_url(source):
            parts += await trio.to_thread.run_sync(_local, instruction, source, archive)
        elif repository := git.parse_repository(source):
            parts.append(await _cloned(instruction, repository, place))
        else:
            parts.append(await _fetched(instruction, source, web, place))
    return [*parts, *written(instruction.files)]


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://", "git://"))


def _local(instruction: Add, source: str, archive: Archive) -> list[Part]:
    """The archives among what the source names by themselves; blocking."""
    found = select(archive.context, [source], word="ADD", exclude=instruction.exclude)
    plain: list[Placed] = []
    archives: list[Part] = []
    for each in found.placed:
        if _unpacks(each, archive):
            archives.append(Part([each], archive.data, unpacks=True))
        else:
            plain.append(each)
    return [*([Part(plain, archive.data)] if plain else []), *archives]


def _unpacks(placed: Placed, archive: Archive) -> bool:
    entry = placed.entry
    return placed.named and entry.kind == FILE and entry.pieces is None and is_archive(archive.data(entry))


async def _cloned(instruction: Add, repository: git.Repository, place: Path) -> Part:
    place.mkdir()
    tar = await git.fetch_tar(repository, place)
    archive = await receive(sending(file_pieces(tar)), place / "indexed.tar")
    return Part(select(archive.context, ["."], word="ADD", exclude=instruction.exclude).placed, archive.data)


async def _fetched(instruction: Add, url: str, web: Web, path: Path) -> Part:
    name = _file_name(url, instruction.destination)
    async with web(url) as page:
        size, found = await save(page.chunks, path, LARGEST, url)
        modified = modified_ns(page.header(b"last-modified"))
    if instruction.checksum not in ("", found):
        raise TriokerError(f"ADD failed: {url} has the digest {found}, not {instruction.checksum}")
    entry = ContextEntry(name, FILE, FETCHED_MODE, mtime_ns=modified, size=size, digest=found, stored=size)
    return Part([Placed(name, entry, named=True)], attrs.evolve(EMPTY, path=path).data)


def _file_name(url: str, destination: str) -> str:
    """The last part of the path. Where it is empty the destination must say the whole name."""
    name = posixpath.basename(unquote(urlsplit(url).path))
    if name in ("", ".", "..") and names_directory(destination):
        raise InvalidParameter(f"cannot determine filename from url: {url}")
    return name or "index"
