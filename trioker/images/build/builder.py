"""A build from its request to its image."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
import trio

from trioker.images.build.bases import Bases, build_platform, tell_nobody
from trioker.images.build.ledger import Ledger
from trioker.images.build.ports import Layers, Pull, Store, Web, Workshop
from trioker.images.build.printer import Printer
from trioker.images.build.scratch import scratch
from trioker.images.build.sources import Gathered, gather
from trioker.images.build.steps import Stage, Steps
from trioker.images.dockerfile.expanding import expanded
from trioker.images.dockerfile.instructions import Dockerfile, Instruction
from trioker.images.dockerfile.instructions import Stage as WrittenStage
from trioker.images.dockerfile.lines import DEFAULT_ESCAPE
from trioker.images.dockerfile.parser import parse, parse_trigger
from trioker.images.dockerfile.scope import Scope, first_scope, unconsumed
from trioker.images.dockerfile.words import shown
from trioker.images.ports import Send, Trees
from trioker.images.registry.platforms import host_platform
from trioker.images.store import wanted_name
from trioker.model.build import BuildRequest
from trioker.model.container import DEFAULT_PATH, Config
from trioker.model.errors import InvalidParameter, TriokerError
from trioker.model.image import Image
from trioker.model.progress import Tell

logger = logging.getLogger(__name__)


@attrs.frozen
class Builder:
    """Builds images; several at a time if need be, each in a directory of its own below ``directory``."""

    store: Store
    layers: Layers
    trees: Trees
    workshop: Workshop
    pull: Pull
    web: Web
    directory: Path
    """ROOT/tmp; ``scratch.sweep`` clears it at start-up."""

    async def build(self, request: BuildRequest, say: Send, tell: Tell | None = None) -> Image:
        """Run a Dockerfile; returns the image, durable, and named as asked.

        ``say`` gets the build's text but its last line, ``tell`` the progress of what it pulls. Raises TriokerError naming the step that
        failed: what was made before it stays for the next try to be found. Cancelled, nothing stays.
        """
        wanted = wanted_name(request.repository, request.tag)
        printer = Printer(say, quiet=request.quiet)
        async with scratch(self.directory) as directory, self.store.holding() as held:
            with _disk_failures(), ExitStack() as pins:
                gathered = await gather(request, self.web, directory)
                ledger = Ledger(self.store, self.layers, held, pins, use_cache=not request.no_cache)
                bases = Bases(self.store, self.pull, tell or tell_nobody, ledger, always_pull=request.pull)
                steps = self._steps(ledger, bases, printer, gathered, directory)
                dockerfile = await trio.to_thread.run_sync(parse, gathered.dockerfile)
                try:
                    image = await _Build(request, dockerfile, steps).run()
                except (TriokerError, OSError):
                    await _publish_rest(ledger)
                    raise
                await ledger.publish(*([attrs.evolve(wanted, image_id=image.id)] if wanted else []))
        if wanted:
            await printer.line(f"Successfully tagged {wanted.reference}")
        return image

    def _steps(self, ledger: Ledger, bases: Bases, printer: Printer, gathered: Gathered, directory: Path) -> Steps:
        return Steps(
            self.layers,
            self.trees,
            self.workshop,
            self.web,
            ledger,
            bases,
            printer,
            archive=gathered.archive,
            directory=directory,
        )


@contextmanager
def _disk_failures() -> Iterator[None]:
    """What the disk refuses a build is told to its user."""
    try:
        yield
    except OSError as error:
        raise TriokerError(_words(error)) from error


def _words(error: TriokerError | OSError) -> str:
    """What failed, for its user; the disk's refusals without the number."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


async def _publish_rest(ledger: Ledger) -> None:
    """Keep what a failed build has made, so that the next one finds it."""
    try:
        await ledger.publish()
    except (TriokerError, OSError):
        logger.exception("what a failed build had made could not be kept for the cache")


class _Build:
    """One Dockerfile being run."""

    def __init__(self, request: BuildRequest, dockerfile: Dockerfile, steps: Steps) -> None:
        self._dockerfile = dockerfile
        self._steps = steps
        self._stages = upto(dockerfile.stages, request.target)
        self._given = {name: value for name, value in request.build_args if value is not None}
        self._number = 0

    async def run(self) -> Image:
        """All stages up to the target; the last one's image. Raises TriokerError."""
        for warning in self._dockerfile.warnings:
            await self._steps.printer.line(f"[Warning] {warning}")
        scope = await self._first_scope()
        image = None
        for written in self._stages:
            image = await self._stage(written, scope)
        if image is None:
            raise TriokerError("No image was generated: the Dockerfile has no step behind FROM scratch")
        await self._warn_of_unconsumed()
        return image

    async def _first_scope(self) -> Scope:
        scope = first_scope(self._given, build_platform(host_platform()))
        for each in self._dockerfile.arguments:
            with await self._step(each):
                scope = scope.behind(expanded(each, scope.lookup, self._dockerfile.escape))
                await self._steps.printer.result("")
        return scope

    async def _stage(self, written: WrittenStage, scope: Scope) -> Image | None:
        with await self._step(written.origin):
            origin = expanded(written.origin, scope.lookup, self._dockerfile.escape)
            image = await self._steps.bases.begin(origin)
            await self._steps.printer.result(image.id if image else "")
            stage = _begun(image, scope)
            await self._run_triggers(stage, image)
        for instruction in written.instructions:
            with await self._step(instruction):
                await self._steps.perform(stage, instruction, self._dockerfile.escape)
        self._steps.bases.finish(origin.stage, stage.image)
        return stage.image

    async def _run_triggers(self, stage: Stage, image: Image | None) -> None:
        """The ONBUILD instructions of the image a stage begins FROM."""
        triggers = image.config.on_build if image and image.config else ()
        if triggers:
            await self._steps.printer.line(f"# Executing {len(triggers)} build trigger(s)")
        for number, text in enumerate(triggers, 1):
            instruction = parse_trigger(text)
            await self._steps.printer.line(f"Trigger {number}, {instruction.text}")
            await self._steps.perform(stage, instruction, DEFAULT_ESCAPE)

    async def _step(self, instruction: Instruction) -> "_Named":
        """Announce the next step; in its context errors say which it was."""
        self._number += 1
        await self._steps.printer.step(self._number, instruction.text)
        return _Named(self._number, instruction)

    async def _warn_of_unconsumed(self) -> None:
        instructions = [each for stage in self._dockerfile.stages for each in stage.instructions]
        names = unconsumed(self._given, [*self._dockerfile.arguments, *instructions])
        if names:
            listed = " ".join(map(shown, names))
            await self._steps.printer.line(f"[Warning] One or more build-args [{listed}] were not consumed")


@attrs.frozen
class _Named:
    """Says of what fails inside which step it was."""

    number: int
    instruction: Instruction

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TriokerError | OSError):
            where = f"step {self.number}, line {self.instruction.line}: {shown(self.instruction.text)}"
            raise TriokerError(f"{_words(error)} ({where})") from error


def _begun(image: Image | None, scope: Scope) -> Stage:
    """A stage at its FROM. The image's triggers are for this build, not for the images it makes.

    What runs has a PATH in any case: where the image names none it is written down, for Dockerfiles add to ``$PATH``.
    """
    config = (image.config if image else None) or Config()
    named = any(each.startswith("PATH=") for each in config.env)
    env = config.env if named else (*config.env, f"PATH={DEFAULT_PATH}")
    config = attrs.evolve(config, env=env, on_build=())
    return Stage(image, config, scope.stage(config.env))


def upto(stages: Sequence[WrittenStage], target: str) -> Sequence[WrittenStage]:
    """The stages up to the one called so, by name or number. Raises InvalidParameter where there is none."""
    if not target:
        return stages
    for number, stage in enumerate(stages):
        if target.lower() in (stage.origin.stage, str(number)):
            return stages[: number + 1]
    raise InvalidParameter(f"failed to reach build target {shown(target)} in Dockerfile")
