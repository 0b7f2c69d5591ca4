"""The images a build begins with or copies from: earlier stages, images of the store, images that are pulled for it."""

import attrs

from trioker.images.build.ledger import Ledger
from trioker.images.build.ports import Pull, Store
from trioker.images.dockerfile.instructions import From
from trioker.images.references import DEFAULT_TAG, split_reference
from trioker.images.registry.platforms import Platform, host_platform, platform_of
from trioker.model.errors import InvalidParameter, NotFound
from trioker.model.image import Image
from trioker.model.progress import Progress, Tell

SCRATCH = "scratch"


async def tell_nobody(told: Progress) -> None:
    """A Tell for who does not want one."""


@attrs.define
class Bases:
    """Finds them by what a Dockerfile calls them."""

    store: Store
    pull: Pull
    tell: Tell
    ledger: Ledger
    always_pull: bool = False
    """Ask the registry even where the image is here."""
    _stages: dict[str, Image | None] = attrs.field(factory=dict)
    """Finished stages by number and by name."""
    _count: int = 0
    _pulled: dict[str, Image] = attrs.field(factory=dict)

    def finish(self, name: str, image: Image | None) -> None:
        """A stage is done; later ones may begin from it or copy from it."""
        self._stages[str(self._count)] = image
        if name:
            self._stages[name] = image
        self._count += 1

    async def begin(self, origin: From) -> Image | None:
        """What a stage begins with, None for nothing. Raises TriokerError where it cannot be had, InvalidParameter for a foreign platform."""
        check_platform(origin.platform, host_platform())
        if origin.image == SCRATCH:
            return None
        name = origin.image.lower()
        return self._stages[name] if name in self._stages else await self._image(origin.image)

    async def source(self, name: str) -> Image:
        """What ``COPY --from`` names. Raises TriokerError."""
        if name.lower() not in self._stages:
            if name.isdigit():
                raise InvalidParameter(
                    f"invalid from flag value {name}: there are {self._count} stages before this one"
                )
            return await self._image(name)
        image = self._stages[name.lower()]
        if image is None:
            raise InvalidParameter(f"COPY --from={name}: the stage is empty")
        return image

    async def _image(self, reference: str) -> Image:
        """One of the store, pinned; pulled where it is missing, or once in a build where always asked for."""
        if self.always_pull:
            if reference not in self._pulled:
                self._pulled[reference] = await self._fetched(reference)
            return self._pulled[reference]
        try:
            return self.ledger.pin(self.store.get(reference))
        except NotFound:
            return await self._fetched(reference)

    async def _fetched(self, reference: str) -> Image:
        name, tag = split_reference(reference)
        await self.pull(name, tag or DEFAULT_TAG, self.tell)
        return self.ledger.pin(self.store.get(reference))


def check_platform(wanted: str, host: Platform) -> None:
    """Raises InvalidParameter for a platform that is not the host's. ``linux``, ``amd64`` and ``linux/amd64`` are taken for the same."""
    if not wanted:
        return
    system, architecture, variant = (*wanted.lower().split("/"), "", "")[:3]
    if not architecture and system != host.os:
        system, architecture = host.os, system
    found = platform_of(architecture)  # the kernel's words are understood, too: x86_64, aarch64
    fits = system == host.os and (not architecture or host.architecture in (architecture, found.architecture))
    if not fits or (variant and host.architecture == "arm" and variant > host.variant) or wanted.count("/") > 2:
        raise InvalidParameter(f"this host is {host}: it cannot build for the platform {wanted}")


def build_platform(host: Platform) -> str:
    """What the automatic arguments say (Dockerfile reference, "Automatic platform ARGs in the global scope").

    Only arm has variants there: amd64 is ``linux/amd64`` whatever level the processor is of, and scripts compare it so.
    """
    return str(host if host.architecture == "arm" else attrs.evolve(host, variant=""))
