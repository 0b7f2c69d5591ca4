"""Carrying out instructions, one at a time: each comes to an image, from the cache or made."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import attrs
import trio

from trioker.images.build.adding import added
from trioker.images.build.archive import Archive, receive
from trioker.images.build.bases import Bases
from trioker.images.build.copying import Parts, copied, ready
from trioker.images.build.globs import has_pattern
from trioker.images.build.ledger import Draft, Ledger, Work
from trioker.images.build.metadata import configured, nop, shell_of, with_variables
from trioker.images.build.ports import Layers, Web, Workshop
from trioker.images.build.printer import Printer
from trioker.images.build.recipe import recipe
from trioker.images.build.scratch import pieces_of, scratch
from trioker.images.build.stream import tar_of
from trioker.images.dockerfile.expanding import expanded
from trioker.images.dockerfile.instructions import Add, Arg, Cmd, Copy, Instruction, Maintainer, Run, Volume, Workdir
from trioker.images.dockerfile.scope import Scope
from trioker.images.ports import Send, Trees
from trioker.model.container import Config
from trioker.model.errors import InvalidParameter, TriokerError
from trioker.model.ids import new_id, short_id
from trioker.model.image import Image


@attrs.define
class Stage:
    """A stage while it is being built."""

    image: Image | None
    """Where it stands; None for nothing yet."""
    config: Config
    scope: Scope
    command_is_ours: bool = False
    """Whether CMD was said in this stage."""

    @property
    def author(self) -> str:
        """Who is named in the image."""
        return self.image.author if self.image else ""

    def draft(self, instruction: Instruction, recipe: str) -> Draft:
        """The image behind a step that runs nothing."""
        config = configured(self.config, instruction, command_is_ours=self.command_is_ours)
        return Draft(self.image, config, self.author, nop(instruction), recipe)


@attrs.frozen
class Steps:
    """What one build's instructions are carried out with."""

    layers: Layers
    trees: Trees
    workshop: Workshop
    web: Web
    ledger: Ledger
    bases: Bases
    printer: Printer
    archive: Archive
    """The context."""
    directory: Path

    async def perform(self, stage: Stage, instruction: Instruction, escape: str) -> None:
        """Expand the instruction, carry it out, and leave ``stage`` behind it. Raises TriokerError."""
        instruction = expanded(instruction, stage.scope.lookup, escape)
        scope = stage.scope.behind(instruction)
        match instruction:
            case Arg():
                await self.printer.result(stage.image.id if stage.image else "")
            case Run():
                await self._run(stage, instruction)
            case Copy() | Add():
                await self._copy(stage, instruction)
            case Workdir():
                draft = stage.draft(instruction, recipe(instruction))
                await self._take(
                    stage, draft, partial(self._make_directories, [draft.config.working_dir]), may_share=True
                )
            case Volume():
                draft = stage.draft(instruction, recipe(instruction))
                await self._take(stage, draft, partial(self._make_directories, draft.config.volumes), may_share=True)
            case Maintainer():
                draft = stage.draft(instruction, recipe(instruction))
                await self._take(stage, attrs.evolve(draft, author=instruction.author))
            case _:
                await self._take(stage, stage.draft(instruction, recipe(instruction)))
        stage.scope = scope
        stage.command_is_ours |= isinstance(instruction, Cmd)

    async def _take(self, stage: Stage, draft: Draft, work: Work | None = None, *, may_share: bool = False) -> None:
        """Go on with the draft's image, from the cache or made by ``work``."""
        found = self.ledger.find(draft)
        stage.image = found or await self.ledger.make(draft, work, may_share=may_share)
        stage.config = draft.config
        await self.printer.result(stage.image.id, cached=found is not None)

    async def _run(self, stage: Stage, instruction: Run) -> None:
        name = new_id()
        arguments = instruction.command.arguments(shell_of(stage.config))
        key = recipe(instruction, arguments=stage.scope.keyed_arguments())
        draft = attrs.evolve(stage.draft(instruction, key), command=arguments, container=name)
        env = with_variables((), stage.scope.arguments().items()) + stage.config.env
        config = attrs.evolve(stage.config, command=arguments, entrypoint=(), env=env, hostname="")

        async def work(layer: str) -> None:
            await self.printer.line(f" ---> Running in {short_id(name)}")
            code = await self.workshop.run(
                layer, config, self.printer.output, name, connected=instruction.network != "none"
            )
            if code:
                raise TriokerError(f"The command '{_on_one_line(arguments)}' returned a non-zero code: {code}")

        await self._take(stage, draft, work)
        if stage.image and stage.image.container == name:
            await self.printer.line(f"Removing intermediate container {short_id(name)}")

    async def _copy(self, stage: Stage, instruction: Copy | Add) -> None:
        async with scratch(self.directory) as directory:
            parts = await self._gather(stage, instruction, directory)
            key = await trio.to_thread.run_sync(lambda: recipe(instruction, placed=parts.placed))
            await self._take(stage, stage.draft(instruction, key), partial(parts.write, self.trees, self.layers))

    async def _gather(self, stage: Stage, instruction: Copy | Add, directory: Path) -> Parts:
        if isinstance(instruction, Add):
            found = await added(instruction, self.archive, self.web, directory)
        else:
            archive = await self._taken_from(instruction, directory) if instruction.stage else self.archive
            found = await trio.to_thread.run_sync(copied, instruction, archive)
        return ready(instruction, stage.config.working_dir, found)

    async def _taken_from(self, instruction: Copy, directory: Path) -> Archive:
        """The sources, packed from the tree of the stage or image they are in."""
        image = await self.bases.source(instruction.stage)
        mounts = await self.layers.mounts(image.layer, readonly=True)
        sources = tuple(dict.fromkeys(map(packed_path, instruction.sources)))

        async def feed(send: Send) -> None:
            await self.trees.pack(mounts, send, sources=sources)

        try:
            return await receive(feed, directory / "sources.tar")
        except InvalidParameter as error:
            raise InvalidParameter(f"COPY failed: {error}") from None

    async def _make_directories(self, paths: Iterable[str], layer: str) -> None:
        """An archive of nothing makes the directory it goes to. A volume's is one too: steps behind it may count on it."""
        mounts = await self.layers.mounts(layer, readonly=False)
        for path in paths:
            await self.trees.write(mounts, pieces_of(tar_of((), lambda _: ())), directory=f"{path.rstrip('/')}/")


def packed_path(source: str) -> str:
    """What to pack for a source: itself, or where it has ``**``, which the packer does not know, the directory before its first pattern."""
    if "**" not in source:
        return source
    parts = source.split("/")
    return "/".join(parts[: next(number for number, part in enumerate(parts) if has_pattern(part))]) or "/"


def _on_one_line(arguments: Iterable[str]) -> str:
    text = " ".join(arguments)
    return text if text.isprintable() else text.encode("unicode_escape").decode()
