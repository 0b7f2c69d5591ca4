"""What a build tells its user, in the form of docker 0.4.3 (behaviour.md, "POST /build")."""

from trioker.images.ports import Send
from trioker.model.ids import short_id


class Printer:
    """Whole lines of our own, and between them what commands print, as it comes."""

    def __init__(self, say: Send, *, quiet: bool) -> None:
        self._say = say
        self._quiet = quiet
        self._at_line_start = True

    async def line(self, text: str) -> None:
        """One line; surrogates stand for bytes of a Dockerfile that are no UTF-8."""
        begin = "" if self._at_line_start else "\n"
        self._at_line_start = True
        await self._say(f"{begin}{text}\n".encode("utf-8", "surrogateescape"))

    async def step(self, number: int, text: str) -> None:
        """A step begins."""
        await self.line(f"Step {number} : {text}")

    async def result(self, image_id: str, *, cached: bool = False) -> None:
        """The image a step came to; "" is the empty one that ``FROM scratch`` begins with."""
        if cached:
            await self.line(" ---> Using cache")
        await self.line(f" ---> {short_id(image_id)}".rstrip())

    async def output(self, data: bytes) -> None:
        """A piece of a command's output; left out where the user wants quiet."""
        if data and not self._quiet:
            self._at_line_start = data.endswith(b"\n")
            await self._say(data)
