"""Where a build's files and its Dockerfile come from."""

from collections.abc import AsyncIterable
from pathlib import Path

import attrs
import trio

from trioker.images.build import git
from trioker.images.build.archive import EMPTY, HEAD, Archive, is_archive, receive
from trioker.images.build.ignore import parse_ignore
from trioker.images.build.ports import Web
from trioker.images.build.scratch import file_pieces, sending
from trioker.images.build.web import Peeked
from trioker.images.dockerfile.parser import LARGEST as LARGEST_DOCKERFILE
from trioker.launcher.tar_header import FILE
from trioker.model.build import BuildRequest
from trioker.model.errors import InvalidParameter

CONTEXT = "context.tar"
DRAINED = 2**30
"""Bytes of a context that are read after its refusal: as much as honest contexts have."""
IGNORE = ".dockerignore"
NO_DOCKERFILE = "Can't build a directory with no Dockerfile"


@attrs.frozen
class Gathered:
    """All that was sent or fetched for a build."""

    archive: Archive
    """Its context as COPY and ADD see it: without what .dockerignore leaves out."""
    dockerfile: bytes


async def gather(request: BuildRequest, web: Web, directory: Path) -> Gathered:
    """Take in what the request brings, or points to, below ``directory``. Raises TriokerError; without a Dockerfile, InvalidParameter."""
    archive, dockerfile = await _fetch(request.remote, web, directory) if request.remote else (EMPTY, None)
    if request.context is not None and not request.remote:
        archive = await _sent(request.context, directory)
    if request.dockerfile_text:  # in a form it may come behind the context
        dockerfile = await request.dockerfile_text()
    if dockerfile is None:
        dockerfile = await trio.to_thread.run_sync(read_file, archive, request.dockerfile)
    if not dockerfile or not dockerfile.strip():
        raise InvalidParameter(NO_DOCKERFILE)
    return Gathered(await trio.to_thread.run_sync(_visible, archive), dockerfile)


def _visible(archive: Archive) -> Archive:
    ignored = read_file(archive, IGNORE)
    return attrs.evolve(archive, context=archive.context.without(parse_ignore(ignored))) if ignored else archive


def read_file(archive: Archive, path: str) -> bytes | None:
    """A small file of the context, links followed inside it; None where there is none. Raises InvalidParameter for a large one. Blocking."""
    entry = archive.context.find(path)
    if entry is None or entry.kind != FILE:
        return None
    if max(entry.size, entry.stored) > LARGEST_DOCKERFILE:
        raise InvalidParameter(f"the {path} is larger than {LARGEST_DOCKERFILE} bytes")
    return b"".join(archive.data(entry))


async def _sent(context: AsyncIterable[bytes], directory: Path) -> Archive:
    """The context a client sends. What is refused is read on all the same: many clients read no answer before they have sent everything."""
    chunks = Peeked(context)
    if not await chunks.peek(1):
        return EMPTY
    try:
        return await receive(sending(chunks), directory / CONTEXT)
    except (InvalidParameter, OSError):
        await _drain(chunks)
        raise


async def _drain(chunks: AsyncIterable[bytes]) -> None:
    left = DRAINED
    async for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            return


async def _fetch(remote: str, web: Web, directory: Path) -> tuple[Archive, bytes | None]:
    """The context a URL leads to, or the Dockerfile."""
    repository = git.parse_repository(remote)
    if repository:
        tar = await git.fetch_tar(repository, directory)
        return await receive(sending(file_pieces(tar)), directory / CONTEXT), None
    async with web(remote) as page:
        chunks = Peeked(page.chunks)
        head = await chunks.peek(HEAD)
        if await trio.to_thread.run_sync(is_archive, [head]):
            return await receive(sending(chunks), directory / CONTEXT), None
        return EMPTY, head  # whole: a Dockerfile is smaller than what was looked at
