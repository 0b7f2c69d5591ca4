"""COPY and ADD, once all they take lies ready: what it comes to for the cache, and its way into a layer."""

import hashlib
import posixpath
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

import attrs

from trioker.images.build.archive import Archive
from trioker.images.build.entries import ContextEntry, Placed, Selection
from trioker.images.build.ports import Layers
from trioker.images.build.scratch import pieces_of
from trioker.images.build.selection import check_destination, documents, resolve, select
from trioker.images.build.stream import Open, tar_of
from trioker.images.dockerfile.instructions import Add, Copy, Heredoc
from trioker.images.ports import Trees
from trioker.launcher.tar_header import DIRECTORY


@attrs.frozen
class Part:
    """Something that one archive puts in place."""

    placed: Sequence[Placed]
    open: Open
    unpacks: bool = False
    """It is one file, an archive, and what is in it goes to the destination in its place."""


@attrs.frozen
class Parts:
    """All that one COPY or ADD puts in place."""

    instruction: Copy | Add
    destination: str
    """Absolute; with a slash at its end where it can only be a directory."""
    parts: Sequence[Part]

    @property
    def placed(self) -> Iterator[Placed]:
        """Every entry, in order, for the recipe."""
        return (each for part in self.parts for each in part.placed)

    async def write(self, trees: Trees, layers: Layers, key: str) -> None:
        """Put all into a writable layer, by confined helpers. Raises TriokerError.

        As Docker's builders do it: what an archive holds keeps its owners; a destination that ends in a slash is a directory of its own, not
        the source's under another name, and does not get its mode.
        """
        for part in self.parts:
            await trees.write(
                await layers.mounts(key, readonly=False),
                self._chunks(part),
                directory=f"{self.destination.rstrip('/')}/" if part.unpacks else self.destination,
                single=self._single(part),
                owner="" if part.unpacks else self.instruction.owner,
            )

    def _single(self, part: Part) -> str:
        """The base name where all there is is one file: it becomes the destination itself, unless that is a directory."""
        with_parents = isinstance(self.instruction, Copy) and self.instruction.parents
        is_one_file = len(self.parts) == len(part.placed) == 1 and part.placed[0].entry.kind != DIRECTORY
        return "" if part.unpacks or with_parents or not is_one_file else posixpath.basename(part.placed[0].name)

    def _chunks(self, part: Part) -> AsyncIterator[bytes]:
        if part.unpacks:
            return pieces_of(part.open(part.placed[0].entry))
        keeps_owner = isinstance(self.instruction, Copy) and bool(self.instruction.stage)
        placed = [each for each in part.placed if each.name != "." or not self.destination.endswith("/")]
        return pieces_of(tar_of(placed, part.open, mode=self.instruction.mode, keep_owner=keeps_owner))


def ready(instruction: Copy | Add, working_dir: str, parts: Iterable[Part]) -> Parts:
    """Parts that fit their destination. Raises InvalidParameter."""
    found = Parts(instruction, resolve(instruction.destination, working_dir or "/"), list(parts))
    check_destination(Selection(tuple(found.placed)), found.destination, instruction.word)
    return found


def copied(instruction: Copy, archive: Archive) -> list[Part]:
    """What COPY takes from the context, or from what ``archive`` holds of the stage or image it names. Raises InvalidParameter."""
    if not instruction.sources:
        return written(instruction.files)
    found = select(
        archive.context,
        instruction.sources,
        exclude=instruction.exclude,
        parents=instruction.parents,
        **({"place": f"--from={instruction.stage}"} if instruction.stage else {}),
    )
    return [Part(found.placed, archive.data), *written(instruction.files)]


def written(files: Sequence[Heredoc]) -> list[Part]:
    """Here-documents, all of them one part."""
    contents = {
        f"sha256:{hashlib.sha256(data).hexdigest()}": data for data in (each.content.encode() for each in files)
    }

    def open_document(entry: ContextEntry) -> list[bytes]:
        return [contents[entry.digest]]

    return [Part(documents(files).placed, open_document)] if files else []
