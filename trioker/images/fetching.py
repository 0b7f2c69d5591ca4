"""Getting one blob from a registry, whatever breaks on the way."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from trioker.http.client import BadUrl, FetchError, retrying
from trioker.images.blobs import BlobStore
from trioker.images.parts import Part, WrongLength
from trioker.images.registry.v2 import BlobPart
from trioker.model.errors import TriokerError
from trioker.model.layer import Blob

Source = Callable[[str, int], AbstractAsyncContextManager[BlobPart]]
"""Opens a blob from an offset, as ``registry.v2.Session.blob``."""

PROGRESS = 2**20
"""Bytes after which a broken connection is no sign of a server that cannot: then tries are counted anew."""


async def fetch(blobs: BlobStore, blob: Blob, source: Source) -> None:
    """Have the blob among ``blobs``, verified. Whoever wants it at the same time waits, and goes on where the first one was cancelled.

    Raises TriokerError where it cannot be had; what is sound of it stays for the next try. The caller has the digest ``wanted``.
    """
    async with blobs.lock(blob.digest):
        part = blobs.part(blob.digest)
        await part.take_up()
        if not part.whole and part.size and not await _complete(blobs, part, blob, source):
            part = blobs.part(blob.digest)  # what an earlier fetch left was damaged: once more from the start
        if not part.whole and not await _complete(blobs, part, blob, source):
            raise TriokerError(f"blob {blob.digest}: what the registry sent has another digest")


async def _complete(blobs: BlobStore, part: Part, blob: Blob, source: Source) -> bool:
    """Whether it is sound now that it is whole. If not, nothing is left of it."""
    try:
        while part.size < blob.size:
            await retrying(lambda: _go_on(part, blob, source))
    except (FetchError, BadUrl) as error:
        raise TriokerError(str(error)) from error
    except OSError as error:  # most likely the disk is full, and half a layer is of no use to anybody
        await blobs.forget(blob.digest)
        raise TriokerError(f"blob {blob.digest} could not be kept: {error.strerror}") from error
    except WrongLength:
        await blobs.forget(blob.digest)
        raise
    if part.size == blob.size and part.is_sound():
        await blobs.keep(part, blob.media_type)
        return True
    await blobs.forget(blob.digest)
    return False


async def _go_on(part: Part, blob: Blob, source: Source) -> None:
    """Fetch from where we are to the end, or until the connection breaks: that counts as good when it got us on."""
    before = part.size
    try:
        await _receive(part, blob, source)
    except FetchError:
        if part.size - before < PROGRESS:
            raise


async def _receive(part: Part, blob: Blob, source: Source) -> None:
    async with source(blob.digest, part.size) as got:
        if got.total not in {None, blob.size}:
            raise WrongLength(f"blob {blob.digest}: expected {blob.size} bytes, the registry has {got.total}")
        skip = part.size - got.start  # a registry that cannot go on begins again
        async with part.growing(blob.size) as append:
            async for chunk in got.chunks:
                await append(chunk[skip:] if skip else chunk)
                skip = max(0, skip - len(chunk))
    if part.size < blob.size:
        raise FetchError(f"blob {blob.digest}: the registry's answer ended after {part.size} of {blob.size} bytes")
